"""The controller of a cluster, whole: an API server in, a sidecar enrolled and configured."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from apiserver import FakeApiServer, serving
from eventually import eventually
from ports import free_port

from proxy.contract.config import Control
from proxy.contract.messages import Ack, Hello, Push, decode_down, encode
from proxy.enrolment import EnrolmentFailed, enrol
from proxy.keys import begin, made
from proxy.tls import Pair, control_context
from translator.identity.authority import AuthorityError
from translator.kube.admission.authority import CONFIGURATIONS, WebhookAuthority
from translator.kube.controller import run
from translator.kube.settings import Options
from translator.kube.source import COLLECTIONS
from translator.kube.tokenreview import PATH as REVIEWS
from translator.kube.tokenreview import POD_NAME

SECRETS = "/api/v1/namespaces/smi-mesh/secrets"
SLICES = "/apis/discovery.k8s.io/v1/endpointslices"
PODS, SERVICES, SPLITS = "/api/v1/pods", "/api/v1/services", "/apis/split.smi-spec.io/v1alpha4/trafficsplits"
CONTROLLER = "spiffe://cluster.local/ns/smi-mesh/sa/smi-mesh-controller"
USER = {"username": "system:serviceaccount:shop:web", "extra": {POD_NAME: ["web-1"]}}


def pod(name: str, ip: str, **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "shop", "labels": labels},
        "spec": {
            "serviceAccountName": "web",
            "initContainers": [{"name": "smi-mesh-proxy"}],
            "containers": [{"name": "c"}],
        },
        "status": {"podIP": ip, "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def service(name: str, **selector: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "selector": selector,
            "clusterIP": "10.96.0.9",
            "ports": [{"port": 80, "targetPort": 8080, "name": "http"}],
        },
    }


def split(**weights: str | int) -> dict[str, Any]:
    backends = [{"service": name, "weight": weight} for name, weight in weights.items()]
    return {"metadata": {"name": "s", "namespace": "shop"}, "spec": {"service": "web", "backends": backends}}


class Cluster:
    """A fake API server and a controller on it."""

    def __init__(self, server: FakeApiServer, options: Options) -> None:
        self.server, self.options = server, options

    async def admin(self, path: str, host: str = "") -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.options.admin_port}{path}"
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, headers={"Host": host} if host else {}) as answer,
        ):
            return answer.status, await answer.text()

    async def shown(self, path: str, holds: Callable[[Any], bool]) -> Any:
        """A page for the loopback alone, once it says what it should."""
        deadline = asyncio.get_running_loop().time() + 10
        while True:
            status, text = await self.admin(path, f"localhost:{self.options.admin_port}")
            if status == 200 and holds(json.loads(text)):
                return json.loads(text)
            assert asyncio.get_running_loop().time() < deadline, text
            await asyncio.sleep(0.02)

    async def ready(self) -> bool:
        try:
            return (await self.admin("/readyz"))[0] == 200
        except aiohttp.ClientError:
            return False

    async def enrolled(self, token: str = "proof-of-web-1") -> Pair:
        """The certificate of shop/web-1."""
        bundle = (self.options.folder / "bundle.pem").read_text()
        new = await made(begin("spiffe://cluster.local/ns/shop/sa/web"))
        issued = await enrol(
            Control(address="127.0.0.1", port=self.options.control_port, identity=CONTROLLER),
            new.request,
            trust_domain="cluster.local",
            context=control_context(None, bundle),
            token=token,
            now=lambda: datetime.now(UTC),
        )
        return Pair(certificate=issued.certificate.encode(), key=new.key)

    @asynccontextmanager
    async def stream(self, pair: Pair) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        bundle = (self.options.folder / "bundle.pem").read_text()
        url = f"https://127.0.0.1:{self.options.control_port}/v1/stream"
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, ssl=control_context(pair, bundle)) as stream,
        ):
            await stream.send_bytes(encode(Hello(hosts=("web",))))
            yield stream


async def pushed(socket: aiohttp.ClientWebSocketResponse) -> Push:
    while True:
        message = decode_down(await socket.receive_bytes(timeout=10))
        if isinstance(message, Push):
            return message


@asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[Cluster]:
    mutating, validating = (path.rpartition("/") for path in CONFIGURATIONS)
    server = FakeApiServer(SECRETS, PODS, *(one.path for one in COLLECTIONS), mutating[0], validating[0])
    for collection, _, name in (mutating, validating):
        server.put(collection, name, {"webhooks": [{"name": "w", "clientConfig": {}}]})
    server.put("/api/v1/namespaces", "shop", {"metadata": {"annotations": {"smi-mesh.io/inject": "enabled"}}})
    server.answers[REVIEWS] = {"status": {"authenticated": True, "audiences": ["identity.smi-mesh.io"], "user": USER}}
    control, webhook, metrics, admin = (free_port() for _ in range(4))
    options = Options(folder=folder, control_port=control, webhook_port=webhook, metrics_port=metrics, admin_port=admin)
    async with serving(server) as api:
        task = asyncio.create_task(run(api, options))
        try:
            found = Cluster(server, options)
            deadline = asyncio.get_running_loop().time() + 20
            while not await found.ready():
                assert not task.done(), task.exception()
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.02)
            yield found
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def test_a_sidecar_is_enrolled_and_told_what_the_cluster_says(tmp_path: Path) -> None:
    async def scene() -> None:
        async with cluster(tmp_path) as mesh:
            server = mesh.server
            server.put(PODS, "web-1", pod("web-1", "10.1.0.1", app="web", version="v1"))
            server.put(PODS, "web-2", pod("web-2", "10.1.0.2", app="web", version="v2"))
            for name, selector in (("web", {"app": "web"}), ("v1", {"version": "v1"}), ("v2", {"version": "v2"})):
                server.put(SERVICES, name, service(name, **selector))
            # Written at v1alpha1: quantities, whatever version it is read at.
            server.put(SPLITS, "s", split(v1="900m", v2="100m"))
            pair = await mesh.enrolled()
            async with mesh.stream(pair) as socket:
                push = await pushed(socket)
                while not (push.services.get("shop/web") and push.clusters.get("shop/v1:80")):
                    push = await pushed(socket)
                web = push.services["shop/web"]
                assert web is not None
                (rule,) = web.ports[80].rules
                assert [backend.weight for backend in rule.backends] == [9, 1]
                endpoints = push.clusters["shop/v1:80"]
                assert endpoints is not None
                assert [(one.ip, one.mesh) for one in endpoints.endpoints] == [("10.1.0.1", 4143)]

    asyncio.run(scene())


def slice_of(service: str, address: str, managed_by: str = "") -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": service}
    if managed_by:
        labels["endpointslice.kubernetes.io/managed-by"] = managed_by
    return {
        "metadata": {"namespace": "shop", "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address]}],
        "ports": [{"name": "http", "port": 5000, "protocol": "TCP"}],
    }


def test_slices_that_somebody_writes_are_followed_and_those_of_selectors_are_not_even_asked_for(tmp_path: Path) -> None:
    async def scene() -> None:
        async with cluster(tmp_path) as mesh:
            server = mesh.server
            server.put(PODS, "web-1", pod("web-1", "10.1.0.1"))
            server.put(SERVICES, "web", service("web"))
            server.put(SLICES, "a", slice_of("web", "192.0.2.1"))
            server.put(SLICES, "b", slice_of("web", "192.0.2.9", "endpointslice-controller.k8s.io"))
            pair = await mesh.enrolled()
            async with mesh.stream(pair) as socket:

                async def endpoints() -> list[tuple[str, int, int]]:
                    while True:
                        push = await pushed(socket)
                        await socket.send_bytes(encode(Ack(version=push.version)))
                        told = push.clusters.get("shop/web:80")
                        if told is not None and told.endpoints:
                            return [(one.ip, one.port, one.mesh) for one in told.endpoints]

                assert await endpoints() == [("192.0.2.1", 5000, 0)]
                server.put(SLICES, "a", slice_of("web", "192.0.2.2"))
                assert await endpoints() == [("192.0.2.2", 5000, 0)]
            asked = [path for _, path in server.asked if path.startswith(SLICES)]
            assert len(asked) > 1
            assert all(
                "labelSelector=endpointslice.kubernetes.io/managed-by!%3Dendpointslice" in path for path in asked
            )

    asyncio.run(scene())


def test_a_broken_object_keeps_its_last_good_state_and_is_a_problem(tmp_path: Path) -> None:
    async def scene() -> None:
        async with cluster(tmp_path) as mesh:
            mesh.server.put(SPLITS, "s", split(v1=1, v2=1))
            mesh.server.put(SPLITS, "s", {**split(), "spec": {"service": "web", "backends": "none"}})

            found = await mesh.shown("/problems", lambda said: said != [])
            assert (found[0]["file"], found[0]["field"]) == ("TrafficSplit shop/s", "spec.backends")
            world = await mesh.shown("/debug/world", lambda said: "shop/s" in said["objects"]["splits"])
            assert len(world["objects"]["splits"]["shop/s"]["backends"]) == 2

    asyncio.run(scene())


def test_who_is_told_what(tmp_path: Path) -> None:
    async def scene() -> None:
        async with cluster(tmp_path) as mesh:
            for path in ("/healthz", "/readyz", "/metrics"):
                assert (await mesh.admin(path, "anything"))[0] == 200
            assert (await mesh.admin("/debug/world", "anything"))[0] == 403
            status, text = await mesh.admin("/debug/config/shop/nobody", f"localhost:{mesh.options.admin_port}")
            assert (status, "nobody" in text) == (404, True)
            mesh.server.put(PODS, "web-1", pod("web-1", "10.1.0.1"))
            file = await mesh.shown("/debug/config/shop/web-1", bool)
            assert file["sidecar"]["pod"] == "web-1"

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({"authenticated": False}, "does not know"),
        ({"authenticated": True, "audiences": ["other"], "user": USER}, "not for"),
        ({"authenticated": True, "audiences": ["identity.smi-mesh.io"], "user": {"username": "admin"}}, "not a pod's"),
        (
            {
                "authenticated": True,
                "audiences": ["identity.smi-mesh.io"],
                "user": {**USER, "extra": {POD_NAME: ["A B"]}},
            },
            "DNS-1123",
        ),
    ],
    ids=("unknown", "audience", "user", "name"),
)
def test_a_token_that_proves_nothing_gets_nothing(tmp_path: Path, status: dict[str, Any], why: str) -> None:
    async def scene() -> None:
        async with cluster(tmp_path) as mesh:
            mesh.server.answers[REVIEWS] = {"status": status}
            with pytest.raises(EnrolmentFailed, match=why):
                await mesh.enrolled()

    asyncio.run(scene())


def test_pods_are_injected_over_tls_of_the_webhooks_own_ca(tmp_path: Path) -> None:
    async def scene() -> None:
        async with cluster(tmp_path) as mesh:
            await eventually(lambda: "smi-mesh-webhook" in mesh.server.collections[SECRETS])
            secret = mesh.server.collections[SECRETS]["smi-mesh-webhook"]["data"]
            tls = ssl.create_default_context(cadata=_decoded(secret["ca.crt"]))
            review = {
                "request": {"uid": "1", "namespace": "shop", "object": {"metadata": {}, "spec": {"containers": []}}}
            }
            url = f"https://127.0.0.1:{mesh.options.webhook_port}/inject"
            async with aiohttp.ClientSession() as session:
                name = "smi-mesh-webhook.smi-mesh.svc"
                async with session.post(url, json=review, ssl=tls, server_hostname=name) as answer:
                    said = await answer.json()
            assert said["response"]["patchType"] == "JSONPatch"  # by its namespace's annotation

    asyncio.run(scene())


def test_the_ca_is_the_secrets_also_when_it_is_exchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("translator.kube.casecret.POLL", 0.05)

    async def scene() -> None:
        async with cluster(tmp_path / "one") as first:
            other = first.server.collections[SECRETS]["smi-mesh-identity"]["data"]
        async with cluster(tmp_path / "two") as mesh:
            written = mesh.options.folder / "ca" / "issuer.crt"
            assert written.read_text() != _decoded(other["issuer.crt"])
            data = {"ca.crt": other["ca.crt"], "tls.crt": other["issuer.crt"], "tls.key": other["issuer.key"]}
            mesh.server.put(SECRETS, "smi-mesh-identity", {"data": data})
            await eventually(lambda: written.read_text() == _decoded(other["issuer.crt"]))
            mesh.server.put(SECRETS, "smi-mesh-identity", {"data": {"ca.crt": ""}})
            await asyncio.sleep(0.2)
            assert written.read_text() == _decoded(other["issuer.crt"])

    asyncio.run(scene())


def test_a_ca_that_was_deleted_is_put_back_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("translator.kube.casecret.POLL", 0.05)

    async def scene() -> None:
        async with cluster(tmp_path) as mesh:
            secrets = mesh.server.collections[SECRETS]
            data = secrets["smi-mesh-identity"]["data"]
            mesh.server.delete(SECRETS, "smi-mesh-identity")
            await eventually(lambda: "smi-mesh-identity" in secrets)
            assert secrets["smi-mesh-identity"]["data"] == data
            assert "smi-mesh-identity was deleted; it is put back" in caplog.text

            theirs = {"ca.crt": data["ca.crt"], "tls.crt": data["issuer.crt"], "tls.key": data["issuer.key"]}
            mesh.server.put(SECRETS, "smi-mesh-identity", {"data": theirs})
            asked = len(mesh.server.asked)
            await eventually(lambda: _looks(mesh.server, asked) > 1)
            mesh.server.delete(SECRETS, "smi-mesh-identity")
            asked = len(mesh.server.asked)
            await eventually(lambda: _looks(mesh.server, asked) > 4)
            assert "smi-mesh-identity" not in secrets  # cert-manager's to put back
            assert "there is no Secret smi-mesh-identity any more" in caplog.text

            broken = {**data, "issuer.crt": base64.b64encode(b"x").decode()}
            mesh.server.put(SECRETS, "smi-mesh-identity", {"data": broken})
            written = mesh.options.folder / "ca" / "issuer.crt"
            await eventually(lambda: written.read_text() == "x")
            mesh.server.delete(SECRETS, "smi-mesh-identity")
            asked = len(mesh.server.asked)
            await eventually(lambda: _looks(mesh.server, asked) > 4)
            assert "smi-mesh-identity" not in secrets  # it would keep the next controller from starting

    asyncio.run(scene())


def test_a_ca_that_cannot_be_read_is_told_by_its_secret(tmp_path: Path) -> None:
    async def scene() -> None:
        server = FakeApiServer(SECRETS)
        async with serving(server) as api:
            await WebhookAuthority(api, "smi-mesh").load()
            junk = base64.b64encode(b"x").decode()
            server.put(
                SECRETS, "smi-mesh-identity", {"data": dict.fromkeys(("ca.crt", "issuer.crt", "issuer.key"), junk)}
            )
            with pytest.raises(AuthorityError, match=r"^Secret smi-mesh-identity, .* cannot be read"):
                await run(api, Options(folder=tmp_path))

    asyncio.run(scene())


def _looks(server: FakeApiServer, since: int) -> int:
    return server.asked[since:].count(("GET", f"{SECRETS}/smi-mesh-identity"))


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()
