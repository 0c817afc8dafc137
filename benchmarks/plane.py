"""A control plane to be measured: an API server with so many Services in it, and a controller of its own process.

The API server is the one of the tests and runs in the measuring process; the controller is what a cluster runs
(``translator.kube``), as ``python benchmarks/plane.py``. Used by ``control.py``.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import logging
import os
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import aiohttp
import uvloop
from aiohttp import web

ROOT: Final = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from apiserver import FakeApiServer  # noqa: E402
from ports import free_port  # noqa: E402

from smi.sources.apiserver import Access, ApiServer  # noqa: E402
from translator.identity.authority import BUNDLE, ISSUER, ISSUER_KEY, Authority  # noqa: E402
from translator.identity.serving import use_pair  # noqa: E402
from translator.kube.admission.authority import CONFIGURATIONS  # noqa: E402
from translator.kube.aggregated.access import PATH as REVIEWS  # noqa: E402
from translator.kube.aggregated.frontproxy import CONFIG as FRONT_PROXY  # noqa: E402
from translator.kube.controller import run  # noqa: E402
from translator.kube.names import CA_SECRET  # noqa: E402
from translator.kube.settings import Options  # noqa: E402
from translator.kube.source import COLLECTIONS  # noqa: E402

PODS: Final = "/api/v1/pods"
SECRETS: Final = "/api/v1/namespaces/smi-mesh/secrets"
PATHS: Final = {one.kind: one.path for one in COLLECTIONS}
PER_NAMESPACE: Final = 20
ENDPOINTS: Final = 3
READY_SECONDS: Final = 120.0
PORTS: Final = ("control_port", "webhook_port", "metrics_port", "admin_port")
"""Of ``Options``."""

Object = dict[str, Any]


def namespace_of(number: int) -> str:
    """Of the Service of that number."""
    return f"team-{number // PER_NAMESPACE:04d}"


def name_of(number: int) -> str:
    """Of the Service of that number."""
    return f"service-{number:05d}"


def host_of(number: int) -> str:
    """By which an application asks for it."""
    return f"{name_of(number)}.{namespace_of(number)}"


def service(number: int) -> Object:
    """A Service of ``ENDPOINTS`` pods."""
    return {
        "metadata": {"name": name_of(number), "namespace": namespace_of(number), "uid": f"service-{number}"},
        "spec": {
            "selector": {"app": name_of(number)},
            "clusterIP": f"10.{96 + number // 65536}.{number // 256 % 256}.{number % 256}",
            "ports": [{"port": 80, "targetPort": 8080, "name": "http"}],
        },
    }


def pod(namespace: str, name: str, number: int, account: str, app: str) -> Object:
    """A meshed pod that is ready; ``number`` makes its address."""
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"pod-{number}",
            "labels": {"app": app, "pod-template-hash": "7d4b9c6f5"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": f"{app}-7d4b9c6f5", "controller": True}],
        },
        "spec": {
            "serviceAccountName": account,
            "initContainers": [{"name": "smi-mesh-proxy"}],
            "containers": [{"name": "app", "ports": [{"containerPort": 8080, "name": "http"}]}],
        },
        "status": {
            "podIP": f"10.{number // 65536}.{number // 256 % 256}.{number % 256}",
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def split(number: int, weight: int, generation: int) -> Object:
    """Of the Service of that number, over the two after it."""
    backends = [
        {"service": name_of(number + 1), "weight": weight},
        {"service": name_of(number + 2), "weight": 100 - weight},
    ]
    meta = {"name": name_of(number), "namespace": namespace_of(number), "uid": f"s-{number}", "generation": generation}
    kind = {"kind": "TrafficSplit", "apiVersion": "split.smi-spec.io/v1alpha4"}  # as a watch says it, too
    return {**kind, "metadata": meta, "spec": {"service": name_of(number), "backends": backends}}


class Plane:
    """An API server and a controller that has read it."""

    def __init__(self, folder: Path, services: int) -> None:
        self.server = _filled(services)
        self.services = services
        self.authority = Authority.create(folder)
        ports: dict[str, Any] = {name: free_port() for name in PORTS}
        self.options = replace(Options(folder=folder / "run"), **ports)
        self.process: asyncio.subprocess.Process
        self._generation = 1
        files = {name: (folder / "ca" / name).read_bytes() for name in (BUNDLE, ISSUER, ISSUER_KEY)}
        data = {name: base64.b64encode(content).decode() for name, content in files.items()}
        self.server.put(SECRETS, CA_SECRET, {"data": data})
        self.server.put(*_place(FRONT_PROXY), {"data": self._front_proxy()})

    def _front_proxy(self) -> dict[str, str]:
        """Whoever has a certificate of the mesh's own CA is believed: that is us."""
        return {
            "requestheader-client-ca-file": self.authority.bundle,
            "requestheader-username-headers": json.dumps(["X-Remote-User"]),
        }

    def weigh(self, number: int, weight: int) -> None:
        """Changes a split."""
        self._generation += 1
        self.server.put(PATHS["TrafficSplit"], name_of(number), split(number, weight, self._generation))

    def add_pods(self, pods: list[tuple[str, str, str]]) -> None:
        """Namespace, name and account of pods that call."""
        for number, (namespace, name, account) in enumerate(pods):
            address = self.services * ENDPOINTS + len(self.server.collections[PODS]) + number
            self.server.put(PODS, f"{namespace}.{name}", pod(namespace, name, address, account, account))

    def cpu(self) -> float:
        """Seconds that all threads of the controller have run."""
        spent = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(one.read_text().split()[0]) for one in spent) / 1e9

    def pss(self) -> float:
        """Memory of the controller in MB, shared pages by their share."""
        lines = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024

    async def ready(self) -> bool:
        """What the controller says of itself; raises aiohttp.ClientError as long as it says nothing."""
        return bool(await self.page("/readyz"))

    async def told(self) -> bool:
        """Whether every split has a status: it takes a while, for not all pods here have a sidecar that comes."""
        return all("status" in one for one in self.server.collections[PATHS["TrafficSplit"]].values())

    async def page(self, path: str) -> bytes:
        """One of the admin port's."""
        url = f"http://127.0.0.1:{self.options.admin_port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return await answer.read() if answer.status == 200 else b""

    @asynccontextmanager
    async def metrics(self) -> AsyncIterator[Callable[[str], Awaitable[bytes]]]:
        """Asks the aggregated API as the kube-apiserver's proxy does, which keeps its connection."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        use_pair(context, *self.authority.issue_controller())
        connector = aiohttp.TCPConnector(ssl=context)
        async with aiohttp.ClientSession(connector=connector, headers={"X-Remote-User": "me"}) as session:

            async def ask(path: str) -> bytes:
                url = f"https://127.0.0.1:{self.options.metrics_port}{path}"
                async with session.get(url) as answer:
                    answer.raise_for_status()
                    return await answer.read()

            yield ask


@asynccontextmanager
async def plane(services: int, pods: list[tuple[str, str, str]]) -> AsyncIterator[Plane]:
    """A controller that serves; ``pods`` are beside those of the Services."""
    with tempfile.TemporaryDirectory() as folder:
        found = Plane(Path(folder), services)
        found.add_pods(pods)
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", found.server.handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        options = {name: getattr(found.options, name) for name in PORTS} | {"folder": str(found.options.folder)}
        found.process = await asyncio.create_subprocess_exec(
            sys.executable, __file__, f"http://127.0.0.1:{runner.addresses[0][1]}", json.dumps(options)
        )
        try:
            await until_ready("the controller", found.process, found.ready, READY_SECONDS)
            await until_ready("the leader", found.process, found.told, READY_SECONDS)
            yield found
        finally:
            found.process.terminate()
            await found.process.wait()
            found.server.end_watches()
            await runner.cleanup()


async def until_ready(
    what: str, process: asyncio.subprocess.Process, ready: Callable[[], Awaitable[bool]], seconds: float
) -> None:
    """Asks ``ready`` until it says so; a process that has ended, or takes longer, ends us."""
    until = asyncio.get_running_loop().time() + seconds
    while True:
        if process.returncode is not None:
            raise SystemExit(f"{what} ended with {process.returncode}")
        with suppress(aiohttp.ClientError):
            if await ready():
                return
        if asyncio.get_running_loop().time() > until:
            raise SystemExit(f"{what} does not become ready")
        await asyncio.sleep(0.1)


def _filled(services: int) -> FakeApiServer:
    mutating, validating = (_place(path) for path in CONFIGURATIONS)
    collections = (SECRETS, PODS, *PATHS.values(), mutating[0], validating[0], _place(FRONT_PROXY)[0])
    server = FakeApiServer(*collections, "/apis/coordination.k8s.io/v1/namespaces/smi-mesh/leases")
    for collection, name in (mutating, validating):
        server.put(collection, name, {"webhooks": [{"name": "w", "clientConfig": {}}]})
    server.answers[REVIEWS] = {"status": {"allowed": True}}
    for number in range(services):
        namespace, name = namespace_of(number), name_of(number)
        if number % PER_NAMESPACE == 0:
            server.put(PATHS["Namespace"], namespace, {"metadata": {"namespace": ""}})
        server.put(PATHS["Service"], name, service(number))
        for one in range(ENDPOINTS):
            pod_name = f"{name}-7d4b9c6f5-{one:05d}"
            server.put(PODS, pod_name, pod(namespace, pod_name, number * ENDPOINTS + one, name, name))
        if number % 10 == 0:
            server.put(PATHS["TrafficSplit"], name, split(number, 90, 1))
    return server


def _place(path: str) -> tuple[str, str]:
    collection, _, name = path.rpartition("/")
    return collection, name


async def _control(url: str, options: Options) -> None:
    async def headers() -> dict[str, str]:
        return {}

    async with ApiServer(Access(url=url, tls=None, headers=headers)) as api:
        await run(api, options)


def main(url: str, text: str) -> None:
    """As ``translator.kube.__main__``, towards an API server that is no cluster's."""
    logging.basicConfig(level=os.environ.get("LOG_LEVEL", "WARNING"))
    given = json.loads(text)
    options = Options(**{**given, "folder": Path(given["folder"])})
    gc.freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_control(url, options))


if __name__ == "__main__":
    main(*sys.argv[1:])
