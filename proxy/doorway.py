"""Connections that the pod's kernel redirected: where were they going, and is it HTTP that is spoken on them?

What comes first decides, once: HTTP becomes a ``ServerConnection`` like any other, everything else a relay. A known
original destination decides where it goes, whatever a Host header says.
"""

from __future__ import annotations

import asyncio
import logging
import select
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from proxy.http1.server import ServerConnection
from proxy.original import authority_of, original_destination
from proxy.relay import MAX_EARLY
from proxy.sniff import Heard, Spoken, declared, spoken
from proxy.table import Missing, PortRoute

if TYPE_CHECKING:
    from proxy.inbound import Inbound
    from proxy.outbound import Outbound

FIRST_BYTES: Final = 0.1
"""Seconds to wait for a client's first bytes where nothing else tells what is spoken. A client of HTTP sends them with
the connection's last packet of the handshake; where it is the server that speaks first they never come."""

LAG: Final = 0.02
"""Seconds that our own timer may be late. Beyond it the machine has too much to do, and the client may be late, too."""

PATIENCE: Final = 10
"""Times that the wait begins anew for such a reason."""

SILENCE: Final = 10.0
"""Seconds to wait where clients have spoken HTTP before: one that has no request yet, or no time to write it, is not to
be relayed to one pod for good."""

log = logging.getLogger("proxy.doorway")


class Doorway(asyncio.Protocol):
    """A redirected connection whose kind is not known yet. Subclasses say where it leads."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self._transport: asyncio.Transport
        self._data = b""
        self._eof = False
        self._lost = False
        self._news = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of ``asyncio.Protocol``."""
        self._transport = cast("asyncio.Transport", transport)
        self.arrived(original_destination(transport.get_extra_info("socket")))

    def arrived(self, original: tuple[str, int] | None) -> None:
        """The connection was going to ``original``; None: to us."""
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        """Part of ``asyncio.Protocol``."""
        self._data += data
        if len(self._data) > MAX_EARLY:
            self._transport.pause_reading()
        self._news.set()

    def eof_received(self) -> bool:
        """Part of ``asyncio.Protocol``."""
        self._eof = True
        self._news.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of ``asyncio.Protocol``."""
        self._lost = True
        self._news.set()

    async def kind(self, declared_as: str, destination: tuple[str, int]) -> Spoken | None:
        """What is spoken; None: the client has left."""
        said = declared(declared_as)
        loop = asyncio.get_running_loop()
        wait = SILENCE if destination in self._heard else FIRST_BYTES
        deadline, patience = loop.time() + wait, PATIENCE
        while said is None and not self._lost:
            said = spoken(self._data)
            if said is None and (self._eof or loop.time() >= deadline):
                said = "raw"
            if said is not None:
                if said == "http":
                    self._heard.note(destination)
                break
            self._news.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._news.wait()
            except TimeoutError:
                if patience and (loop.time() - deadline > LAG or self._pending()):
                    deadline, patience = loop.time() + FIRST_BYTES, patience - 1
        return None if self._lost else said

    def _pending(self) -> bool:
        """Whether the kernel has something that the loop has not come to read."""
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def become(self, connection: ServerConnection, relay: Callable[[], None] | None = None) -> None:
        """From here on it is ``connection``'s, with all that came so far; ``relay`` if it is not HTTP's."""
        transport, data, self._data = self._transport, self._data, b""
        transport.set_protocol(cast("asyncio.Protocol", connection))
        connection.connection_made(transport)
        if relay is not None:
            relay()
        if len(data) > MAX_EARLY:
            transport.resume_reading()
        if data:
            connection.data_received(data)
        if self._eof and not connection.eof_received():
            transport.close()


class CallDoorway(Doorway):
    """From this pod's application to anywhere."""

    def __init__(self, calls: Outbound) -> None:
        super().__init__(calls.heard)
        self._calls = calls

    def arrived(self, original: tuple[str, int] | None) -> None:
        """Who called us by our own address uses us as an HTTP proxy."""
        if original is None:
            self.become(ServerConnection(self._calls.forwarding))
        else:
            self._calls.forwarding.spawn(self._enter(*original))

    async def _enter(self, address: str, port: int) -> None:
        if (address, port) in self._calls.forwarding.own:
            log.warning("connection to our own %s:%d closed", address, port)
            self._transport.abort()
            return
        route = await self._calls.destination(address, port)
        kind: Spoken | None = "raw"
        if isinstance(route, PortRoute):
            kind = await self.kind(route.protocol, (address, port))
        elif isinstance(route, Missing) and route.known:
            kind = await self.kind("", (address, port))
        if kind is None or self._lost:
            return
        connection = ServerConnection(self._calls.forwarding)
        connection.connect_authority = authority_of(address, port)
        raw = partial(self._calls.relay, connection, address, port, route)
        self.become(connection, raw if kind == "raw" else None)


class AppDoorway(Doorway):
    """In the clear from anywhere to this pod's application: nobody's identity is known."""

    def __init__(self, apps: Inbound) -> None:
        super().__init__(apps.heard)
        self._apps = apps

    def arrived(self, original: tuple[str, int] | None) -> None:
        """Nothing is meant for the redirecting port itself."""
        if original is None:
            self._transport.abort()
        else:
            self._apps.forwarding.spawn(self._enter(original[1]))

    async def _enter(self, port: int) -> None:
        kind = await self.kind("opaque" if self._apps.is_opaque(port) else "", ("", port))
        if kind is None:
            return
        connection = ServerConnection(self._apps.forwarding, port=port)
        raw = partial(self._apps.relay, connection, framed=False)
        self.become(connection, raw if kind == "raw" else None)
