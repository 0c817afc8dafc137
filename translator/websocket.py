"""The frames of a WebSocket as its server reads and writes them (RFC 6455). Pure.

``aiohttp`` shakes hands; what a control stream says after that is little and goes to thousands, so it is framed here,
without the objects that a library keeps of each connection. No extensions are agreed upon. For ``translator.stream``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
TOO_BIG: Final = 1009
"""Close codes (RFC 6455 §7.4.1)."""

_FIN: Final = 0x80
_MASKED: Final = 0x80
_SHORT: Final = 125
_MASK_BYTES: Final = 4


class BadFrame(Exception):
    """What a client must not send; ``code`` is what to close with."""

    def __init__(self, reason: str, code: int = PROTOCOL_ERROR) -> None:
        super().__init__(reason)
        self.code = code


class Message(NamedTuple):
    """One whole message, or a control frame."""

    opcode: int
    payload: bytes


def frame(opcode: int, payload: bytes) -> bytes:
    """A whole message from the server, which masks nothing (§5.1)."""
    size = len(payload)
    if size <= _SHORT:
        return bytes((_FIN | opcode, size)) + payload
    if size < 1 << 16:
        return bytes((_FIN | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((_FIN | opcode, 127)) + size.to_bytes(8, "big") + payload


def closing(code: int, reason: str = "") -> bytes:
    """A close frame."""
    return frame(CLOSE, code.to_bytes(2, "big") + reason.encode()[: _SHORT - 2])


class Incoming:
    """Bytes of one client to messages of at most ``most`` bytes. After ``BadFrame`` nothing more may be read."""

    __slots__ = ("_fragments", "_most", "_opcode", "_rest")

    def __init__(self, most: int) -> None:
        self._most = most
        self._rest: bytearray | None = None
        """The beginning of a frame."""
        self._fragments: bytearray | None = None
        self._opcode = CONTINUATION

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are whole now. Raises ``BadFrame``; those before it are lost, for the stream ends."""
        whole: bytes | bytearray = data
        if self._rest is not None:
            self._rest += data
            whole = self._rest
        found: list[Message] = []
        begin = 0
        while (read := self._frame(whole, begin)) is not None:
            message, begin = read
            if message is not None:
                found.append(message)
        if begin == len(whole):
            self._rest = None
        elif begin or self._rest is None:
            self._rest = bytearray(whole[begin:])
        return found

    def _frame(self, data: bytes | bytearray, begin: int) -> tuple[Message | None, int] | None:
        """One frame (§5.2), what it makes whole, and where the next one begins; None as long as it is not all there."""
        if len(data) - begin < 2:
            return None
        first, second = data[begin], data[begin + 1]
        size, at = second & 0x7F, begin + 2
        self._check(first, second)
        if size > _SHORT:
            bytes_ = 2 if size == 126 else 8
            if len(data) < at + bytes_:
                return None
            size, at = int.from_bytes(data[at : at + bytes_], "big"), at + bytes_
        held = len(self._fragments) if self._fragments is not None and first & 0x0F == CONTINUATION else 0
        if size + held > self._most:
            raise BadFrame(f"a message of more than {self._most} bytes", TOO_BIG)
        end = at + _MASK_BYTES + size
        if len(data) < end:
            return None
        payload = _unmasked(data[at : at + _MASK_BYTES], data[at + _MASK_BYTES : end])
        return self._message(first & 0x0F, bool(first & _FIN), payload), end

    def _check(self, first: int, second: int) -> None:
        opcode = first & 0x0F
        if first & 0x70:
            raise BadFrame("a reserved bit is set")
        if not second & _MASKED:
            raise BadFrame("a client's frame is not masked")
        if opcode in (CLOSE, PING, PONG):
            if not first & _FIN or second & 0x7F > _SHORT:
                raise BadFrame("a control frame is long or in pieces")
        elif opcode not in (CONTINUATION, TEXT, BINARY):
            raise BadFrame(f"opcode {opcode} means nothing")
        elif (opcode == CONTINUATION) != (self._fragments is not None):
            raise BadFrame("a message begins inside another, or goes on that never began")

    def _message(self, opcode: int, last: bool, payload: bytes) -> Message | None:
        if opcode >= CLOSE or (last and self._fragments is None):
            return Message(opcode, payload)
        if self._fragments is None:
            self._opcode, self._fragments = opcode, bytearray(payload)
            return None
        self._fragments += payload
        if not last:
            return None
        whole, self._fragments = bytes(self._fragments), None
        return Message(self._opcode, whole)


def _unmasked(mask: bytes | bytearray, payload: bytes | bytearray) -> bytes:
    """§5.3."""
    size = len(payload)
    if not any(mask):
        return bytes(payload)
    repeated = bytes(mask) * (size // _MASK_BYTES + 1)
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated[:size], "big")).to_bytes(size, "big")
