"""Local mode's token: what a pod's sidecar proves itself with when it asks for its first certificate.

The supervisor mints one per pod with the mesh's ``token.key`` and puts it
beside the sidecar, readable by nobody else. On Kubernetes a projected
ServiceAccount token takes its place.

Form: ``base64url(json {"ns", "sa", "pod"}) "." base64url(HMAC-SHA256(key, first part))``,
both without padding. It does not expire: it lives and dies with the mesh's key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path
from typing import Final

from translator.identity.subject import SidecarIdentity

MAX_TOKEN: Final = 1024
"""Characters: the longest names Kubernetes allows give 870."""

KEY_FILE: Final = "token.key"

MIN_KEY: Final = 32
"""Bytes of a key at least: as many as the hash has."""


class TokenRejected(Exception):
    """The token was not minted by us. The text never repeats it."""


class TokenKeyDamaged(Exception):
    """The file with the mesh's key is there and holds none."""


def token_key(directory: Path) -> bytes:
    """The mesh's key in ``directory``, made now if there is none; of several at once one wins, for all.

    Raises ``TokenKeyDamaged``.
    """
    path = directory / KEY_FILE
    if not path.exists():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_name(f".{KEY_FILE}.{secrets.token_hex(4)}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(secrets.token_bytes(MIN_KEY))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(fresh, path)  # unlike a rename it leaves one that is there
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    key = path.read_bytes()
    if len(key) != MIN_KEY:
        raise TokenKeyDamaged(f"{path}: not {MIN_KEY} bytes")
    return key


def mint(key: bytes, identity: SidecarIdentity) -> str:
    """The token of ``identity``; the same every time."""
    claims = {"ns": identity.namespace, "sa": identity.service_account, "pod": identity.pod}
    payload = _encode(json.dumps(claims, separators=(",", ":")).encode())
    return f"{payload}.{_signature(key, payload)}"


def verify(key: bytes, token: str) -> SidecarIdentity:
    """Whose token it is. Raises ``TokenRejected`` for anything that ``mint`` did not return."""
    if len(token) > MAX_TOKEN:
        raise TokenRejected("the token is too long")
    if not token.isascii():
        raise TokenRejected("the token is not ASCII")
    payload, separator, signature = token.partition(".")
    if not separator:
        raise TokenRejected("the token has no signature")
    # The encoded forms are compared, so that there is one spelling of each token. Nothing is decoded before that.
    if not hmac.compare_digest(_signature(key, payload).encode(), signature.encode()):
        raise TokenRejected("the token's signature does not fit")
    try:
        claims = json.loads(_decode(payload))
        return SidecarIdentity(namespace=claims["ns"], service_account=claims["sa"], pod=claims["pod"])
    except (ValueError, KeyError, TypeError, AttributeError):  # BadIdentity is a ValueError
        raise TokenRejected("the token's claims are malformed") from None


def _signature(key: bytes, payload: str) -> str:
    if len(key) < MIN_KEY:
        raise ValueError(f"the token key has {len(key)} bytes, at least {MIN_KEY} are needed")
    return _encode(hmac.digest(key, payload.encode(), hashlib.sha256))


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
