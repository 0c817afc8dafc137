"""The sidecar's own ports and user; ports and subnets as an operator lists them in annotations and flags."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_network
from typing import Final

OUTBOUND: Final = 4140
"""Of the pod's own application: an HTTP proxy, and where its kernel redirects what it opens."""

MESH: Final = 4143
"""Of peer sidecars."""

REDIRECTED: Final = 4144
"""Where the kernel redirects what comes to the pod in the clear."""

ADMIN: Final = 4191

RESERVED: Final = frozenset({OUTBOUND, MESH, REDIRECTED, ADMIN})
"""No application can be reached on them."""

SIDECAR_UID: Final = 2102
"""The sidecar's user in a pod: what it sends is not redirected, so nothing else may run as it."""

MAX_PORT: Final = 65535


class BadRule(ValueError):
    """A port or a subnet that is none."""


def port_list(text: str) -> tuple[str, ...]:
    """``25,8000-8010`` as ``("25", "8000:8010")``. Raises ``BadRule``."""
    return tuple(_port(item.strip()) for item in text.split(",") if item.strip())


def _port(item: str) -> str:
    first, dash, last = item.partition("-")
    numbers = [first, last] if dash else [first]
    if not all(one.isascii() and one.isdigit() and 0 < int(one) <= MAX_PORT for one in numbers):
        raise BadRule(f"{item!r} is no port from 1 to {MAX_PORT}, and no range of them")
    if dash and int(first) > int(last):
        raise BadRule(f"{item!r} ends before it begins")
    return f"{int(first)}:{int(last)}" if dash else str(int(first))


def numbers(ports: Iterable[str]) -> Iterator[int]:
    """Every port in what ``port_list`` returned."""
    for item in ports:
        first, _, last = item.partition(":")
        yield from range(int(first), int(last or first) + 1)


def subnet_list(text: str) -> tuple[str, ...]:
    """``10.0.0.0/8,fd00::/8``, each in its canonical form. Raises ``BadRule``."""
    found = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        try:
            found.append(str(ip_network(item, strict=False)))
        except ValueError:
            raise BadRule(f"{item!r} is no subnet such as 10.0.0.0/8") from None
    return tuple(found)
