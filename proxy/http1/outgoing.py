"""One request on its way to an upstream: what is still to be written, and what is kept in case it is sent again. Pure.

A connection may break, an answer may be one to try again after: until more than
``REPLAY_LIMIT`` bytes of a body have come, the whole request is kept. The counterpart of ``proxy.http1.answer``.
"""

from __future__ import annotations

from proxy.http1.body import Body, body_of, encode_chunk, encode_last_chunk
from proxy.http1.head import CHUNKED, RequestHead
from proxy.retry import REPLAY_LIMIT


class Outgoing:
    """``done`` once the request is whole; then ``rest`` is what came behind it. ``size`` is of the body seen so far."""

    __slots__ = ("_body", "_head", "_kept", "_wire", "_written", "done", "size")

    def __init__(self, head: RequestHead) -> None:
        self._head = head
        self._body: Body | None = body_of(head.length) if head.length else None
        self._wire: list[bytes] = []
        self._written = 0  # pieces of it that the present upstream has had
        self._kept = True
        self.done = not head.length
        self.size = 0

    def begin(self, start: tuple[bytes, ...]) -> None:
        """The head: ``start`` are the pieces of its request line and of the headers that are not the client's."""
        head = self._head
        framing = b""
        if head.length:
            framing = head.framing
        elif head.upgrade:
            framing = b"connection: upgrade\r\nupgrade: %b\r\n" % head.upgrade
        elif head.method in ("POST", "PUT", "PATCH"):
            framing = b"content-length: 0\r\n"
        self._wire.append(b"".join((*start, *head.lines, framing, b"\r\n")))

    def feed(self, data: bytes) -> None:
        """Take in bytes of the body. Raises ``ValueError`` when its framing is broken."""
        body = self._body
        assert body is not None
        payload = body.feed(data)
        if self._head.length == CHUNKED:
            payload = encode_chunk(payload) if payload else b""
            if body.done:
                guard = self._head.guard
                payload += encode_last_chunk(guard.keep_out(body.trailers) if guard else body.trailers)
        if payload:
            self.size += len(payload)
            self._wire.append(payload)
        self.done = body.done

    @property
    def rest(self) -> bytes:
        """What came behind the body."""
        return b"" if self._body is None else self._body.rest

    @property
    def full(self) -> bool:
        """Whether no more is kept: what comes must be written or waited with."""
        return self.size > REPLAY_LIMIT

    def take(self) -> bytes:
        """What the present upstream has not had yet."""
        wire = self._wire
        if self._written == len(wire):
            return b""
        pending = wire[0] if len(wire) == 1 else b"".join(wire[self._written :])
        self._written = len(wire)
        if self.size > REPLAY_LIMIT:
            self._wire = []
            self._written = 0
            self._kept = False
        return pending

    def again(self) -> bool:
        """Begin anew with another upstream; False where the beginning is no longer there."""
        self._written = 0
        return self._kept

    def forget(self) -> None:
        """Nothing of it is needed any more."""
        self._wire = []
        self._kept = False
