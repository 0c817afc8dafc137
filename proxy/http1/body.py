"""Bodies of HTTP/1.1 messages: where they end, and nothing else.

A ``Body`` is fed the bytes after a head and says which of them are payload and
what is left over. Strict (RFC 9112 §7.1): what two readers could see in two ways is
an error. Pure: no I/O, no clock.
"""

from __future__ import annotations

import re
from typing import Final

from proxy.http1.fields import trailer_lines
from proxy.http1.head import CHUNKED, UNTIL_CLOSE

# Bytes. Extensions carry nothing we know of; a long one only keeps a reader busy.
MAX_CHUNK_LINE: Final = 4096
# Bytes of all trailers together.
MAX_TRAILERS: Final = 16 * 1024
_CHUNK_LINE: Final = re.compile(
    rb"([0-9A-Fa-f]{1,16})(?:[ \t]*+;[ \t]*+[!#$%&'*+\-.^_`|~0-9A-Za-z]++[^\x00-\x08\x0a-\x1f\x7f]*+)?"
)


class Body:
    """The state of one body. ``feed`` returns the payload in what arrived; afterwards ``done`` and ``rest`` tell."""

    __slots__ = ("done", "rest", "trailers")

    def __init__(self) -> None:
        self.done = False
        self.rest = b""
        self.trailers: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        """Take in bytes; the payload among them. Raises ``ValueError`` when the framing is broken."""
        raise NotImplementedError

    def feed_eof(self) -> bool:
        """The other end closed; whether the body is whole."""
        return self.done


class LengthBody(Body):
    """Content-Length: that many bytes."""

    __slots__ = ("_left",)

    def __init__(self, length: int) -> None:
        super().__init__()
        self._left = length
        self.done = length == 0

    def feed(self, data: bytes) -> bytes:
        """See ``Body.feed``."""
        size = len(data)
        if size < self._left:
            self._left -= size
            return data
        self.done = True
        if size == self._left:
            self._left = 0
            return data
        payload, self.rest = data[: self._left], data[self._left :]
        self._left = 0
        return payload


class CloseBody(Body):
    """No length: everything until the connection ends (answers only)."""

    __slots__ = ()

    def feed(self, data: bytes) -> bytes:
        """See ``Body.feed``."""
        return data

    def feed_eof(self) -> bool:
        """The end is what ends it."""
        self.done = True
        return True


class ChunkedBody(Body):
    """Transfer-Encoding: chunked. Extensions are dropped, trailers kept as checked lines."""

    __slots__ = ("_buffer", "_ending", "_left", "_trailing")

    def __init__(self) -> None:
        super().__init__()
        self._buffer = b""
        self._left = 0  # bytes of the current chunk that have not come
        self._ending = False  # the CRLF after a chunk is due
        self._trailing = False

    def feed(self, data: bytes) -> bytes:
        """See ``Body.feed``."""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        pieces: list[bytes] = []
        position = 0
        size = len(data)
        while position < size and not self.done:
            if self._trailing:
                position = self._feed_trailers(data, position)
            elif self._ending:
                position = self._feed_ending(data, position)
            elif self._left:
                position = self._feed_chunk(data, position, pieces)
            else:
                position = self._feed_size(data, position)
        if self.done:
            self.rest = data[position:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _feed_chunk(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        end = min(position + self._left, len(data))
        pieces.append(data[position:end])
        self._left -= end - position
        self._ending = self._left == 0
        return end

    def _feed_ending(self, data: bytes, position: int) -> int:
        ending = data[position : position + 2]
        if ending == b"\r\n":
            self._ending = False
            return position + 2
        if ending != b"\r":
            raise ValueError("chunk longer than its size")
        self._buffer = ending
        return position + 1

    def _feed_size(self, data: bytes, position: int) -> int:
        end = data.find(b"\n", position)
        if end < 0:
            if len(data) - position > MAX_CHUNK_LINE:
                raise ValueError("chunk line too long")
            self._buffer = data[position:]
            return len(data)
        line = data[position:end]
        match = _CHUNK_LINE.fullmatch(line[:-1]) if line.endswith(b"\r") else None
        if match is None or len(line) > MAX_CHUNK_LINE:
            raise ValueError("malformed chunk size")
        length = int(match[1], 16)
        if length >> 63:
            raise ValueError("chunk size overflow")
        if length == 0:
            self._trailing = True
        else:
            self._left = length
        return end + 1

    def _feed_trailers(self, data: bytes, position: int) -> int:
        if data.startswith(b"\r\n", position):
            self.done = True
            return position + 2
        end = data.find(b"\r\n\r\n", position)
        if end < 0:
            if len(data) - position > MAX_TRAILERS:
                raise ValueError("trailers too large")
            self._buffer = data[position:]
            return len(data)
        if end - position > MAX_TRAILERS:
            raise ValueError("trailers too large")
        self.trailers = trailer_lines(data[position : end + 2])
        self.done = True
        return end + 4


def body_of(length: int) -> Body:
    """The body for a length in bytes, ``CHUNKED`` or ``UNTIL_CLOSE``."""
    if length == CHUNKED:
        return ChunkedBody()
    if length == UNTIL_CLOSE:
        return CloseBody()
    return LengthBody(length)


def encode_chunk(payload: bytes) -> bytes:
    """One chunk."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def encode_last_chunk(trailers: list[bytes]) -> bytes:
    """The end of a chunked body, with its trailers."""
    return b"0\r\n%b\r\n" % b"".join(trailers)
