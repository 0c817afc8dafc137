"""Which ports somebody listens on, from the kernel's own table.

Readiness asks here rather than by connecting: an app that counts its
connections, logs them or serves only one must not notice that it is watched.
"""

from __future__ import annotations

import asyncio
import ipaddress
import sys
import time
from pathlib import Path

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
ANY = "0.0.0.0"
"""The wildcard; IPv6's, which takes IPv4 too, is written so as well."""

LISTEN = " 0A "
"""TCP_LISTEN in the table's state column."""

MAX_AGE = 0.05
"""Seconds that a reading serves all who ask: many pods start at once."""

Sockets = frozenset[tuple[str, int]]
"""Addresses and ports."""


def listening_sockets(table: str, byteorder: str = sys.byteorder) -> Sockets:
    """The listening sockets in the text of /proc/net/tcp or tcp6; IPv4 addresses in IPv6 form as IPv4.

    The kernel prints addresses as 32-bit words in the machine's own ``byteorder``.
    """
    found = set()
    for line in table.splitlines():
        if LISTEN in line:
            address, _, port = line.split()[1].partition(":")
            words = [bytes.fromhex(address[at : at + 8]) for at in range(0, len(address), 8)]
            found.add(
                (_shown(b"".join(words if byteorder == "big" else (word[::-1] for word in words))), int(port, 16))
            )
    return frozenset(found)


def _shown(packed: bytes) -> str:
    address = ipaddress.ip_address(packed)
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return ANY if address.is_unspecified else str(address)
    return str(address)


def is_open(sockets: Sockets, address: str, port: int) -> bool:
    """Whether a connection to an IPv4 address and port would be accepted."""
    return (address, port) in sockets or (ANY, port) in sockets


def read_sockets() -> Sockets:
    """All listening sockets now."""
    return frozenset().union(*(listening_sockets(table.read_text()) for table in TABLES if table.exists()))


class Listening:
    """The table, read at most every ``MAX_AGE`` seconds."""

    def __init__(self) -> None:
        self._sockets: Sockets = frozenset()
        self._read_at = float("-inf")
        self._turn = asyncio.Lock()

    async def is_open(self, address: str, port: int) -> bool:
        """As the function of this name, now."""
        async with self._turn:
            if time.monotonic() - self._read_at > MAX_AGE:
                self._sockets = await asyncio.to_thread(read_sockets)
                self._read_at = time.monotonic()
        return is_open(self._sockets, address, port)
