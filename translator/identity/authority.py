"""The mesh's certificate authority: one root, short-lived leaves.

It lives in ``<directory>/ca``, made whole or not at all:

    root.key    the root's private key, readable by its owner alone
    root.pem    the root's certificate
    bundle.pem  every root that is trusted now: one, or several while roots are exchanged
    token.key   32 random bytes that local mode's tokens are signed with

Of a request only the public key counts; every name in a certificate comes from
what its asker has proved (``translator.identity.enrol``).

Neighbours: ``proxy.contract.spiffe`` accepts exactly what is issued here.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxy.contract.config import spiffe_id
from proxy.contract.spiffe import BACKDATE
from translator.identity.subject import SidecarIdentity

LEAF_LIFETIME: Final = timedelta(hours=48)
"""Renewed at half of it, a leaf outlives a controller that is away for a day."""

ROOT_LIFETIME: Final = timedelta(days=3650)
"""A local mesh's root never needs to be exchanged because of its age."""

TOKEN_KEY_BYTES: Final = 32
MAX_REQUEST: Final = 8192
"""Bytes of a certificate request: ten times what a P-256 one has."""

CONTROLLER_NAMESPACE: Final = "smi-mesh"
CONTROLLER_SERVICE_ACCOUNT: Final = "smi-mesh-controller"


class AuthorityError(Exception):
    """The authority's own files or life do not allow what was asked."""


class RequestRejected(Exception):
    """The certificate request is malformed, not P-256, not signed by its key, or names somebody else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A root that signs. Secrets are not shown by ``repr``. ``bundle`` is PEM; ``now`` returns an aware time."""

    root: x509.Certificate
    bundle: bytes = field(repr=False)
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    token_key: bytes = field(repr=False)
    trust_domain: str = "cluster.local"
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC), repr=False)

    @classmethod
    def create(cls, directory: Path, trust_domain: str = "cluster.local") -> Self:
        """The authority in ``directory``, made now if there is none; of several at once one wins, for all.

        Raises ``AuthorityError`` if there is a damaged one.
        """
        final = directory / "ca"
        if not final.exists():
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(prefix=".ca-", dir=directory))  # mode 0700
            try:
                _write_new(fresh, trust_domain, datetime.now(UTC))
                fresh.rename(final)
            except OSError:
                if not final.exists():
                    raise
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
        return cls.load(directory, trust_domain)

    @classmethod
    def load(cls, directory: Path, trust_domain: str = "cluster.local") -> Self:
        """The authority in ``directory``. Raises ``AuthorityError``."""
        folder = directory / "ca"
        try:
            root = x509.load_pem_x509_certificate((folder / "root.pem").read_bytes())
            key = serialization.load_pem_private_key((folder / "root.key").read_bytes(), password=None)
            bundle = (folder / "bundle.pem").read_bytes()
            trusted = x509.load_pem_x509_certificates(bundle)
            token_key = (folder / "token.key").read_bytes()
        except OSError as error:
            raise AuthorityError(f"{error.filename}: {error.strerror}") from error
        except (ValueError, TypeError) as error:
            raise AuthorityError(f"{folder}: a file is damaged") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != root.public_key():
            raise AuthorityError(f"{folder}: root.key does not belong to root.pem")
        if root not in trusted:
            raise AuthorityError(f"{folder}: root.pem is not in bundle.pem")
        if len(token_key) != TOKEN_KEY_BYTES:
            raise AuthorityError(f"{folder}: token.key has not {TOKEN_KEY_BYTES} bytes")
        return cls(root=root, bundle=bundle, key=key, token_key=token_key, trust_domain=trust_domain)

    def issue(self, request: bytes, identity: SidecarIdentity, lifetime: timedelta = LEAF_LIFETIME) -> bytes:
        """A certificate (PEM) for the public key in ``request`` (PEM) in the name of ``identity``.

        Raises ``RequestRejected``, or ``AuthorityError`` when the root has expired.
        """
        names = (
            x509.UniformResourceIdentifier(identity.spiffe_id(self.trust_domain)),
            x509.DNSName(identity.dns_name),
        )
        return self._sign(_public_key(request, names[0]), names, lifetime)

    def issue_controller(self, lifetime: timedelta = LEAF_LIFETIME) -> tuple[bytes, bytes]:
        """Certificate and private key (PEM) for the controller itself; the key is new and on no disk."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.UniformResourceIdentifier(self.controller_identity)
        return self._sign(key.public_key(), (name,), lifetime), _private_pem(key)

    @property
    def controller_identity(self) -> str:
        """The SPIFFE ID that sidecars expect of the controller."""
        return spiffe_id(self.trust_domain, CONTROLLER_NAMESPACE, CONTROLLER_SERVICE_ACCOUNT)

    def _sign(self, key: ec.EllipticCurvePublicKey, names: tuple[x509.GeneralName, ...], lifetime: timedelta) -> bytes:
        now = self.now()
        begin = max(now - BACKDATE, self.root.not_valid_before_utc)
        end = min(now + lifetime, self.root.not_valid_after_utc)
        if end <= now:
            raise AuthorityError(f"the root expired at {self.root.not_valid_after_utc.isoformat()}")
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))  # the name is in the extension, which therefore is critical (RFC 5280 4.2.1.6)
            .issuer_name(self.root.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(_issued_by(self.root), critical=False)
        )
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def new_root(trust_domain: str, now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A self-signed P-256 root for leaves only. Its name is unique: two roots in a bundle are told apart by it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "smi-mesh"),
        x509.NameAttribute(NameOID.COMMON_NAME, f"root of {trust_domain}"[:48] + f" {secrets.token_hex(4)}"),
    ])  # fmt: skip
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
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )
    return builder.sign(key, hashes.SHA256()), key


def _write_new(folder: Path, trust_domain: str, now: datetime) -> None:
    root, key = new_root(trust_domain, now)
    pem = root.public_bytes(serialization.Encoding.PEM)
    for name, content, mode in (
        ("root.key", _private_pem(key), 0o600),
        ("root.pem", pem, 0o644),
        ("bundle.pem", pem, 0o644),
        ("token.key", secrets.token_bytes(TOKEN_KEY_BYTES), 0o600),
    ):
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def _public_key(request: bytes, name: x509.UniformResourceIdentifier) -> ec.EllipticCurvePublicKey:
    """The key that ``request`` proves to hold. A URI it asks for must be the one it gets."""
    if len(request) > MAX_REQUEST:
        raise RequestRejected(f"the request has more than {MAX_REQUEST} bytes")
    try:
        parsed = x509.load_pem_x509_csr(request)
        key = parsed.public_key()
        signed = parsed.is_signature_valid
        asked = _asked_uris(parsed)
    except Exception as error:  # bytes from the network: whatever the parser raises, the request is at fault
        raise RequestRejected(f"the request cannot be read ({type(error).__name__})") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise RequestRejected("the key is not P-256")
    if not signed:
        raise RequestRejected("the request is not signed by its key")
    if any(uri != name.value for uri in asked):
        raise RequestRejected("the request asks for a name that is not proved")
    return key


def _asked_uris(request: x509.CertificateSigningRequest) -> list[str]:
    try:
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _issued_by(root: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
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


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
