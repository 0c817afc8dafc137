"""A connection that is not HTTP: bytes pass unread, to whom they were meant for and with the same identity.

A ``Relay`` stands where an exchange would on the caller's connection, and answers to the same calls. Between sidecars
the bytes are framed (``proxy.frames``), so that either side may end its direction alone, as TCP allows.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from proxy.deadlines import NEVER
from proxy.errors import Refusal
from proxy.frames import END, BadFrames, Frames, frame

if TYPE_CHECKING:
    from proxy.endpoints import EndpointState
    from proxy.http1.client import ClientConnection
    from proxy.http1.server import ServerConnection

# Bytes kept of a caller who speaks before there is anybody to speak to.
MAX_EARLY: Final = 64 * 1024

log = logging.getLogger("proxy.relay")


class Relay:
    """``select`` gives the next endpoint to try, or raises ``Refusal``; ``framed``: the caller is a peer sidecar."""

    __slots__ = (
        "_down_ended",
        "_early",
        "_early_end",
        "_frames",
        "_held",
        "_select",
        "_up",
        "_up_ended",
        "_up_frames",
        "down",
    )

    takes_request = True
    """All that comes from the client belongs here."""

    request_done = True
    """Silence is nobody's fault here."""

    def __init__(
        self, down: ServerConnection, select: Callable[[list[EndpointState]], EndpointState], *, framed: bool
    ) -> None:
        self.down = down
        self._select = select
        self._frames = Frames() if framed else None
        self._up_frames: Frames | None = None
        self._up: ClientConnection | None = None
        self._early = b""
        self._early_end = False
        self._held = False
        self._down_ended = False
        self._up_ended = False
        down.exchange = self
        down.deadline = NEVER
        keep_alive(down.transport.get_extra_info("socket"))
        down.forwarding.spawn(self._connect())

    async def _connect(self) -> None:
        tried: list[EndpointState] = []
        while True:
            try:
                target = self._select(tried)
            except Refusal as refusal:
                self._give_up(refusal)
                return
            try:
                connection = await self.down.forwarding.open(target, relayed=True)
            except Refusal as refusal:
                log.info("not connected endpoint=%s reason=%s", target.name, refusal)
                tried.append(target)
                continue
            break
        if self.down.exchange is not self:  # the caller has left meanwhile
            connection.abort()
            return
        self._join(connection)

    def _give_up(self, refusal: Refusal) -> None:
        log.info("connection closed reason=%s; %s", refusal.reason, refusal.detail)
        self.down.forwarding.counters.refused(self.down.forwarding.direction, refusal.reason)
        if self.down.exchange is self:
            self.down.break_off()

    def _join(self, connection: ClientConnection) -> None:
        self._up = connection
        keep_alive(connection.transport.get_extra_info("socket"))
        if connection.endpoint.endpoint.mesh:
            self._up_frames = Frames()
            connection.relay()
        early, self._early = self._early, b""
        if early:
            self._send_up(early)
        self.down.continue_reading()
        if self._early_end:
            self._end_up()
        connection.take(self)

    # -- from the caller -----------------------------------------------------------------------

    def request_received(self, data: bytes) -> None:
        """Bytes from the client."""
        frames = self._frames
        if frames is not None:
            try:
                data = frames.feed(data)
            except BadFrames as error:
                log.warning("peer=%s refused reason=%s", self.down.caller.identity, error)
                self._break()
                return
        if data:
            if self._up is not None:
                self._send_up(data)
            else:
                self._early += data
                if len(self._early) > MAX_EARLY:
                    self.down.hold_reading()
        if frames is not None and frames.ended and not self._down_ended:
            self._down_ended = True
            self._end_up()

    def half_closed(self) -> bool:
        """The client sends no more; whether the other direction goes on."""
        if self._frames is not None:  # TLS ends both directions, and this is no end that was announced
            self._break()
            return False
        self._down_ended = True
        self._end_up()
        return not self._up_ended

    def _send_up(self, data: bytes) -> None:
        if self._up is not None and self._up.usable:
            self._up.write(data if self._up_frames is None else frame(data))

    def _end_up(self) -> None:
        up = self._up
        if up is None:
            self._early_end = True
        elif self._up_frames is not None:
            up.write(END)
        elif up.transport.can_write_eof():
            up.transport.write_eof()
        self._end_if_over()

    # -- from the upstream -----------------------------------------------------------------------

    def response_received(self, data: bytes) -> None:
        """Bytes from the upstream."""
        frames = self._up_frames
        if frames is not None:
            try:
                data = frames.feed(data)
            except BadFrames as error:
                log.warning("peer refused reason=%s", error)
                self._break()
                return
        if data:
            self.down.transport.write(data if self._frames is None else frame(data))
        if frames is not None and frames.ended and not self._up_ended:
            self._end_down()

    def response_ended(self) -> bool:
        """The upstream sends no more; whether the other direction goes on."""
        if self._up_frames is not None:
            self._break()
            return False
        self._end_down()
        return not self._down_ended

    def _end_down(self) -> None:
        self._up_ended = True
        transport = self.down.transport
        if self._frames is not None:
            transport.write(END)
        elif transport.can_write_eof():
            transport.write_eof()
        self._end_if_over()

    def hold_response(self) -> None:
        """The client reads slower than the upstream sends."""
        self._held = True
        if self._up is not None:
            self._up.transport.pause_reading()

    def continue_response(self) -> None:
        """The client has caught up."""
        if self._held and self._up is not None and not self._up_ended:
            self._up.transport.resume_reading()
        self._held = False

    # -- ends --------------------------------------------------------------------------------------

    def upstream_lost(self, connection: ClientConnection) -> None:
        """The upstream's connection is gone: in order only if it had said all."""
        self._up = None
        if self._up_ended:
            self._close()
        else:
            self._break()

    def abandon(self) -> None:
        """The client is gone."""
        up, self._up = self._up, None
        if up is not None:
            up.abort()

    def refuse(self, refusal: Refusal) -> None:
        """Policy lets it in no more: nothing can be said, it ends."""
        self._give_up(refusal)
        self.abandon()

    def _end_if_over(self) -> None:
        if self._down_ended and self._up_ended:
            self._close()

    def _close(self) -> None:
        """Both directions are over: what is written still goes out."""
        up, self._up = self._up, None
        if up is not None:
            up.close()
        if self.down.exchange is self:
            self.down.exchange_done(keep=False)

    def _break(self) -> None:
        """The end of one that was not due is passed on as such."""
        self.abandon()
        if self.down.exchange is self:
            self.down.break_off()


def keep_alive(sock: socket.socket | None) -> None:
    """A connection that may be silent for hours: the kernel looks whether the other end is still there."""
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
