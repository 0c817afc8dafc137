"""What the exchanges of one direction share, and what they ask of the side they are on.

``proxy.outbound`` and ``proxy.inbound`` are the routers, ``proxy.forward`` has the exchange itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from proxy.accesslog import AccessLog
from proxy.alarms import Alarms
from proxy.contract.report import Direction
from proxy.counters import Counters
from proxy.deadlines import Deadlines
from proxy.errors import Reason, Unavailable, connect_failure
from proxy.http1.client import ClientConnection, open_connection
from proxy.retry import Amplification
from proxy.transports import Transports

if TYPE_CHECKING:
    from proxy.endpoints import EndpointState
    from proxy.forward import Exchange
    from proxy.http1.server import ServerConnection
    from proxy.tls import Contexts

# The ticket of a request whose answer is never marked: it is not one to this pod's application.
NO_TICKET: Final = -1


class Router(Protocol):
    """Decides where a request goes; one per direction."""

    def select(self, exchange: Exchange) -> EndpointState | None:
        """The endpoint for the next attempt.

        ``exchange.again``: all is drawn anew; otherwise not one in ``exchange.tried``.
        None: not known yet, ``exchange.attempt()`` will be called later.
        Raises ``Refusal``.
        """

    def render(self, exchange: Exchange) -> tuple[bytes, ...]:
        """The request line and Host as they go out, and headers of our own, in pieces to be joined."""

    def given_up(self, exchange: Exchange) -> None:
        """``exchange.waiting`` has ended otherwise than by ``attempt``."""


@dataclass(slots=True, kw_only=True)
class Forwarding:
    """What all connections of one direction share. ``amplification`` is one for both directions."""

    loop: asyncio.AbstractEventLoop
    direction: Direction
    router: Router
    deadlines: Deadlines
    alarms: Alarms
    counters: Counters
    amplification: Amplification
    trust_domain: str
    contexts: Callable[[], Contexts | None]
    spawn: Callable[[Coroutine[Any, Any, None]], object]
    own: frozenset[tuple[str, int]]
    """Where this sidecar itself listens: a request sent there would come back for ever."""
    connections: set[ServerConnection] = field(default_factory=set)
    draining: bool = False
    transports: Transports
    access_log: AccessLog | None = None

    async def open(self, target: EndpointState, *, relayed: bool = False) -> ClientConnection:
        """A connection to ``target``. Raises ``Unavailable``: nothing of a request was delivered.

        ``relayed``: the other end may be the first to speak; what it says is kept until ``ClientConnection.take``.
        """
        connection = await open_connection(self, target, relayed=relayed)
        peer = connection.peer
        if peer in self.own:
            connection.abort()
            raise Unavailable(502, Reason.LOOP, f"{target.name} is this sidecar")
        if not connection.usable or not peer[0]:
            # Closed while this task waited for its turn: nobody would ever tell an exchange. A socket that was reset
            # has no peer any more, before anybody is told of it.
            connection.close()
            raise connect_failure(f"{target.name}: closed as soon as it was open")
        return connection
