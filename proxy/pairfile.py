"""The sidecar's certificate and key on the pod's disk, so that a restarted sidecar needs nobody.

Two paths cannot be replaced in one step, so the key file holds the whole pair:
the private key and, below it, its certificate. It is renamed into place first;
the certificate file is a copy for others to read. A crash in between leaves a
pair that works. A certificate file that fits the key (from another issuer, say)
is used as it is.

Nothing is synced to disk: what a power cut spoils is enrolled anew.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from proxy.contract.config import TlsFiles
from proxy.tls import Pair, PairRejected, check_pair

MAX_FILE: Final = 128 * 1024
"""Bytes read of any file; a key, a certificate and the CAs above it have a few thousand."""

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----[^-]+-----END \1-----")


def read_pair(files: TlsFiles) -> Pair:
    """The pair on disk. Raises ``PairRejected`` if there is none whose parts belong together."""
    try:
        held = read_bounded(files.key)
        copy = read_bounded(files.certificate) if Path(files.certificate).exists() else b""
    except OSError as error:
        raise PairRejected(f"{error.filename}: {error.strerror}") from error
    key = _blocks(held, "PRIVATE KEY")
    reason = "there is none"
    for certificate in (_blocks(copy, "CERTIFICATE"), _blocks(held, "CERTIFICATE")):
        if certificate:
            pair = Pair(certificate=certificate, key=key)
            try:
                check_pair(pair)
            except PairRejected as error:
                reason = str(error)
            else:
                return pair
    raise PairRejected(f"no certificate on disk belongs to the key: {reason}")


def write_pair(files: TlsFiles, pair: Pair) -> None:
    """Puts ``pair`` in place of what is there. Raises ``OSError``; then the old pair still works."""
    key, certificate = Path(files.key), Path(files.certificate)
    _replace(key, pair.key.rstrip() + b"\n" + pair.certificate, 0o600)
    _replace(certificate, pair.certificate, 0o644)


def read_bounded(path: str) -> bytes:
    """The content of a file, cut at ``MAX_FILE``. Raises ``OSError``."""
    with open(path, "rb") as file:
        return file.read(MAX_FILE)


def _replace(path: Path, content: bytes, mode: int) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)  # left by a crash
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with open(descriptor, "wb") as file:
        file.write(content)
    fresh.rename(path)


def _blocks(pem: bytes, label: str) -> bytes:
    blocks = [match[0] for match in _BLOCK.finditer(pem) if match[1].decode().endswith(label)]
    return b"".join(block + b"\n" for block in blocks)
