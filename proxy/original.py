"""Where a connection was going before the kernel redirected it to us (netfilter's SO_ORIGINAL_DST)."""

from __future__ import annotations

import socket
import struct
from typing import Any, Final

SO_ORIGINAL_DST: Final = 80
"""linux/netfilter_ipv4.h; IP6T_SO_ORIGINAL_DST has the same number."""

_V4: Final = struct.Struct("!HH4s8x")
_V6: Final = struct.Struct("!HHI16sI")


def original_destination(sock: Any) -> tuple[str, int] | None:
    """(address, port), or None where the kernel redirected nothing: somebody called us by our own address."""
    version6 = sock.family == socket.AF_INET6
    level, form = (socket.IPPROTO_IPV6, _V6) if version6 else (socket.SOL_IP, _V4)
    try:
        answer = sock.getsockopt(level, SO_ORIGINAL_DST, form.size)
        return None if len(answer) < form.size else parsed(answer, sock.getsockname())
    except OSError:
        return None


def authority_of(address: str, port: int) -> bytes:
    """The authority (RFC 3986 §3.2) of an address as the kernel tells it."""
    return (f"[{address}]:{port}" if ":" in address else f"{address}:{port}").encode()


def parsed(answer: bytes, own: tuple[Any, ...]) -> tuple[str, int] | None:
    """The address in a ``sockaddr_in`` or ``sockaddr_in6``; None for ``own``, where the connection arrived."""
    if len(answer) >= _V6.size:
        _, port, _, packed, _ = _V6.unpack_from(answer)
        address = socket.inet_ntop(socket.AF_INET6, packed)
    else:
        _, port, packed = _V4.unpack_from(answer)
        address = socket.inet_ntop(socket.AF_INET, packed)
    return None if (address, port) == tuple(own[:2]) else (address, port)
