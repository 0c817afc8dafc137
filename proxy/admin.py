"""The admin port: reading only. ``/live /ready /status /metrics /config /audit``.

State is never changed from here: the port answers whoever reaches it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import msgspec
from aiohttp import web

from proxy.contract.audit import Audit
from proxy.contract.config import Config
from proxy.counters import Counters


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What ``/status`` says: config version in force, certificate's end, whether requests are served."""

    ready: bool
    version: int
    expires: datetime | None
    connected: bool
    last_nack: str


def admin_application(
    status: Callable[[], Status], config: Callable[[], Config], counters: Counters, audit: Callable[[], Audit]
) -> web.Application:
    """The admin pages of one sidecar."""

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

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=counters.prometheus())

    async def show_config(_: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(config()), content_type="application/json")

    async def show_audit(_: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(audit()), content_type="application/json")

    application = web.Application()
    application.router.add_get("/live", live)
    application.router.add_get("/ready", ready)
    application.router.add_get("/status", show_status)
    application.router.add_get("/metrics", metrics)
    application.router.add_get("/config", show_config)
    application.router.add_get("/audit", show_audit)
    return application
