"""The admin port, reading only: ``/live /ready /status /metrics /config /audit``, for the kubelet ``/probe/<name>``.

State is never changed from here: the port answers whoever reaches it. Orders come over a Unix socket of the pod's own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

import msgspec
from aiohttp import web

from proxy.contract.audit import Audit
from proxy.contract.config import Config
from proxy.probes import Probes

# Characters of metrics written at a time; between two pieces requests get their turn.
PIECE = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What ``/status`` says: config version in force, certificate's end, whether requests are served."""

    ready: bool
    version: int
    expires: datetime | None
    connected: bool
    last_nack: str


def admin_application(
    status: Callable[[], Status],
    config: Callable[[], Config],
    metrics: Callable[[], Iterator[str]],
    audit: Callable[[], Audit],
    probes: Probes,
) -> web.Application:
    """The admin pages of one sidecar. ``metrics`` gives Prometheus' text in pieces."""

    async def live(_: web.Request) -> web.Response:
        return web.Response(text="live\n")

    async def ready(_: web.Request) -> web.Response:
        if status().ready:
            return web.Response(text="ready\n")
        return web.Response(status=503, text="not ready: no certificate or no config yet\n")

    async def show_status(_: web.Request) -> web.Response:
        now = status()
        body = {
            "ready": now.ready,
            "configVersion": now.version,
            "certificateExpires": now.expires.isoformat().replace("+00:00", "Z") if now.expires else None,
            "connected": now.connected,
            "lastNack": now.last_nack,
        }
        return web.Response(body=msgspec.json.encode(body), content_type="application/json")

    async def show_metrics(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
        response.enable_compression()
        await response.prepare(request)
        text = ""
        for piece in metrics():
            text += piece
            if len(text) > PIECE:
                await response.write(text.encode())
                await asyncio.sleep(0)
                text = ""
        await response.write_eof(text.encode())
        return response

    async def show_config(_: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(config()), content_type="application/json")

    async def show_audit(_: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(audit()), content_type="application/json")

    application = web.Application()
    application.router.add_get("/live", live)
    application.router.add_get("/ready", ready)
    application.router.add_get("/status", show_status)
    application.router.add_get("/metrics", show_metrics)
    application.router.add_get("/config", show_config)
    application.router.add_get("/audit", show_audit)
    application.router.add_get("/probe/{name}", probes.handle)
    return application


def order_application(drain: Callable[[], Awaitable[None]]) -> web.Application:
    """What the pod itself may ask for: ``POST /drain`` returns when it has, ``PUT /log-level`` takes a level's name."""

    async def drained(_: web.Request) -> web.Response:
        await drain()
        return web.Response(text="drained\n")

    async def log_level(request: web.Request) -> web.Response:
        name = (await request.text()).strip().upper()
        if name not in logging.getLevelNamesMapping():
            return web.Response(status=400, text=f"{name[:20]!r} is no level: debug, info, warning, error\n")
        logging.getLogger().setLevel(name)
        return web.Response(text=f"{name.lower()}\n")

    application = web.Application()
    application.router.add_post("/drain", drained)
    application.router.add_put("/log-level", log_level)
    return application
