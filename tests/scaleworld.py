"""A world with counts, and the API that autoscalers ask about it, over the loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import yaml
from aiohttp import web
from goldencases import pod_of

from proxy.contract.report import Labels, bucket_of, pack
from smi.decode import decode_text
from translator.metricsapi.autoscaling.server import AutoscalingApi
from translator.metricsapi.server import Attributes, MetricsApi, Seen
from translator.metricsapi.status import Refused
from translator.observed import Observed
from translator.traffic import Entry
from translator.world import World

WORLD = """
seconds: 10
pods:
- {pod: shop/client-1, as: client, workload: Deployment/client, labels: {app: client}}
- {pod: shop/web-1, as: web, workload: Deployment/web, labels: {app: web, pod-template-hash: x}, node: one}
- {pod: shop/web-2, as: web, workload: Deployment/web, labels: {app: web, pod-template-hash: x}, node: one}
- {pod: shop/web-3, as: web, workload: Deployment/web, labels: {app: web, pod-template-hash: x}, meshed: false}
- {pod: shop/idle-1, as: idle, workload: StatefulSet/idle, labels: {app: idle}}
- {pod: shop/db-0, as: db, workload: StatefulSet/db, labels: {app: db}, meshed: false}
- {pod: vault/safe-1, as: safe, workload: Deployment/safe, labels: {app: safe}}
manifests:
- {apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop, labels: {app: web}},
   spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}}
- {apiVersion: v1, kind: Service, metadata: {name: canary, namespace: shop},
   spec: {selector: {app: canary}, ports: [{port: 80, targetPort: 8080}]}}
- {apiVersion: split.smi-spec.io/v1alpha4, kind: TrafficSplit, metadata: {name: rollout, namespace: shop},
   spec: {service: web, backends: [{service: web, weight: 90}, {service: canary, weight: 10}]}}
counted:
- {by: shop/client-1, to: shop/web-1, asked: shop/web, split: shop/rollout, backend: shop/web, ok: 57, failed: 3}
- {by: shop/client-1, to: shop/web-2, asked: shop/web, split: shop/rollout, backend: shop/web, ok: 25, ms: 200}
- {by: shop/web-1, ok: 57, failed: 3}
- {by: shop/web-2, ok: 25, ms: 200}
- {by: vault/safe-1, ok: 8}
"""
"""shop/web-1 has 6 requests a second of 10 ms, shop/web-2 has 2.5 of 200 ms; shop/idle-1 has none."""


def observed_of(case: Mapping[str, Any]) -> Observed:
    """``pods`` as in the compiler's golden cases, ``manifests`` as objects, ``counted`` by sidecars."""
    decoded = decode_text(yaml.dump_all(case["manifests"]), "case")
    assert decoded.problems == ()
    pods = [replace(pod_of(number, text), node=text.get("node", "")) for number, text in enumerate(case["pods"])]
    return Observed(
        entries=[_entry(text) for text in case["counted"]],
        seconds=float(case["seconds"]),
        pods={pod.meta.key: pod for pod in pods},
        world=World.of(decoded.objects, pods),
    )


def _entry(text: Mapping[str, Any]) -> Entry:
    """Counted by the caller's sidecar where it says ``to``, else by the server's."""
    ok, failed = text.get("ok", 0), text.get("failed", 0)
    ms = text.get("ms", 10)
    cell = pack([0, ok, 0, 0, failed], ms * 1000 * (ok + failed), {bucket_of(ms / 1000): ok + failed})
    if "to" not in text:
        return Entry(text["by"], Labels(direction="inbound", destination="8080", tls="true"), [cell])
    labels = Labels(
        direction="outbound",
        destination=f"{text['asked']}:80",
        split=text["split"],
        backend=text["backend"],
        pod=text["to"],
        tls="true",
    )
    return Entry(text["by"], labels, [cell])


def shop() -> Observed:
    """``WORLD``."""
    return observed_of(yaml.safe_load(WORLD))


@dataclass
class NamespaceGate:
    """Believes the header ``user``: a namespace where all is allowed, ``admin`` everywhere, ``nobody`` is unknown."""

    asked: list[Attributes] = field(default_factory=list)

    async def user(self, request: web.Request) -> object:
        """Raises ``Refused``."""
        user = request.headers.get("user", "admin")
        if user == "nobody":
            raise Refused(401, "Unauthorized")
        return user

    async def may(self, user: object, wanted: Attributes) -> str:
        """By namespace alone."""
        self.asked.append(wanted)
        return "" if user in ("admin", wanted.namespace) else "forbidden"


class Client:
    """``state`` is what was counted, ``looks`` how often that was looked at, ``now`` the API's clock."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session, self.base = session, ""
        self.gate = NamespaceGate()
        self.state: Seen | None = Seen(shop())
        self.looks = 0
        self.now = 0.0

    async def observe(self, seconds: float) -> Seen | None:
        """For the API."""
        assert seconds == 30
        self.looks += 1
        return self.state

    async def ask(self, path: str, *, method: str = "GET", **headers: str) -> tuple[int, Any]:
        """Status and body; of HEAD and 304 there is none."""
        async with self.session.request(method, self.base + path, headers=headers) as answer:
            text = await answer.read()
            return answer.status, await answer.json(content_type=None) if text else None


def scene(play: Callable[[Client], Awaitable[None]]) -> None:
    """Runs ``play`` with a client of the API beside that of TrafficMetrics, as the controller serves them."""

    async def run() -> None:
        async with aiohttp.ClientSession() as session:
            client = Client(session)
            scaling = AutoscalingApi(client.gate, client.observe, lambda: client.now)
            runner = web.AppRunner(MetricsApi(client.gate, client.observe).application(scaling.routes()))
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            client.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
            try:
                await play(client)
            finally:
                await runner.cleanup()

    asyncio.run(run())
