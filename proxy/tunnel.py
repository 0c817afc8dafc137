"""Two connections joined: after an upgrade, or a CONNECT to another world, bytes pass as they come.

A ``Tunnel`` takes the exchange's place on both connections (``proxy.forward`` made
it), so it answers to the same calls. Each direction ends by itself where the
transports can end one alone; TLS cannot, there the end of one is the end of both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from proxy.errors import Refusal

if TYPE_CHECKING:
    from proxy.http1.client import ClientConnection
    from proxy.http1.head import RequestHead
    from proxy.http1.server import ServerConnection


class Tunnel:
    """``head`` is the request that asked for it; ``ended`` is called once, when both directions are over."""

    __slots__ = ("_down_said_all", "_ended", "_held", "_up", "_up_said_all", "down", "head")

    takes_request = True
    """All that comes from the client belongs here."""

    def __init__(
        self, head: RequestHead, down: ServerConnection, up: ClientConnection, ended: Callable[[], None]
    ) -> None:
        self.head = head
        self.down = down
        self._up = up
        self._ended: Callable[[], None] | None = ended
        self._down_said_all = False
        self._up_said_all = False
        self._held = False
        down.exchange = up.exchange = self

    @property
    def request_done(self) -> bool:
        """Whether nothing is awaited of the client: only what is left to say when the upstream has ended."""
        return not self._up_said_all

    def request_received(self, data: bytes) -> None:
        """Bytes from the client."""
        self._up.write(data)

    def response_received(self, data: bytes) -> None:
        """Bytes from the upstream."""
        self.down.transport.write(data)

    def half_closed(self) -> bool:
        """The client sends no more; whether the other direction goes on."""
        self._down_said_all = True
        transport = self._up.transport
        if self._up_said_all or not transport.can_write_eof():
            self._end()
            return False
        transport.write_eof()
        return True

    def response_ended(self) -> bool:
        """The upstream sends no more; whether the other direction goes on."""
        self._up_said_all = True
        transport = self.down.transport
        if self._down_said_all or not transport.can_write_eof():
            self._end()
            return False
        transport.write_eof()
        self.down.expect_more()
        return True

    def hold_response(self) -> None:
        """The client reads slower than the upstream sends."""
        self._held = True
        self._up.transport.pause_reading()

    def continue_response(self) -> None:
        """The client has caught up."""
        if self._held and not self._up_said_all:
            self._up.transport.resume_reading()
        self._held = False

    def upstream_lost(self, connection: ClientConnection) -> None:
        """The upstream's connection is gone."""
        self._end()

    def abandon(self) -> None:
        """The client is gone."""
        self._up.abort()
        self._end()

    def refuse(self, refusal: Refusal) -> None:
        """Nothing can be said inside a tunnel; it only ends."""
        self._end()

    def _end(self) -> None:
        """Close both: what is written still goes out."""
        ended, self._ended = self._ended, None
        if ended is None:
            return
        self._up.close()
        ended()
        self.down.exchange_done(keep=False)
