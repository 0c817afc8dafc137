"""Inbound: may this caller make this request of our application, and in which form does it get there?

Every request is judged anew, also on a connection that has been open for
long. Where a path condition is in force the canonical path is what policy
sees and what the application gets.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from proxy.audit import Auditor
from proxy.authorize import Verdict, barred, judge
from proxy.contract.config import Endpoint, Sidecar, own_ports
from proxy.contract.report import Labels
from proxy.contract.report import Verdict as Word
from proxy.counters import MAX_SERIES, Series
from proxy.endpoints import Endpoints, EndpointState
from proxy.errors import Denied, Reason, Refusal, no_endpoint
from proxy.forward import Exchange
from proxy.forwarding import Forwarding
from proxy.relay import Relay
from proxy.sniff import Heard
from proxy.table import Table

if TYPE_CHECKING:
    from proxy.http1.server import ServerConnection

# Methods whose bodies mean nothing (RFC 9110 §9.3.1, 9.3.2, 9.3.5): some applications do not read them, and would find
# in one the next request on the connection, which policy never saw. Such a request is the last on its connection.
_BODY_UNREAD: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS", "TRACE"})


class Inbound:
    """The router of inbound requests. ``auditor`` remembers what audit mode lets in."""

    def __init__(self, sidecar: Sidecar, table: Callable[[], Table], now: Callable[[], float]) -> None:
        self._app_address = sidecar.app_address or sidecar.listeners.address
        self._app_ports = sidecar.app_ports
        self._trust_domain = sidecar.trust_domain
        self._own_ports = own_ports(sidecar.listeners)
        self._table = table
        self._apps = Endpoints(now)
        self._app: dict[int, EndpointState] = {}
        self._series: dict[tuple[int, str, str, str], Series] = {}
        self.auditor = Auditor()
        self.heard = Heard()
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
        head, down = exchange.head, exchange.down
        exchange.ticket = self.forwarding.amplification.opened()
        refusal = barred(head, down.port, self._own_ports)
        if refusal is not None:
            exchange.series = self.forwarding.counters.series(_labels(down, None))
            raise refusal
        authorizer = self._table().authorizer
        verdict = judge(authorizer, down.caller, down.port, head)
        exchange.series = self._counted(down, verdict)
        if not authorizer.enforced:
            self.auditor.note(down.caller.identity, down.port, head, verdict)
        refusal = verdict.refusal()
        if refusal is not None:
            raise refusal
        return self._application(down.port)

    def is_opaque(self, port: int) -> bool:
        """Whether what comes for a container port is relayed unread."""
        return port in self._table().config.inbound.opaque

    def relay(self, down: ServerConnection, *, framed: bool) -> None:
        """A connection that is not HTTP: judged before the application is called (``framed``: from a peer sidecar)."""
        refusal: Refusal | None = None
        if down.port in self._own_ports:
            refusal = Denied(Reason.LOOP, f"port {down.port} is the sidecar's own")
        else:
            refusal = self._table().authorizer.decide(down.caller, down.port, None).refusal()

        def select(tried: list[EndpointState]) -> EndpointState:
            if refusal is not None:
                raise refusal
            if tried:
                raise no_endpoint("the application does not accept connections")
            return self._application(down.port)

        Relay(down, select, framed=framed)

    def _application(self, number: int) -> EndpointState:
        app = self._app.get(number)
        if app is None:
            port = self._app_ports.get(number, number)
            app = self._app[number] = self._apps.get(Endpoint(ip=self._app_address, port=port))
        return app

    def judge_upgrades(self) -> None:
        """A tunnel is one long request: where the policy that has just come into force would not let it in, it ends.

        So is a connection that is not HTTP.
        """
        authorizer = self._table().authorizer
        for down in list(self.forwarding.connections):
            exchange = down.exchange
            if isinstance(exchange, Relay):
                refusal = authorizer.decide(down.caller, down.port, None).refusal()
                if refusal is not None:
                    exchange.refuse(refusal)
            elif exchange is not None and exchange.head.upgrade:
                refusal = judge(authorizer, down.caller, down.port, exchange.head).refusal()
                if refusal is not None:
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


def _labels(down: ServerConnection, verdict: Verdict | None) -> Labels:
    """What a request is counted as; without a verdict: it was refused before policy was asked."""
    judged: Word = ""
    if verdict is not None:
        if verdict.reason is None:
            judged = "allow"
        elif not verdict.enforced:
            judged = "audit"
        elif verdict.reason is not Reason.BAD_REQUEST:  # which no policy has looked at
            judged = "deny"
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
