"""The admin port, reading only: ``/live /ready /status /metrics /config /audit``, for the kubelet ``/probe/<name>``.

State is never changed from here: the port answers whoever reaches it, but in local mode no browser that a page from
elsewhere sent here under a name of its own (DNS rebinding). Orders come over a Unix socket of the pod's own.

Served by aiohttp's low-level server, whose parts are imported one by one: all of ``aiohttp.web`` (applications,
routing, files, WebSockets) would be a twenty-fifth of an idle sidecar's memory, for a handful of fixed paths.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from typing import Any, Final, TypeAlias

import msgspec
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse
from aiohttp.web_server import Server

from proxy.contract.audit import Audit
from proxy.contract.config import Config
from proxy.probes import PROBE, Probes

# Characters of metrics written at a time; between two pieces requests get their turn.
PIECE = 16 * 1024

BACKLOG: Final = 128

HEAD_TIMEOUT: Final = 10.0
"""Seconds until the head of a connection's first request, as at the ports of requests."""

IDLE_TIMEOUT: Final = 90.0
"""Seconds until the head of the next one: more than there are between two looks of a Prometheus."""

LAST_ANSWERS: Final = 60.0
"""Seconds for answers under way when the sidecar ends."""

Page: TypeAlias = Callable[[BaseRequest], Awaitable[StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What ``/status`` says: config version in force, certificate's end, whether requests are served."""

    ready: bool
    version: int
    expires: datetime | None
    connected: bool
    last_nack: str


class _Connection(RequestHandler):
    """One that is closed when it says nothing: with silent ones anybody could use up the sidecar's descriptors."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._deadline = asyncio.get_running_loop().call_later(HEAD_TIMEOUT, self.force_close)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._deadline.cancel()
        super().connection_lost(exc)

    def asks(self) -> None:
        """Its first head is whole."""
        self._deadline.cancel()

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Not of what is no request: a traceback for each, and anybody could fill a disk with them."""
        if not isinstance(kw.get("exc_info"), HttpProcessingError):
            super().log_exception(*args, **kw)


class _Server(Server):
    def __call__(self) -> RequestHandler:
        options: dict[str, Any] = {"keepalive_timeout": IDLE_TIMEOUT, "access_log": None}
        return _Connection(self, loop=asyncio.get_running_loop(), **options)


class Pages:
    """Answers of ``pages``, which are found by method and path. One whose path ends in a slash has all just below it.

    Whoever may GET may HEAD. ``cluster_domain``: of the names that may be asked for (``is_own_name``); None: any.
    """

    def __init__(self, pages: Mapping[tuple[str, str], Page], cluster_domain: str | None = None) -> None:
        self._pages = pages
        self._domain = cluster_domain
        self._server = _Server(self._answer)
        self._listeners: list[asyncio.Server] = []

    async def open(self, sockets: Iterable[socket.socket]) -> None:
        """Serve on sockets that are bound."""
        loop = asyncio.get_running_loop()
        for sock in sockets:
            self._listeners.append(await loop.create_server(self._server, sock=sock, backlog=BACKLOG))

    async def open_unix(self, path: str) -> None:
        """Serve on a Unix socket at ``path``. Raises ``OSError``."""
        loop = asyncio.get_running_loop()
        self._listeners.append(await loop.create_unix_server(self._server, path, backlog=BACKLOG))

    async def close(self) -> None:
        """Answers under way are finished."""
        for listener in self._listeners:
            listener.close()
        await asyncio.sleep(0)  # what has just been accepted is a request under way
        self._server.pre_shutdown()
        await self._server.shutdown(LAST_ANSWERS)

    async def _answer(self, request: BaseRequest) -> StreamResponse:
        if isinstance(request.protocol, _Connection):
            request.protocol.asks()
        if self._domain is not None and not is_own_name(request.headers.get("Host", ""), self._domain):
            text = f"403: the Host must be an IP address, localhost, or a name of a Service or pod in {self._domain}\n"
            return Response(status=403, text=text)
        above = request.path[: request.path.rfind("/") + 1]
        found = {
            method: page for (method, path), page in self._pages.items() if path == request.path or path == above
        }  # fmt: skip
        page = found.get("GET" if request.method == "HEAD" else request.method)
        if page is not None:
            return await page(request)
        if found:
            return Response(status=405, headers={"Allow": ", ".join(found)}, text="405: Method Not Allowed")
        return Response(status=404, text="404: Not Found")


def is_own_name(authority: str, cluster_domain: str) -> bool:
    """Whether a Host is one by which pods are asked: an address, a name without dots, or one of the cluster's.

    Whoever owns a domain has it lead where he likes, so a name of any other says that a page of his is asking. Nobody
    owns a name without dots, or one below ``svc``, of which there is none but in clusters. No Host is no browser.
    """
    if authority.startswith("["):
        return _is_address(authority[1:].partition("]")[0])
    name = authority.partition(":")[0].lower().removesuffix(".")
    return "." not in name or name.endswith((f".{cluster_domain.lower()}", ".svc")) or _is_address(name)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def admin_pages(
    status: Callable[[], Status],
    config: Callable[[], Config],
    metrics: Callable[[], Iterator[str]],
    audit: Callable[[], Audit],
    probes: Probes,
    cluster_domain: str | None,
) -> Pages:
    """One sidecar's admin pages. ``metrics`` gives Prometheus' text in pieces, ``cluster_domain`` is ``Pages``'."""

    async def live(_: BaseRequest) -> Response:
        return Response(text="live\n")

    async def ready(_: BaseRequest) -> Response:
        if status().ready:
            return Response(text="ready\n")
        return Response(status=503, text="not ready: no certificate or no config yet\n")

    async def show_status(_: BaseRequest) -> Response:
        now = status()
        body = {
            "ready": now.ready,
            "configVersion": now.version,
            "certificateExpires": now.expires.isoformat().replace("+00:00", "Z") if now.expires else None,
            "connected": now.connected,
            "lastNack": now.last_nack,
        }
        return Response(body=msgspec.json.encode(body), content_type="application/json")

    async def show_metrics(request: BaseRequest) -> StreamResponse:
        response = StreamResponse(headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
        response.enable_compression()
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        text = ""
        for piece in metrics():
            text += piece
            if len(text) > PIECE:
                await response.write(text.encode())
                await asyncio.sleep(0)
                text = ""
        await response.write_eof(text.encode())
        return response

    async def show_config(_: BaseRequest) -> Response:
        return Response(body=msgspec.json.encode(config()), content_type="application/json")

    async def show_audit(_: BaseRequest) -> Response:
        return Response(body=msgspec.json.encode(audit()), content_type="application/json")

    return Pages({
        ("GET", "/live"): live,
        ("GET", "/ready"): ready,
        ("GET", "/status"): show_status,
        ("GET", "/metrics"): show_metrics,
        ("GET", "/config"): show_config,
        ("GET", "/audit"): show_audit,
        ("GET", PROBE): probes.handle,
    }, cluster_domain)  # fmt: skip


def order_pages(drain: Callable[[], Awaitable[None]]) -> Pages:
    """What the pod itself may ask for: ``POST /drain`` returns when it has, ``PUT /log-level`` takes a level's name."""

    async def drained(_: BaseRequest) -> Response:
        await drain()
        return Response(text="drained\n")

    async def log_level(request: BaseRequest) -> Response:
        name = (await request.read()).decode("latin-1").strip().upper()
        if name not in logging.getLevelNamesMapping():
            return Response(status=400, text=f"{name[:20]!r} is no level: debug, info, warning, error\n")
        logging.getLogger().setLevel(name)
        return Response(text=f"{name.lower()}\n")

    return Pages({("POST", "/drain"): drained, ("PUT", "/log-level"): log_level})
