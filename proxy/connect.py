"""CONNECT on the outbound listener: what a client means by it, and what comes of it.

To a name of the mesh it is only another way to say where requests go: the
answer is 200, and the bytes inside are HTTP/1.1 requests like any other,
routed by the name in CONNECT. To another world, where egress allows it, it is a tunnel.
"""

from __future__ import annotations

import random
from time import monotonic
from typing import TYPE_CHECKING, Final

from proxy.attempt import Attempt
from proxy.forward import Exchange
from proxy.tunnel import Tunnel

if TYPE_CHECKING:
    from proxy.endpoints import EndpointState
    from proxy.http1.client import ClientConnection

_ESTABLISHED: Final = b"HTTP/1.1 200 OK\r\n\r\n"


class Connect(Exchange):
    """The exchange of one CONNECT."""

    __slots__ = ()

    def start(self, first: bytes) -> None:
        """Begin; there is no body, and nothing of the request itself is sent on."""
        self._began = monotonic()
        self.attempt()

    def enter(self) -> None:
        """It names a Service or a pod: requests to it follow on this connection."""
        self.down.enter(self.head.authority)
        self.down.transport.write(_ESTABLISHED)
        self._end(200)
        self.down.exchange_done(keep=True)

    def _send_to(self, target: EndpointState, now: float) -> None:
        """A pooled connection speaks HTTP already; a tunnel needs its own."""
        self._attempt = Attempt(target, self.breaker, now, random.random)
        self.down.forwarding.spawn(self._connect(target, self._attempt, relayed=True))

    def _attach(self, connection: ClientConnection, now: float) -> None:
        down = self.down
        down.transport.write(_ESTABLISHED)
        tunnel = Tunnel(self.head, down, connection, lambda: self._end(200))
        down.hand_over(tunnel)
        connection.take(tunnel)
