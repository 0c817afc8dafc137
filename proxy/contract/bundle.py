"""A trust bundle: the roots of one trust domain as PEM, read the same way by sidecar and controller.

``translator.identity`` makes and distributes bundles, ``proxy.trust`` keeps the
sidecar's, ``proxy.tls`` verifies by them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

_BEGIN = "-----BEGIN "


class BundleRejected(Exception):
    """The text is no trust bundle; the message says why, without a file's name."""


@lru_cache(maxsize=64)
def read_bundle(pem: str) -> tuple[x509.Certificate, ...]:
    """The roots in ``pem``, each once, at least one. Text around them does not count. Raises ``BundleRejected``."""
    try:
        roots = x509.load_pem_x509_certificates(pem.encode())
    except ValueError as error:
        raise BundleRejected("the bundle cannot be read as PEM certificates") from error
    if len(roots) != pem.count(_BEGIN):
        raise BundleRejected("the bundle is cut short, or holds something else than certificates")
    for root in roots:
        if not _is_ca(root):
            raise BundleRejected("the bundle has a certificate that is no CA's")
    return tuple(dict.fromkeys(roots))


def as_bundle(roots: Iterable[x509.Certificate]) -> str:
    """The bundle of these roots, in one way of writing."""
    return "".join(root.public_bytes(Encoding.PEM).decode("ascii") for root in roots)


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return False
