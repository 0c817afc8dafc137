"""Header names that an application may take for one another, and what policy does about them. Pure.

CGI and what came after it (WSGI, PHP, Rack) turn every sign in a header's name into the same one, so to
such an application ``x_role`` and ``x-role`` are one header. A policy that looks at ``x-role``
would be passed by on the other name. ``proxy.http1.head`` drops look-alikes of what frames, routes or
identifies; ``proxy.authorize`` makes a ``Guard`` of the names that conditions look at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_SIGNS: Final = re.compile(rb"[^a-z0-9]")


def folded(name: bytes) -> bytes:
    """The form in which look-alikes are equal: lower case, every sign a dash."""
    return _SIGNS.sub(b"-", name.lower())


class Guard:
    """The header names that conditions look at, in lower case. Lines are ``name: value`` as they go out."""

    __slots__ = ("_folded", "_names")

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(name.encode() for name in names)
        self._folded = frozenset(map(folded, self._names))

    def look_alike(self, lines: Iterable[bytes]) -> str:
        """The first header among ``lines`` that could pass for one that conditions look at; empty: there is none."""
        for line in lines:
            name = line.partition(b":")[0].lower()
            if name not in self._names and folded(name) in self._folded:
                return name.decode()
        return ""

    def keep_out(self, trailers: list[bytes]) -> list[bytes]:
        """``trailers`` without those that an application which merges them would add to what policy has seen."""
        return [line for line in trailers if folded(line.partition(b":")[0]) not in self._folded]
