"""A trust bundle: the roots of one trust domain as PEM, read the same way by sidecar and controller.

``translator.identity`` makes and distributes bundles, ``proxy.trust`` keeps the
sidecar's, ``proxy.tls`` verifies by them.
"""

from __future__ import annotations

import binascii
import re
from functools import lru_cache

from proxy.contract.certificate import BASIC_CONSTRAINTS, is_ca, read_certificate
from proxy.contract.der import Malformed

_BEGIN = "-----BEGIN "
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----", re.ASCII)


class BundleRejected(Exception):
    """The text is no trust bundle; the message says why, without a file's name."""


@lru_cache(maxsize=64)
def read_bundle(pem: str) -> tuple[bytes, ...]:
    """The roots in ``pem`` as DER, each once, at least one. Text around them does not count (RFC 7468 2).

    Raises ``BundleRejected``.
    """
    try:
        roots = [_der(block) for block in _CERTIFICATE.findall(pem)]
        authorities = [_is_authority(root) for root in roots]
    except ValueError as error:
        raise BundleRejected("the bundle cannot be read as PEM certificates") from error
    if not roots:
        raise BundleRejected("the bundle cannot be read as PEM certificates")
    if len(roots) != pem.count(_BEGIN):
        raise BundleRejected("the bundle is cut short, or holds something else than certificates")
    if not all(authorities):
        raise BundleRejected("the bundle has a certificate that is no CA's")
    return tuple(dict.fromkeys(roots))


def _der(block: str) -> bytes:
    """Raises ``ValueError``."""
    return binascii.a2b_base64("".join(block.split()), strict_mode=True)


def _is_authority(root: bytes) -> bool:
    """Raises ``Malformed``, a ``ValueError``."""
    constraints = read_certificate(root).extensions.get(BASIC_CONSTRAINTS)
    try:
        return constraints is not None and is_ca(constraints)
    except Malformed:
        return False
