"""Local mode's token: what a pod's sidecar proves itself with when it asks for its first certificate.

The supervisor mints one per pod with the authority's ``token.key`` and puts it
beside the sidecar, readable by nobody else. On Kubernetes a projected
ServiceAccount token takes its place.

Form: ``base64url(json {"ns", "sa", "pod"}) "." base64url(HMAC-SHA256(key, first part))``,
both without padding. It does not expire: it lives and dies with the mesh's key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from translator.identity.subject import SidecarIdentity

MAX_TOKEN: Final = 1024
"""Characters: the longest names Kubernetes allows give 870."""

MIN_KEY: Final = 32
"""Bytes of a key at least: as many as the hash has."""


class TokenRejected(Exception):
    """The token was not minted by us. The text never repeats it."""


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
