"""Worlds, counts and clients for tests of TrafficMetrics."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import aiohttp
import yaml
from aiohttp import web
from goldencases import pod_of
from yarl import URL

from proxy.contract.report import Labels, bucket_of, pack
from smi.decode import Decoded, decode_text
from translator.control import set_up
from translator.metricsapi.kinds import GROUP
from translator.metricsapi.server import Attributes, Backend, MetricsApi, Seen
from translator.metricsapi.status import Refused
from translator.observed import Observed
from translator.traffic import Entry
from translator.world import World

ROOT = f"/apis/{GROUP}"
V2, V1 = f"{ROOT}/v1alpha2", f"{ROOT}/v1alpha1"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

Body = dict[str, Any]

WORLD = """
seconds: 10
pods:
- {pod: shop/client-1, as: client, workload: Deployment/client, labels: {app: client, tier: front}, node: one}
- {pod: shop/web-1, as: web, workload: Deployment/web, labels: {app: web, tier: back, pod-template-hash: x}, node: one}
- {pod: shop/web-2, as: web, workload: Deployment/web, labels: {app: web, tier: back, pod-template-hash: x}, node: two}
- {pod: shop/db-0, as: db, workload: StatefulSet/db, labels: {app: db}, meshed: false}
- {pod: vault/spy-1, as: spy, workload: Deployment/spy, labels: {app: spy}, node: two}
- {pod: vault/safe-1, as: safe, workload: Deployment/safe, labels: {app: safe}}
manifests:
- {apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: red}}}
- {apiVersion: v1, kind: Namespace, metadata: {name: vault}}
- {apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop, labels: {app: web}},
   spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}}
- {apiVersion: v1, kind: Service, metadata: {name: canary, namespace: shop},
   spec: {selector: {app: canary}, ports: [{port: 80, targetPort: 8080}]}}
- {apiVersion: v1, kind: Service, metadata: {name: safe, namespace: vault},
   spec: {selector: {app: safe}, ports: [{port: 80, targetPort: 8080}]}}
- {apiVersion: split.smi-spec.io/v1alpha4, kind: TrafficSplit, metadata: {name: rollout, namespace: shop},
   spec: {service: web, backends: [{service: web, weight: 90}, {service: canary, weight: 10}]}}
counted:
- {by: shop/client-1, to: shop/web-1, asked: shop/web, split: shop/rollout, backend: shop/web, ok: 60, failed: 3}
- {by: shop/client-1, to: shop/web-2, asked: shop/web, split: shop/rollout, backend: shop/web, ok: 27}
- {by: shop/web-1, from: shop/client, ok: 60, failed: 3}
- {by: shop/web-2, from: shop/client, ok: 27}
- {by: vault/spy-1, to: shop/web-1, asked: shop/web, ok: 5}
- {by: shop/web-1, from: vault/spy, ok: 5}
- {by: shop/web-1, to: vault/safe-1, asked: vault/safe, match: secrets/read, ok: 2, failed: 1}
- {by: vault/safe-1, from: shop/web, ok: 2, failed: 1}
- {by: vault/spy-1, to: vault/safe-1, asked: vault/safe, ok: 8}
- {by: vault/safe-1, from: vault/spy, ok: 8}
- {by: shop/web-2, from: "", ok: 4}
"""
"""The tenants ``shop`` and ``vault``, who call each other; what one side counted the other did, too."""


def observed_of(case: Mapping[str, Any]) -> Observed:
    """``pods`` as in the compiler's golden cases, ``manifests`` as objects, ``counted`` by sidecars."""
    manifests = case.get("manifests")
    decoded = decode_text(yaml.dump_all(manifests), "case") if manifests else Decoded()
    assert decoded.problems == ()
    pods = [replace(pod_of(number, text), node=text.get("node", "")) for number, text in enumerate(case["pods"])]
    gone = [pod_of(100 + number, text) for number, text in enumerate(case.get("gone", ()))]
    world = World.of(decoded.objects, pods)
    known = {pod.meta.key: pod for pod in (*pods, *gone)}
    counted = [entry(text) for text in case.get("counted", ())]
    return Observed(entries=counted, seconds=float(case.get("seconds", 10)), pods=known, world=world)


def entry(text: Mapping[str, Any]) -> Entry:
    """What a sidecar counted: ``ms`` has the time of each request."""
    ok, failed = text.get("ok", 0), text.get("failed", 0)
    times = text.get("ms", [10.0] * (ok + failed))
    histogram: dict[int, int] = {}
    for ms in times:
        histogram[bucket_of(ms / 1000)] = histogram.get(bucket_of(ms / 1000), 0) + 1
    cell = pack([0, ok, 0, 0, failed], round(sum(times) * 1000), histogram)
    return Entry(text["by"], _labels(text), [cell])


def _labels(text: Mapping[str, Any]) -> Labels:
    if "from" in text:
        caller = text["from"]
        identity = caller if "://" in caller else _identity(caller) if caller else ""
        return Labels(direction="inbound", destination="8080", peer=identity, tls="true" if identity else "no_identity")
    return Labels(
        direction="outbound",
        destination=f"{text['asked']}:80" if text.get("asked") else "",
        split=text.get("split", ""),
        backend=text.get("backend", ""),
        match=text.get("match", ""),
        pod=text.get("to", ""),
        tls="true",
    )


def _identity(account: str) -> str:
    namespace, name = account.split("/")
    return f"spiffe://cluster.local/ns/{namespace}/sa/{name}"


@cache
def shops() -> Observed:
    """``WORLD``."""
    return observed_of(yaml.safe_load(WORLD))


@dataclass
class TestGate:
    """Believes the header ``user``. ``rights`` has what each may: everything in a namespace, ``*`` in all."""

    __test__ = False

    rights: dict[str, set[str]] = field(default_factory=lambda: {"admin": {"*"}, "tenant": {"shop"}})
    asked: list[Attributes] = field(default_factory=list)

    async def user(self, request: web.Request) -> object:
        """Raises ``Refused``."""
        user = request.headers.get("user", "admin")
        if user not in self.rights:
            raise Refused(401, "Unauthorized")
        return user

    async def may(self, user: object, wanted: Attributes) -> str:
        """By namespace alone."""
        self.asked.append(wanted)
        held = self.rights[str(user)]
        return "" if "*" in held or (wanted.namespace and wanted.namespace in held) else "forbidden"


@dataclass
class Answer:
    """What came back."""

    status: int
    text: str
    headers: Mapping[str, str]

    @property
    def body(self) -> Any:
        """As JSON, which has no NaN."""
        return json.loads(self.text, parse_constant=_never)


def _never(constant: str) -> Any:
    raise AssertionError(constant)


class Client:
    """Asks a served ``MetricsApi``; ``gate`` says what it was asked, ``seen`` can be changed."""

    def __init__(
        self, base: str, session: aiohttp.ClientSession, gate: TestGate, state: dict[str, Seen | None]
    ) -> None:
        self.base, self.session, self.gate, self.state = base, session, gate, state

    async def ask(self, path: str, *, method: str = "GET", **headers: str) -> Answer:
        """``path`` goes as it is, percents and all."""
        url = URL(self.base + path, encoded=True)
        async with self.session.request(method, url, headers=headers) as answer:
            return Answer(answer.status, await answer.text(), answer.headers)

    async def get(self, path: str, **headers: str) -> Any:
        """The body of a 200."""
        answer = await self.ask(path, **headers)
        assert answer.status == 200, answer.text
        return answer.body


@asynccontextmanager
async def served(
    observed: Observed | None = None,
    *,
    partial: str = "",
    poll: float = 0.02,
    exact: bool = False,
    backend: Backend | None = None,
    clock: Callable[[], float] = time.monotonic,
    opened: Callable[[web.Application], AsyncIterator[None]] | None = None,
) -> AsyncIterator[Client]:
    """The API over the loopback, about ``observed`` (``WORLD``, if none), or what ``backend``, ``opened``, has."""
    gate = TestGate()
    state: dict[str, Seen | None] = {"seen": Seen(observed or shops(), partial)}

    async def observe(seconds: float) -> Seen | None:
        del seconds
        return state["seen"]

    app = MetricsApi(gate, observe, poll=poll, spec_exact=exact, backend=backend, clock=clock).application()
    if opened is not None:
        app.cleanup_ctx.append(opened)
    [runner] = await set_up(app, max_headers=1024)
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with aiohttp.ClientSession() as session:
            yield Client(f"http://127.0.0.1:{runner.addresses[0][1]}", session, gate, state)
    finally:
        await runner.cleanup()


def scene(play: Callable[[Client], Any], observed: Observed | None = None, **given: Any) -> None:
    """Runs ``play`` with a client."""

    async def run() -> None:
        async with served(observed, **given) as client:
            await play(client)

    asyncio.run(run())


def status_of(answer: Answer, code: int) -> Body:
    """The ``metav1.Status`` that an answer must be."""
    assert answer.status == code, answer.text
    body = answer.body
    assert isinstance(body, dict)
    assert (body["kind"], body["apiVersion"], body["status"], body["code"]) == ("Status", "v1", "Failure", code)
    assert body["message"]
    assert body["reason"]
    return body


def counts(item: Body) -> tuple[int, int]:
    """Successes and failures of a TrafficMetrics."""
    metrics = {one["name"]: one["value"] for one in item["metrics"]}
    return int(metrics["success_count"]), int(metrics["failure_count"])
