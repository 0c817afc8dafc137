"""Inbound: may this caller make this request of our application, and in which form does it get there?

Every request is judged anew, also on a connection that has been open for
long. Where a path condition is in force the canonical path is what policy
sees and what the application gets.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from proxy.authorize import Verdict
from proxy.contract.config import Endpoint, Sidecar
from proxy.contract.report import Labels
from proxy.contract.report import Verdict as Word
from proxy.counters import MAX_SERIES, Series
from proxy.endpoints import Endpoints, EndpointState
from proxy.errors import BadRequest, Denied, Reason, Refusal, no_endpoint
from proxy.forward import Exchange, Forwarding
from proxy.paths import canonical_path
from proxy.table import Table

if TYPE_CHECKING:
    from proxy.http1.server import ServerConnection


class Inbound:
    """The router of inbound requests. ``table`` gives the table in force."""

    def __init__(self, sidecar: Sidecar, table: Callable[[], Table], now: Callable[[], float]) -> None:
        self._app_address = sidecar.app_address or sidecar.listeners.address
        self._app_ports = sidecar.app_ports
        listeners = sidecar.listeners
        # A request for one of our own ports would come back to us for ever.
        self._own_ports = frozenset({listeners.outbound, listeners.mesh, listeners.admin})
        self._table = table
        self._apps = Endpoints(now)
        self._app: dict[int, EndpointState] = {}
        self._series: dict[tuple[int, str, str, str], Series] = {}
        self.forwarding: Forwarding

    def render(self, exchange: Exchange) -> tuple[bytes, ...]:
        """See ``proxy.forward.Router``."""
        head = exchange.head
        client = client_line(exchange.down.caller.identity)
        return (head.method.encode(), b" ", head.target, b" HTTP/1.1\r\nhost: ", head.authority, b"\r\n", client)

    def select(self, exchange: Exchange) -> EndpointState:
        """See ``proxy.forward.Router``."""
        if exchange.tried:
            raise no_endpoint("the application does not accept connections")
        try:
            verdict = self._judge(exchange)
        except Refusal:
            exchange.series = self.forwarding.counters.series(_labels(exchange.down, None))
            raise
        down = exchange.down
        exchange.series = self._counted(down, verdict)
        if not verdict.allowed:
            assert verdict.reason is not None
            raise Denied(verdict.reason, verdict.by)
        app = self._app.get(down.port)
        if app is None:
            port = self._app_ports.get(down.port, down.port)
            app = self._app[down.port] = self._apps.get(Endpoint(ip=self._app_address, port=port))
        return app

    def _judge(self, exchange: Exchange) -> Verdict:
        """What policy says. Raises ``Refusal`` for what it is not even asked about."""
        head, down = exchange.head, exchange.down
        if head.method == "CONNECT":
            raise BadRequest("CONNECT is not forwarded", 405)
        if down.port in self._own_ports:
            raise Denied(Reason.LOOP, f"port {down.port} is the sidecar's own")
        authorizer = self._table().authorizer
        if authorizer.looks_at_path(down.port):
            path = canonical_path(head.path)
            if path.ambiguous:
                raise BadRequest(f"ambiguous path: {path.ambiguous}")
            _, mark, query = head.target.partition(b"?")
            head.target = path.path + mark + query
            head.policy_path = path.path.decode("latin-1")
        return authorizer.decide(down.caller, down.port, head)

    def retire_idle(self) -> None:
        """Close idle connections to the application."""
        self._apps.retire_idle()

    def _counted(self, down: ServerConnection, verdict: Verdict) -> Series:
        if verdict.reason is not None:
            return self.forwarding.counters.series(_labels(down, verdict))
        key = (down.port, down.caller.identity, verdict.target, verdict.match)
        series = self._series.get(key)
        if series is None:
            if len(self._series) >= MAX_SERIES:
                self._series.clear()
            series = self._series[key] = self.forwarding.counters.series(_labels(down, verdict))
        return series


def _labels(down: ServerConnection, verdict: Verdict | None) -> Labels:
    """What a request is counted as; without a verdict: it was refused before policy was asked."""
    judged: Word = ""
    if verdict is not None:
        judged = "allow" if verdict.reason is None else "deny" if verdict.enforced else "audit"
    return Labels(
        direction="inbound",
        destination=str(down.port),
        peer=down.caller.identity,
        tls="true" if down.caller.identity else "no_identity",
        target=verdict.target if verdict is not None else "",
        match=verdict.match if verdict is not None else "",
        verdict=judged,
    )


@functools.lru_cache(maxsize=1024)
def client_line(identity: str) -> bytes:
    """The header that tells the application who calls: ``<namespace>/<serviceaccount>``; empty without identity."""
    if not identity:
        return b""
    parts = identity.split("/")
    return f"smi-mesh-client-id: {parts[4]}/{parts[6]}\r\n".encode()
