"""TCP connections of one direction: how many, how they ended, and the bytes on them.

The kernel counts the bytes anyway (TCP_INFO), so they are asked for when a
connection ends and when somebody reads the metrics, and cost the path of a request
nothing. They are bytes on the wire: TLS is part of them. ``src`` is the side that connected to us.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from proxy.contract.report import Direction, Tls

Peer = Literal["src", "dst"]

# struct tcp_info (linux/tcp.h): tcpi_bytes_acked and tcpi_bytes_received, since Linux 4.1 at the same place.
_BYTES = struct.Struct("QQ")
_BYTES_AT = 120
_TCP_INFO_SIZE = _BYTES_AT + _BYTES.size


class Kind(NamedTuple):
    """What tells connections apart."""

    direction: Direction
    peer: Peer
    tls: Tls


@dataclass(slots=True, kw_only=True)
class Connections:
    """Connections of one kind. ``closes`` by errno's name, empty for an end in order."""

    opened: int
    open: int
    read: int
    written: int
    closes: dict[str, int]


class Transports:
    """All connections of one direction."""

    def __init__(self, direction: Direction) -> None:
        self._direction = direction
        self._opened: Counter[Kind] = Counter()
        self._read: Counter[Kind] = Counter()
        self._written: Counter[Kind] = Counter()
        self._closes: Counter[tuple[Kind, str]] = Counter()
        self._open: set[OpenTransport] = set()

    def opened(self, peer: Peer, tls: Tls, transport: asyncio.BaseTransport) -> OpenTransport:
        """A connection stands; tell what is returned when it ends."""
        kind = Kind(self._direction, peer, tls)
        self._opened[kind] += 1
        one = OpenTransport(self, kind, transport.get_extra_info("socket"))
        self._open.add(one)
        return one

    def ended(self, one: OpenTransport, error: Exception | None) -> None:
        """What ``OpenTransport.closed`` does."""
        if one in self._open:
            self._open.discard(one)
            written, read = transferred(one.sock)
            self._read[one.kind] += read
            self._written[one.kind] += written
            self._closes[one.kind, _errno(error)] += 1

    def items(self) -> list[tuple[Kind, Connections]]:
        """How things stand."""
        read, written, standing = self._read.copy(), self._written.copy(), Counter(one.kind for one in self._open)
        for one in self._open:
            sent, received = transferred(one.sock)
            read[one.kind] += received
            written[one.kind] += sent
        return [
            (
                kind,
                Connections(
                    opened=opened,
                    open=standing[kind],
                    read=read[kind],
                    written=written[kind],
                    closes={name: count for (other, name), count in self._closes.items() if other == kind},
                ),
            )
            for kind, opened in self._opened.items()
        ]


class OpenTransport:
    """One connection. Its socket is the transport's own: it is only asked, never used."""

    __slots__ = ("_owner", "kind", "sock")

    def __init__(self, owner: Transports, kind: Kind, sock: Any) -> None:
        self._owner = owner
        self.kind = kind
        self.sock = sock

    def closed(self, error: Exception | None) -> None:
        """It has ended, ``error`` as in ``asyncio.Protocol.connection_lost``."""
        self._owner.ended(self, error)


def transferred(sock: Any) -> tuple[int, int]:
    """Bytes sent and received on a TCP socket; nothing where the kernel does not say."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
    except (OSError, AttributeError):  # closed already, or no socket at all
        return 0, 0
    if len(info) < _TCP_INFO_SIZE:
        return 0, 0
    sent, received = _BYTES.unpack_from(info, _BYTES_AT)
    return sent, received


def _errno(error: Exception | None) -> str:
    if error is None:
        return ""
    number = error.errno if isinstance(error, OSError) else None
    return errno.errorcode.get(number, "EIO") if number is not None else type(error).__name__
