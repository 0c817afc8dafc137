"""The eight bytes that open a connection between sidecars: which container port is meant.

Sent with the first request inside TLS, never in a header: an application
cannot write it, and a request cannot change it.
"""

from __future__ import annotations

import struct
from typing import Final

SIZE: Final = 8
_MAGIC: Final = b"SMI1"
_FORMAT: Final = struct.Struct("!4sHH")
# What travels behind the preface.
HTTP: Final = 1
RAW: Final = 2
"""Frames of bytes nobody reads (``proxy.frames``)."""


def encode_preface(port: int, protocol: int = HTTP) -> bytes:
    """The preface for container ``port`` (1–65535)."""
    return _FORMAT.pack(_MAGIC, protocol, port)


def decode_preface(data: bytes) -> tuple[int, int]:
    """(port, protocol) in the first ``SIZE`` bytes. Raises ``ValueError`` for anything that is no preface we know."""
    magic, protocol, port = _FORMAT.unpack_from(data)
    if magic != _MAGIC or protocol not in (HTTP, RAW) or port == 0:
        raise ValueError("not a preface of this mesh")
    return int(port), int(protocol)
