"""Inbound: may this caller make this request of our application, and in which form does it get there?

Every request is judged anew, also on a connection that has been open for
long. Where a path condition is in force the canonical path is what policy
sees and what the application gets.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from proxy.authorize import Verdict
from proxy.contract.config import Endpoint, Sidecar
from proxy.contract.report import Labels
from proxy.contract.report import Verdict as Word
from proxy.counters import MAX_SERIES, Series
from proxy.endpoints import Endpoints, EndpointState
from proxy.errors import BadRequest, Denied, Reason, Refusal, no_endpoint
from proxy.forward import Exchange
from proxy.forwarding import Forwarding
from proxy.http1.head import CHUNKED, RequestHead
from proxy.lookalike import Guard
from proxy.paths import canonical_path
from proxy.table import Table

if TYPE_CHECKING:
    from proxy.http1.server import ServerConnection

# Methods whose bodies mean nothing (RFC 9110 §9.3.1, 9.3.2, 9.3.5): some applications do not read them, and would find
# in one the next request on the connection, which policy never saw. Such a request is the last on its connection.
_BODY_UNREAD: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS", "TRACE"})


class Inbound:
    """The router of inbound requests. ``table`` gives the table in force."""

    def __init__(self, sidecar: Sidecar, table: Callable[[], Table], now: Callable[[], float]) -> None:
        self._app_address = sidecar.app_address or sidecar.listeners.address
        self._app_ports = sidecar.app_ports
        self._trust_domain = sidecar.trust_domain
        listeners = sidecar.listeners
        # A request for one of our own ports would come back to us for ever.
        self._own_ports = frozenset({listeners.outbound, listeners.mesh, listeners.admin})
        self._table = table
        self._apps = Endpoints(now)
        self._app: dict[int, EndpointState] = {}
        self._series: dict[tuple[int, str, str, str], Series] = {}
        self.forwarding: Forwarding

    def render(self, exchange: Exchange) -> tuple[bytes, ...]:
        """See ``proxy.forwarding.Router``."""
        head = exchange.head
        client = client_line(exchange.down.caller.identity, self._trust_domain)
        if head.length and head.method in _BODY_UNREAD:
            head.alone = True
            client += b"connection: close\r\n"
        return (head.method.encode(), b" ", head.target, b" HTTP/1.1\r\nhost: ", head.authority, b"\r\n", client)

    def select(self, exchange: Exchange) -> EndpointState:
        """See ``proxy.forwarding.Router``."""
        if exchange.tried:
            raise no_endpoint("the application does not accept connections")
        try:
            verdict = self._judge(exchange)
        except Refusal:
            exchange.series = self.forwarding.counters.series(_labels(exchange.down, None))
            raise
        down = exchange.down
        exchange.series = self._counted(down, verdict)
        _enforce(verdict)
        app = self._app.get(down.port)
        if app is None:
            port = self._app_ports.get(down.port, down.port)
            app = self._app[down.port] = self._apps.get(Endpoint(ip=self._app_address, port=port))
        return app

    def _judge(self, exchange: Exchange) -> Verdict:
        """What policy says. Raises ``Refusal`` for what it is not even asked about."""
        head, down = exchange.head, exchange.down
        exchange.ticket = self.forwarding.amplification.opened()
        if head.method == "CONNECT":
            raise BadRequest("CONNECT is not forwarded", 405)
        if down.port in self._own_ports:
            raise Denied(Reason.LOOP, f"port {down.port} is the sidecar's own")
        return self._admit(head, down)

    def _admit(self, head: RequestHead, down: ServerConnection) -> Verdict:
        """What the policy in force says, of the request in the form that is judged. Raises ``Refusal``: it has none."""
        authorizer = self._table().authorizer
        # Who is refused for being nobody costs no work on paths.
        if (down.caller.identity or authorizer.unmeshed) and authorizer.looks_at_path(down.port):
            _settle_path(head, authorizer.enforced)
        guard = authorizer.guard(down.port)
        if guard is not None and authorizer.enforced:
            _settle_headers(head, guard)
        return authorizer.decide(down.caller, down.port, head)

    def judge_upgrades(self) -> None:
        """A tunnel is one long request: where the policy that has just come into force would not let it in, it ends."""
        for down in list(self.forwarding.connections):
            exchange = down.exchange
            if exchange is not None and exchange.head.upgrade:
                try:
                    _enforce(self._admit(exchange.head, down))
                except Refusal as refusal:
                    exchange.refuse(refusal)

    def given_up(self, exchange: Exchange) -> None:
        """See ``proxy.forwarding.Router``: nobody waits here."""

    def retire_idle(self) -> None:
        """Close idle connections to the application."""
        self._apps.retire()

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


def _enforce(verdict: Verdict) -> None:
    if not verdict.allowed:
        assert verdict.reason is not None
        raise Denied(verdict.reason, verdict.by)


def _settle_path(head: RequestHead, enforced: bool) -> None:
    """The canonical path is what policy sees and, where it is enforced, what the application gets."""
    path = canonical_path(head.path)
    head.policy_path = path.path.decode("latin-1")
    if not enforced:
        return
    if path.ambiguous:
        raise BadRequest(f"ambiguous path: {path.ambiguous}")
    _, mark, query = head.target.partition(b"?")
    head.target = path.path + mark + query


def _settle_headers(head: RequestHead, guard: Guard) -> None:
    """No header under another name, or in the trailers, stands in for one that policy looks at."""
    name = guard.look_alike(head.lines)
    if name:
        raise BadRequest(f"ambiguous header: {name}")
    if head.length == CHUNKED:
        head.guard = guard


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
def client_line(identity: str, trust_domain: str) -> bytes:
    """The header that tells the application who calls: ``<namespace>/<serviceaccount>``; empty without identity.

    Of another trust domain it is the whole SPIFFE ID, which cannot be taken for one of ours.
    """
    if not identity:
        return b""
    parts = identity.split("/")
    if parts[2] != trust_domain:
        return f"smi-mesh-client-id: {identity}\r\n".encode()
    return f"smi-mesh-client-id: {parts[4]}/{parts[6]}\r\n".encode()
