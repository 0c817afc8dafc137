"""One unary call over HTTP/2 in the clear, as bytes: what a client sends, and what it makes of what comes back. Pure.

One stream, one short message each way: no window is ever used up, nothing sent is compressed. Only to read a server's
headers takes HPACK with its Huffman code, which is ``hpack``'s; whoever imports this module pays for that (0.7 MB).
Sources: RFC 9113, RFC 7541, gRPC's PROTOCOL-HTTP2.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import hpack

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
NO_PUSH: Final = b"\x00\x02\x00\x00\x00\x00"
"""The one setting that is not at its default: ENABLE_PUSH is 0."""

STREAM: Final = 1
FRAME: Final = 16_384
"""Bytes of a frame's payload, either way: the default that nobody has asked to change."""

MAX_ANSWER: Final = 60_000
"""Bytes read of one answer, frames and all. Below the first window (65,535), so none has to be opened further."""

MAX_FIELDS: Final = 16_384
"""Bytes of one list of headers, unpacked, as HTTP/2 counts them (32 more for each field)."""

END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 1, 1, 4, 8, 32

Fields = tuple[tuple[str, str], ...]


class Kind(IntEnum):
    """The kinds of frames that mean something to one call."""

    DATA = 0
    HEADERS = 1
    RESET = 3
    SETTINGS = 4
    PUSH = 5
    PING = 6
    GOAWAY = 7
    CONTINUATION = 9


class Broken(Exception):
    """The server does not answer the call, or not in HTTP/2. The text says what it did."""


@dataclass(slots=True)
class Answer:
    """``headers`` and ``trailers`` as sent, names in lower case; an answer of one block has it as both."""

    headers: Fields = ()
    trailers: Fields = ()
    body: bytes = b""
    ended: bool = False


class Call:
    """The client's end. Write ``opening``, then what ``receive`` returns, until ``answer.ended``."""

    def __init__(self) -> None:
        self.answer = Answer()
        self._decoder = hpack.Decoder(max_header_list_size=MAX_FIELDS)
        self._pending = b""
        self._size = 0
        self._greeted = False
        # The headers that are coming in, if any are, and whether the stream ends with them.
        self._block: bytes | None = None
        self._last = False

    def receive(self, data: bytes) -> bytes:
        """Takes what the server sent, at any boundaries; returns what to answer it. Raises ``Broken``."""
        self._size += len(data)
        if self._size > MAX_ANSWER:
            raise Broken(f"it answers more than {MAX_ANSWER} bytes")
        pending, reply = self._pending + data, b""
        while len(pending) >= 9 and not self.answer.ended:
            length, kind, flags = int.from_bytes(pending[:3], "big"), pending[3], pending[4]
            stream = int.from_bytes(pending[5:9], "big") & 0x7FFFFFFF
            if not self._greeted and (kind != Kind.SETTINGS or flags & ACK):
                raise Broken("it does not speak HTTP/2 in the clear")
            if length > FRAME:
                raise Broken(f"it sends a frame of {length} bytes")
            if len(pending) < 9 + length:
                break
            self._greeted = True
            reply += self._take(kind, flags, stream, pending[9 : 9 + length])
            pending = pending[9 + length :]
        self._pending = pending
        return reply

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        """One frame; returns the answer to it."""
        if (self._block is not None) != (kind == Kind.CONTINUATION):
            raise Broken("it mixes up its headers")
        if kind in (Kind.DATA, Kind.HEADERS, Kind.CONTINUATION, Kind.RESET) and stream != STREAM:
            raise Broken(f"it answers on stream {stream}, which is not open")
        match kind:
            case Kind.DATA:
                self._data(flags, _unpadded(flags, payload))
            case Kind.HEADERS | Kind.CONTINUATION:
                self._headers(kind, flags, payload)
            case Kind.RESET:
                raise Broken(f"it resets the call, error {_code(payload)}")
            case Kind.SETTINGS if not flags & ACK:
                return frame(Kind.SETTINGS, ACK, 0, b"")
            case Kind.PUSH:
                raise Broken("it pushes")
            case Kind.PING if not flags & ACK:
                return frame(Kind.PING, ACK, 0, payload[:8])
            case Kind.GOAWAY if _code(payload[4:]) or _code(payload) < STREAM:
                # With no error and a later stream it is a farewell: the call is still answered.
                raise Broken(f"it ends the connection, error {_code(payload[4:])}")
            case _:
                pass  # PRIORITY, WINDOW_UPDATE, acknowledgements, and what nobody knows: without meaning for one call
        return b""

    def _data(self, flags: int, payload: bytes) -> None:
        if not self.answer.headers:
            raise Broken("it sends a body without headers")
        self.answer.body += payload
        self.answer.ended = bool(flags & END_STREAM)

    def _headers(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == Kind.HEADERS:
            self._last = bool(flags & END_STREAM)
            payload = _unpadded(flags, payload)
            payload = payload[5:] if flags & PRIORITY else payload
        self._block = (self._block or b"") + payload
        if not flags & END_HEADERS:
            return
        fields, self._block = self._unpacked(self._block), None
        if self._last:
            self.answer.headers = self.answer.headers or fields
            self.answer.trailers = fields
            self.answer.ended = True
        elif self.answer.headers:
            raise Broken("it sends headers in the middle of a body")
        elif not dict(fields).get(":status", "").startswith("1"):
            self.answer.headers = fields

    def _unpacked(self, block: bytes) -> Fields:
        try:
            return tuple((_text(name).lower(), _text(value)) for name, value in self._decoder.decode(block, raw=True))
        except hpack.HPACKError as error:
            raise Broken(f"its headers are unreadable: {str(error) or type(error).__name__}") from error


def opening(headers: Iterable[tuple[str, str]], message: bytes) -> bytes:
    """All that the client has to say: preface, settings, the call's headers, its message.

    Raises ``ValueError`` where one of them is longer than a frame.
    """
    block = b"".join(b"\x00" + _string(name) + _string(value) for name, value in headers)
    return b"".join(
        (
            PREFACE,
            frame(Kind.SETTINGS, 0, 0, NO_PUSH),
            frame(Kind.HEADERS, END_HEADERS, STREAM, block),
            frame(Kind.DATA, END_STREAM, STREAM, message),
        )
    )


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame. Raises ``ValueError`` where it is longer than anybody has to take."""
    if len(payload) > FRAME:
        raise ValueError(f"{len(payload)} bytes do not fit into a frame")
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _string(text: str) -> bytes:
    """A string literal of HPACK, without Huffman code: its length in a 7-bit prefix, then its bytes."""
    octets = text.encode("utf-8", "surrogateescape")
    length = len(octets)
    if length < 0x7F:
        return bytes((length,)) + octets
    prefix, length = b"\x7f", length - 0x7F
    while length > 0x7F:
        prefix += bytes((length & 0x7F | 0x80,))
        length >>= 7
    return prefix + bytes((length,)) + octets


def _text(octets: str | bytes) -> str:
    return octets if isinstance(octets, str) else octets.decode("latin-1")


def _unpadded(flags: int, payload: bytes) -> bytes:
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise Broken("it pads more than it sends")
    return payload[1 : len(payload) - payload[0]]


def _code(payload: bytes) -> int:
    """The first 32 bits, the reserved one left out."""
    return int.from_bytes(payload[:4], "big") & 0x7FFFFFFF
