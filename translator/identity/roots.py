"""Roots and their parts: what a CA's certificate of ours looks like, bundles of them, and keys as PEM."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from proxy.contract.bundle import BundleRejected, read_bundle
from proxy.contract.spiffe import BACKDATE

ROOT_LIFETIME: Final = timedelta(days=3650)
"""A local mesh's root never needs to be exchanged because of its age."""


def new_root(trust_domain: str, now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A root of the mesh. Its name is unique: two roots in a bundle are told apart by it."""
    name = x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "smi-mesh"),
        x509.NameAttribute(NameOID.COMMON_NAME, f"root of {trust_domain}"[:48] + f" {secrets.token_hex(4)}"),
    ])  # fmt: skip
    return self_signed(name, now)


def self_signed(name: x509.Name, now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A self-signed P-256 CA for leaves only."""
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + ROOT_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )
    return builder.sign(key, hashes.SHA256()), key


@lru_cache(maxsize=64)
def roots_in(bundle: str) -> tuple[x509.Certificate, ...]:
    """The roots that sidecars find in ``bundle``. Raises ``BundleRejected``."""
    try:
        return tuple(map(x509.load_der_x509_certificate, read_bundle(bundle)))
    except ValueError as error:
        raise BundleRejected("the bundle cannot be read as PEM certificates") from error


def as_bundle(roots: Iterable[x509.Certificate]) -> str:
    """The bundle of these roots, in one way of writing."""
    return "".join(root.public_bytes(serialization.Encoding.PEM).decode("ascii") for root in roots)


def key_usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    """The extension with these bits alone."""
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key as PKCS #8, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
