"""Is it HTTP/1? Told by a connection's first bytes, where nothing else tells. Pure."""

from __future__ import annotations

from typing import Final, Literal

Spoken = Literal["http", "raw"]

MAX_METHOD: Final = 24
"""Characters of the longest method we take for one: the longest registered has 17 (UPDATEREDIRECTREF)."""

HTTP_WORDS: Final = frozenset({"http", "ws"})
"""``Port.protocol`` that is HTTP/1 by what its owner says."""

_LETTERS: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ-")
_HTTP2: Final = b"PRI * HTTP/2"


MAX_HEARD: Final = 1024
"""Destinations remembered; with more the memory begins anew."""


class Heard:
    """Destinations at which clients have spoken HTTP: there it is not the server that speaks first."""

    __slots__ = ("_destinations",)

    def __init__(self) -> None:
        self._destinations: set[tuple[str, int]] = set()

    def __contains__(self, destination: tuple[str, int]) -> bool:
        return destination in self._destinations

    def note(self, destination: tuple[str, int]) -> None:
        """A client has."""
        if len(self._destinations) >= MAX_HEARD:
            self._destinations.clear()
        self._destinations.add(destination)


def declared(protocol: str) -> Spoken | None:
    """What a port's own word says; None: nothing, look at the bytes."""
    if not protocol:
        return None
    return "http" if protocol in HTTP_WORDS else "raw"


def spoken(first: bytes) -> Spoken | None:
    """What a client's first bytes are; None: there are too few yet.

    HTTP/1 begins with a method and a space (RFC 9112 §3). HTTP/2's preface does, too (RFC 9113 §3.4), and is raw.
    """
    line = first.lstrip(b"\r\n")
    for at, byte in enumerate(line[: MAX_METHOD + 1]):
        if byte in _LETTERS:
            continue
        if byte != ord(" ") or at == 0:
            return "raw"
        if _HTTP2.startswith(line[: len(_HTTP2)]):
            return "raw" if len(line) >= len(_HTTP2) else None
        return "http"
    return None if len(line) <= MAX_METHOD else "raw"
