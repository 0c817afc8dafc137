"""The control stream's way in: who may open one, and how a request becomes a stream.

Who is there is read from the certificate, never from what is said. aiohttp reads the request and shakes hands for
the WebSocket; then the connection is handed over to ``translator.stream``, and nothing of the request is kept: a
thousand sidecars are connected all the time. What to send comes from ``translator.reconcile``, reports go to
``translator.collect``.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiohttp import web

from proxy.contract.spiffe import PeerRejected
from translator.collect import Collector
from translator.identity.authority import Authority
from translator.identity.enrol import sidecar_of
from translator.identity.serving import peer_of
from translator.identity.subject import BadIdentity
from translator.reconcile import Reconciler
from translator.stream import Stream, Streams

STREAM_PATH = "/v1/stream"

log = logging.getLogger("translator.push")


class Publisher:
    """Serves ``GET /v1/stream`` to sidecars that show a certificate of ``authority``."""

    def __init__(self, reconciler: Reconciler, authority: Authority, collector: Collector) -> None:
        self._authority = authority
        self._streams = Streams(reconciler, collector)

    def add_to(self, app: web.Application) -> None:
        """Streams begin at ``app``, and end with it."""
        app.router.add_get(STREAM_PATH, self.handle)
        app.on_shutdown.append(self._close)

    async def _close(self, _: web.Application) -> None:
        self._streams.close()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Opens one stream. 403 without a certificate that names one pod of the mesh."""
        try:
            peer = peer_of(request, self._authority)
            sidecar = sidecar_of(peer)
        except (PeerRejected, BadIdentity) as error:
            log.warning("stream refused peer=%s reason=%s", request.remote, error)
            return web.Response(status=403, text=f"{error}\n")
        shaken = web.WebSocketResponse(compress=False)
        await shaken.prepare(request)
        transport = request.transport
        if transport is None:
            return shaken
        _release(request, transport)
        transport.set_protocol(Stream(self._streams, f"{sidecar.namespace}/{sidecar.pod}", peer, transport))
        return _Nothing()


class _Nothing(web.StreamResponse):
    """What is answered where the connection is not aiohttp's any more."""

    async def prepare(self, request: web.BaseRequest) -> Any:
        """Nothing is written."""
        del request

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing either."""
        del data


def _release(request: web.Request, transport: asyncio.Transport) -> None:
    """To aiohttp the connection is lost, without being closed; what it keeps of each goes.

    So does what the transport has of the peer's certificate: it was read, in another form.
    """
    request.protocol.transport = None
    request.protocol.connection_lost(None)
    certificate = transport.get_extra_info("peercert")
    if certificate:
        certificate.clear()
