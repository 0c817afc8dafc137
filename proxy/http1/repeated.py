"""Headers that clients do repeat, and how aiohttp's parser is brought to read them. Pure.

An agent's name is added by a library and by its user, and applications take it; aiohttp's parser refuses a
head for that. Only then are the names of such headers veiled from it, by one more ``~``, and unveiled in what it gives.
What frames or routes is not among them: twice, that stays an error.
"""

from __future__ import annotations

import re
from typing import Final

_NAMES: Final = rb"(?:content-(?:location|range|type)|etag|max-forwards|server|user-agent)"
_LINE: Final = re.compile(rb"\r\n(~*" + _NAMES + rb":)", re.IGNORECASE)
_VEILED: Final = re.compile(rb"~+" + _NAMES, re.IGNORECASE)


def veil(block: bytes) -> bytes:
    """A head in which no such header has its name."""
    return _LINE.sub(rb"\r\n~\1", block)


def unveil(raw_headers: tuple[tuple[bytes, bytes], ...]) -> tuple[tuple[bytes, bytes], ...]:
    """The headers of a veiled head under their own names."""
    return tuple((name[1:] if _VEILED.fullmatch(name) else name, value) for name, value in raw_headers)
