"""A world with counts, and the API that autoscalers ask about it, over the loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import yaml
from aiohttp import web
from metricsworld import observed_of

from translator.metricsapi.autoscaling.server import AutoscalingApi
from translator.metricsapi.server import Attributes, MetricsApi, Seen
from translator.metricsapi.status import Refused
from translator.observed import Observed

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
- {by: shop/web-1, from: shop/client, ok: 57, failed: 3}
- {by: shop/web-2, from: shop/client, ok: 25, ms: 200}
- {by: vault/safe-1, from: "", ok: 8}
"""
"""shop/web-1 has 6 requests a second of 10 ms, shop/web-2 has 2.5 of 200 ms; shop/idle-1 has none."""


def shop() -> Observed:
    """``WORLD``; ``ms`` is there the time of each request."""
    case = yaml.safe_load(WORLD)
    for text in case["counted"]:
        if "ms" in text:
            text["ms"] = [float(text["ms"])] * text["ok"]
    return observed_of(case)


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
