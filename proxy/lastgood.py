"""The last good config on disk, so that a restarted sidecar serves without a controller.

Written by ``proxy.subscribe`` after each acknowledged push, read once at start
by ``proxy.__main__``. A file is 4 bytes of magic, a SHA-256 of the rest, then
the MessagePack of one ``Config``.
"""

from __future__ import annotations

import logging
import os
from hashlib import sha256
from pathlib import Path

import msgspec

from proxy.contract.config import Config

FILE_NAME = "config.msgpack"
_MAGIC = b"smi1"
_DIGEST_SIZE = 32

log = logging.getLogger("proxy.lastgood")
_decoder = msgspec.msgpack.Decoder(Config)
_encoder = msgspec.msgpack.Encoder()


def store(folder: Path, config: Config) -> None:
    """Puts ``config`` where ``load`` finds it, whole or not at all. Raises OSError."""
    body = _encoder.encode(config)
    target = folder / FILE_NAME
    fresh = folder / f".{FILE_NAME}.{os.getpid()}"
    fresh.write_bytes(_MAGIC + sha256(body).digest() + body)
    fresh.replace(target)


def load(folder: Path) -> Config | None:
    """The config stored last; None if there is none or the file is damaged (which is logged)."""
    path = folder / FILE_NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("last good config not read file=%s error=%s", path, error)
        return None
    header = len(_MAGIC) + _DIGEST_SIZE
    digest, body = data[len(_MAGIC) : header], data[header:]
    if not data.startswith(_MAGIC) or sha256(body).digest() != digest:
        log.warning("last good config ignored file=%s reason=damaged", path)
        return None
    try:
        return _decoder.decode(body)
    except msgspec.MsgspecError as error:
        log.warning("last good config ignored file=%s reason=%s", path, error)
        return None
