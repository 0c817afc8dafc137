"""DER, read strictly: as much of X.690 as certificates are written in, and not one encoding more than it allows.

Every value has exactly one encoding in DER, so whatever could be read in two ways is refused. Nothing here knows what
is read; ``proxy.contract.certificate`` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
OBJECT_IDENTIFIER: Final = 0x06
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30
SET: Final = 0x31

# Parts of 7 bits, of which only the last has no bit 8 set; none begins with a zero that says nothing (X.690 8.19.2).
_OBJECT_IDENTIFIER = re.compile(rb"(?:(?!\x80)[\x80-\xff]*[\x00-\x7f])+", re.DOTALL)

_MOST_DOTTED: Final = 512


class Malformed(ValueError):
    """The bytes are no DER, or not of what they should be."""


class Reader:
    """Elements one after the other. Each is a tag of one byte, the length and the content (X.690 8.1)."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def tag(self) -> int:
        """Of the element that comes next; -1 at the end."""
        return self._data[self._at] if self._at < len(self._data) else -1

    def read(self, tag: int) -> bytes:
        """The content of the next element, which must be one of ``tag``. Raises ``Malformed``."""
        if self.tag != tag:
            raise Malformed(f"tag {self.tag} instead of {tag}")
        return self.read_any()[1]

    def read_optional(self, tag: int) -> bytes | None:
        """The same, None where another element or none comes next."""
        return self.read(tag) if self.tag == tag else None

    def read_any(self) -> tuple[int, bytes]:
        """Tag and content of the next element, whatever it is. Raises ``Malformed``."""
        data, at = self._data, self._at
        try:
            tag, length = data[at], data[at + 1]
            at += 2
            if length > 0x82 or length == 0x80 or tag & 0x1F == 0x1F:
                raise Malformed("a length of 64 KiB or more, or left open, or a tag of several bytes")
            if length > 0x80:
                size, at = length - 0x80, at + length - 0x80
                length = int.from_bytes(data[at - size : at])
                if length < (0x80 if size == 1 else 0x100):
                    raise Malformed("a length in more bytes than it needs")
        except IndexError:
            raise Malformed("cut short") from None
        self._at = end = at + length
        if end > len(data):
            raise Malformed("cut short")
        return tag, data[at:end]

    def end(self) -> None:
        """Raises ``Malformed`` where anything is left."""
        if self._at != len(self._data):
            raise Malformed("more than there should be")


def only(tag: int, data: bytes) -> bytes:
    """The content of the one element that ``data`` is. Raises ``Malformed``."""
    reader = Reader(data)
    content = reader.read(tag)
    reader.end()
    return content


def each(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of one element after the other, at least one. Raises ``Malformed``."""
    reader = Reader(data)
    yield reader.read_any()
    while reader.tag >= 0:
        yield reader.read_any()


def is_true(content: bytes) -> bool:
    """A BOOLEAN (X.690 11.1). Raises ``Malformed``."""
    if content not in (b"\x00", b"\xff"):
        raise Malformed("a BOOLEAN that is neither true nor false")
    return content == b"\xff"


def integer(content: bytes) -> bytes:
    """``content`` if it is an INTEGER's (X.690 8.3.2). Raises ``Malformed``."""
    if not content or (len(content) > 1 and (content[0], content[1] >> 7) in ((0, 0), (0xFF, 1))):
        raise Malformed("an INTEGER in no or in more bytes than it needs")
    return content


def object_identifier(content: bytes) -> bytes:
    """``content`` if it is an OBJECT IDENTIFIER's (X.690 8.19). Raises ``Malformed``."""
    if not _OBJECT_IDENTIFIER.fullmatch(content):
        raise Malformed("an OBJECT IDENTIFIER that is none")
    return content


def bits(content: bytes) -> tuple[bytes, int]:
    """A BIT STRING's bytes, and how many bits at their end are none of it (X.690 8.6, 11.2). Raises ``Malformed``."""
    if not content or content[0] > 7 or (len(content) == 1 and content[0]):
        raise Malformed("a BIT STRING that is none")
    if content[-1] & ((1 << content[0]) - 1) and len(content) > 1:
        raise Malformed("bits beyond a BIT STRING's end")
    return content[1:], content[0]


def dotted(identifier: bytes) -> str:
    """An OBJECT IDENTIFIER as people write it; a long one, which no people write, in hexadecimal."""
    if len(identifier) > _MOST_DOTTED:
        return f"0x{identifier[:32].hex()}…"
    arcs, arc = [], 0
    for byte in identifier:
        arc = arc << 7 | byte & 0x7F
        if byte < 0x80:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))
