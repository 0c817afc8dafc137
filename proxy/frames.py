"""Bytes that are not HTTP, between two sidecars: in frames, since TLS cannot end one direction alone. Pure.

After the preface each direction is a row of frames: four bytes of length, then so many bytes. A length of 0 is the
end of that direction (what a FIN is to TCP); nothing follows it.
"""

from __future__ import annotations

import struct
from typing import Final

MAX_FRAME: Final = 1 << 20
"""Bytes of one frame: bounds what a peer can make us keep. We send no more than a read gives us (256 KiB)."""

_LENGTH: Final = struct.Struct("!I")

END: Final = _LENGTH.pack(0)


class BadFrames(Exception):
    """The peer erred."""


def frame(data: bytes) -> bytes:
    """The frame of ``data``, which is not empty."""
    return _LENGTH.pack(len(data)) + data


class Frames:
    """One direction's bytes put together again. ``ended`` as soon as the end has come."""

    def __init__(self) -> None:
        self.ended = False
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """What is whole of it by now. Raises ``BadFrames``."""
        if self.ended and data:
            raise BadFrames("bytes behind the end")
        rest = self._rest + data if self._rest else data
        whole: list[bytes] = []
        while len(rest) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(rest)
            if length > MAX_FRAME:
                raise BadFrames(f"a frame of {length} bytes")
            if length == 0:
                self.ended = True
                if len(rest) > _LENGTH.size:
                    raise BadFrames("bytes behind the end")
                rest = b""
                break
            if len(rest) < _LENGTH.size + length:
                break
            whole.append(rest[_LENGTH.size : _LENGTH.size + length])
            rest = rest[_LENGTH.size + length :]
        self._rest = rest
        return b"".join(whole)
