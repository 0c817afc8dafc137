"""Connections from downstreams: an application's (outbound) or a caller's (inbound).

A connection cuts its bytes into requests, one exchange at a time; further
pipelined bytes wait, bounded. What happens to a request is decided by the
side's router (``proxy.outbound``, ``proxy.inbound``) through its ``Exchange``.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from typing import TYPE_CHECKING, Final

from proxy.authorize import NOBODY, Caller
from proxy.connect import Connect
from proxy.deadlines import NEVER
from proxy.errors import BadRequest, Reason, Refusal
from proxy.forward import Exchange
from proxy.http1.head import MAX_HEAD, MAX_TARGET, parse_request
from proxy.retry import MARK, SPENT

if TYPE_CHECKING:
    from proxy.contract.report import Tls
    from proxy.forwarding import Forwarding
    from proxy.relay import Relay
    from proxy.transports import OpenTransport
    from proxy.tunnel import Tunnel

log = logging.getLogger("proxy.server")

# SO_LINGER on, zero seconds: what is not sent is dropped and the connection reset.
_RESET: Final = struct.pack("ii", 1, 0)
# The first byte of a TLS connection (RFC 8446 §5.1: handshake).
TLS_HANDSHAKE: Final = 0x16
# Seconds for a request head to be complete, from the connection's start or the head's first byte.
HEAD_TIMEOUT: Final = 10.0
# Seconds a kept-alive connection may lie idle: longer than any client of ours keeps it, so that
# it is the client that closes and no request meets a closing connection.
IDLE_TIMEOUT: Final = 600.0
# Seconds of silence in the middle of a request's body, and how far it may fall behind ``MIN_BODY_RATE``.
BODY_TIMEOUT: Final = 60.0
# Bytes a second that a body must come with in the long run, so that dribbling ends (Kestrel's default).
MIN_BODY_RATE: Final = 240.0
# Seconds to take in what a client still sends after an answer that ends the connection, so that
# the answer is not lost to a reset.
LINGER: Final = 2.0
# Seconds in which a client that reads slowly must have taken some of what is left of a last answer.
FLUSH_TIMEOUT: Final = 60.0
# Bytes of pipelined requests kept while one is served.
MAX_PIPELINED: Final = 64 * 1024


class ServerConnection:
    """One downstream connection. ``caller`` and ``port`` are set for inbound ones.

    An ``asyncio.Protocol`` by its methods alone: a compiled class has no base that is not compiled.
    """

    __slots__ = (
        "_advancing",
        "_blocked",
        "_buffer",
        "_counted",
        "_eof",
        "_held",
        "_served",
        "_starving",
        "_trusted",
        "_unflushed",
        "caller",
        "connect_authority",
        "deadline",
        "exchange",
        "forwarding",
        "lingering",
        "port",
        "transport",
    )

    def __init__(
        self, forwarding: Forwarding, *, caller: Caller = NOBODY, port: int = 0, trusted: bool = False
    ) -> None:
        self.forwarding = forwarding
        self.caller = caller
        self.port = port
        self._trusted = trusted
        self.connect_authority = b""
        self.exchange: Exchange | Tunnel | Relay | None = None
        self.transport: asyncio.Transport
        self.deadline = NEVER
        self.lingering = False
        self._counted: OpenTransport | None = None
        self._buffer = b""
        self._advancing = False
        self._eof = False
        self._served = False
        self._held = False
        self._starving = False
        self._blocked = False
        self._unflushed = 0

    # -- asyncio.Protocol ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of ``asyncio.Protocol``."""
        self.transport = transport  # type: ignore[assignment]
        self.deadline = self.forwarding.loop.time() + HEAD_TIMEOUT
        tls: Tls = "true" if self.caller.identity else "no_identity"
        self._counted = self.forwarding.transports.opened("src", tls, transport)
        self.forwarding.connections.add(self)
        self.forwarding.deadlines.add(self)

    def data_received(self, data: bytes) -> None:
        """Part of ``asyncio.Protocol``."""
        exchange = self.exchange
        if exchange is None:
            if self.lingering:
                return
            self._buffer = self._buffer + data if self._buffer else data
            self.advance()
        elif exchange.takes_request:
            if self.deadline != NEVER:
                won = self.deadline + len(data) / MIN_BODY_RATE
                self.deadline = min(self.forwarding.loop.time() + BODY_TIMEOUT, won)
            exchange.request_received(data)
        else:
            self._buffer += data
            if len(self._buffer) > MAX_PIPELINED:
                self._starve()

    def eof_received(self) -> bool:
        """Part of ``asyncio.Protocol``: a half-closed client still gets its answer in full."""
        self._eof = True
        exchange = self.exchange
        if exchange is None or not exchange.half_closed():
            return False
        return self.transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of ``asyncio.Protocol``."""
        if self._counted is not None:
            self._counted.closed(exc)
        self.forwarding.connections.discard(self)
        self.forwarding.deadlines.discard(self)
        self._buffer = b""
        self.lingering = True
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.abandon()

    def pause_writing(self) -> None:
        """Part of ``asyncio.Protocol``: the client reads slower than the upstream sends."""
        self._blocked = True
        if self.exchange is not None:
            self.exchange.hold_response()

    def resume_writing(self) -> None:
        """Part of ``asyncio.Protocol``."""
        self._blocked = False
        if self.exchange is not None:
            self.exchange.continue_response()
        elif not self.lingering:
            self._feed()
            self.advance()

    # -- flow control of the request, by the exchange ----------------------------------------

    def hold_reading(self) -> None:
        """Take no more of the request for now; silence is not the client's fault meanwhile."""
        if not self._held:
            self._held = True
            self.deadline = NEVER
            self.transport.pause_reading()

    def continue_reading(self) -> None:
        """Take the request again."""
        if self._held:
            self._held = False
            if self._eof:
                return  # asking for more after the end would end the connection
            if self.exchange is not None and not self.exchange.request_done:
                self.expect_more()
            self.transport.resume_reading()

    def expect_more(self) -> None:
        """The client is to send on, and not too slowly."""
        self.deadline = self.forwarding.loop.time() + BODY_TIMEOUT

    def _starve(self) -> None:
        self._starving = True
        self.transport.pause_reading()

    def _feed(self) -> None:
        if self._starving:
            self._starving = False
            if not self._eof:
                self.transport.resume_reading()

    # -- requests ------------------------------------------------------------------------------

    def advance(self) -> None:
        """Start the requests that have arrived, one after the other."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._buffer and self.exchange is None and not (self.lingering or self._blocked):
                if not self._start_request():
                    break
        except Refusal as refusal:
            self._refuse(refusal)
        finally:
            self._advancing = False
        self._end_if_last()

    def _start_request(self) -> bool:
        data = self._buffer
        end = data.find(b"\r\n\r\n")
        if end == 0 or data.startswith(b"\r\n"):
            # RFC 9112 §2.2: an empty line or two before a request is forgiven.
            self._buffer = data.lstrip(b"\r\n")
            if len(data) - len(self._buffer) > 8:
                raise BadRequest("empty lines instead of a request")
            return bool(self._buffer)
        if end < 0:
            if data[0] == TLS_HANDSHAKE:
                return self._refuse_tls()
            _check_partial(data)
            if not self._served or self.deadline - self.forwarding.loop.time() > HEAD_TIMEOUT:
                self._served = True
                self.deadline = self.forwarding.loop.time() + HEAD_TIMEOUT
            return False
        if end > MAX_HEAD:
            _check_partial(data[:end])
        head = parse_request(data[: end + 4], trusted=self._trusted)
        self._served = True
        exchange = Exchange(self, head) if head.method != "CONNECT" else Connect(self, head)
        self.exchange = exchange
        rest = data[end + 4 :]
        if head.length:
            self._buffer = b""
            self.expect_more()
            exchange.start(rest)
        else:
            self._buffer = rest
            self.deadline = NEVER
            exchange.start(b"")
        return True

    def _refuse_tls(self) -> bool:
        """TLS where HTTP is due: inside CONNECT an answer in the clear would only confuse it."""
        if not self.connect_authority:
            raise BadRequest("TLS where HTTP/1.1 is expected")
        log.info("TLS inside CONNECT authority=%s", self.connect_authority.decode("latin-1"))
        self.finish()
        return False

    def request_complete(self, rest: bytes) -> None:
        """The exchange has the whole request; ``rest`` came behind it."""
        self._buffer = rest + self._buffer
        self.deadline = NEVER

    def exchange_done(self, *, keep: bool) -> None:
        """The answer is written whole. Go on, or end the connection."""
        self.exchange = None
        if self._held:
            self.continue_reading()
        if not keep:
            self.finish()
            return
        self.deadline = self.forwarding.loop.time() + IDLE_TIMEOUT
        if self._blocked:
            # The client has not read this answer; nothing more is taken from it until it has.
            self._starve()
            return
        if self._starving:
            self._feed()
        if self._buffer:
            self.advance()
        elif self._eof or self.forwarding.draining:
            self._end_if_last()

    def _end_if_last(self) -> None:
        """End the connection when no request is under way and none will come, or should."""
        if self.exchange is not None or self._advancing or self._blocked:
            return
        if self._eof or (self.forwarding.draining and self._served and not self._buffer):
            self.finish()

    def break_off(self) -> None:
        """End in the middle of an answer: by a reset, since an old client takes a clean end for the answer's own."""
        self.exchange = None
        self.lingering = True
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def finish(self) -> None:
        """End the connection without losing what was written: stop sending, take in the rest for a moment."""
        if self.lingering:
            return
        self.lingering = True
        self._buffer = b""
        self._feed()
        self.deadline = self.forwarding.loop.time() + LINGER
        if self.transport.is_closing():
            return
        if self.transport.can_write_eof() and not self._eof:
            self.transport.write_eof()
        else:
            self.transport.close()

    def expired(self) -> None:
        """The deadline has passed."""
        if self.lingering:
            self._expired_at_last()
        elif self.exchange is not None:
            self.exchange.refuse(BadRequest("the request's body stopped coming", 408, Reason.TIMEOUT))
        elif self._buffer:
            self._refuse(BadRequest("the request's head stopped coming", 408, Reason.TIMEOUT))
        else:
            self.finish()

    def _expired_at_last(self) -> None:
        """The answer is written; a client that still takes it in may go on."""
        unflushed = self.transport.get_write_buffer_size()
        if unflushed in (0, self._unflushed):
            self.transport.abort()
        else:
            self._unflushed = unflushed
            self.deadline = self.forwarding.loop.time() + FLUSH_TIMEOUT

    def drain(self) -> None:
        """The sidecar ends: close when idle; otherwise the answer under way says ``Connection: close``.

        On a connection just opened the first request is on its way: nobody would send it again elsewhere.
        """
        if self.exchange is None and self._served and not self.lingering and not self._buffer:
            self.finish()

    def answer(self, refusal: Refusal, *, head_only: bool, keep: bool, marked: bool = False) -> None:
        """End the exchange with an answer of the sidecar's own; ``marked``: it is not to be retried."""
        self.forwarding.counters.refused(self.forwarding.direction, refusal.reason)
        mark = b"%b: %b\r\n" % (MARK, SPENT) if marked else b""
        self.transport.write(refusal_response(refusal, mark, head_only=head_only, keep=keep))
        self.exchange_done(keep=keep)

    def enter(self, authority: bytes) -> None:
        """What follows are requests to ``authority``, whatever CONNECT itself said of the connection's end."""
        self.connect_authority = authority
        self._trusted = False

    def hand_over(self, tunnel: Tunnel) -> None:
        """What came behind the request belongs to the tunnel that follows."""
        early, self._buffer = self._buffer, b""
        self._feed()
        if early:
            tunnel.request_received(early)
        if self._eof:
            tunnel.half_closed()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer bytes that are no request."""
        self.answer(refusal, head_only=False, keep=False)


def _check_partial(data: bytes) -> None:
    """Refuse early what can never become a request."""
    line_end = data.find(b"\n")
    if (line_end < 0 and len(data) > MAX_TARGET + 64) or line_end > MAX_TARGET + 64:
        raise BadRequest("request line too long", 414, Reason.TOO_LARGE)
    if len(data) > MAX_HEAD:
        raise BadRequest("header fields too large", 431, Reason.TOO_LARGE)
    if data.count(b"\n") != data.count(b"\r\n"):
        raise BadRequest("bare line feed")


_STATUS_TEXT: Final[dict[int, bytes]] = {
    400: b"Bad Request",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    414: b"URI Too Long",
    417: b"Expectation Failed",
    431: b"Request Header Fields Too Large",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
}


def refusal_response(refusal: Refusal, extra: bytes = b"", *, head_only: bool, keep: bool) -> bytes:
    """The bytes of an answer of the sidecar's own; ``extra`` are header lines."""
    detail = refusal.detail.encode("ascii", "replace").replace(b"\r", b" ").replace(b"\n", b" ")
    reason = b"%b; %b" % (refusal.reason.encode(), detail)
    body = reason + b"\n"
    return b"".join(
        (
            b"HTTP/1.1 %d %b\r\n" % (refusal.status, _STATUS_TEXT.get(refusal.status, b"Error")),
            b"smi-mesh-reason: %b\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n" % (reason, len(body)),
            extra,
            b"\r\n" if keep else b"connection: close\r\n\r\n",
            b"" if head_only else body,
        )
    )
