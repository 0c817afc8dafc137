"""The mesh's certificate authority: an issuer that signs short-lived leaves, and the roots that are trusted.

A CA's folder has the files that an operator knows from elsewhere:

    ca.crt      the trust bundle: every root that is trusted, one or several
    issuer.crt  the issuer: one of these roots, or a CA below one, followed by the CAs between them
    issuer.key  its private key, ECDSA P-256

Without a folder of the operator's own one is made in ``<directory>/ca``, whole or not
at all, whose issuer is its root.

Of a request only the public key counts; every name in a certificate comes from
what its asker has proved (``translator.identity.enrol``).

Neighbours: ``translator.identity.rotation`` follows the files while the mesh runs,
``proxy.contract.spiffe`` accepts exactly what is issued here.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from proxy.contract.bundle import BundleRejected
from proxy.contract.config import Trust, spiffe_id
from proxy.contract.spiffe import BACKDATE
from translator.identity.roots import as_bundle, key_usage, new_root, private_pem, roots_in
from translator.identity.subject import SidecarIdentity

BUNDLE: Final = "ca.crt"
ISSUER: Final = "issuer.crt"
ISSUER_KEY: Final = "issuer.key"

LEAF_LIFETIME: Final = timedelta(hours=48)
"""Renewed at half of it, a leaf outlives a controller that is away for a day."""

MAX_FILE: Final = 128 * 1024
"""Bytes of one of the CA's files, as many as a sidecar reads of a bundle: a hundred roots have less."""

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
    """An issuer that signs. Secrets are not shown by ``repr``; ``now`` returns an aware time.

    ``chain`` is the issuer's certificate followed by the CAs above it, ``bundle`` the trusted roots, both PEM.
    """

    chain: str = field(repr=False)
    bundle: str = field(repr=False)
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    trust_domain: str = "cluster.local"
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC), repr=False)

    @classmethod
    def create(cls, directory: Path, trust_domain: str = "cluster.local") -> Self:
        """The authority in ``<directory>/ca``, made now if there is none; of several at once one wins, for all.

        Raises ``AuthorityError`` if there is a damaged one.
        """
        final = directory / "ca"
        if not final.exists():
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(prefix=".ca-", dir=directory))  # mode 0700
            try:
                root, key = new_root(trust_domain, datetime.now(UTC))
                write_ca(fresh, as_bundle([root]), as_bundle([root]), private_pem(key))
                fresh.rename(final)
            except OSError:
                if not final.exists():
                    raise
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
        return cls.load(final, trust_domain)

    @classmethod
    def load(cls, folder: Path, trust_domain: str = "cluster.local") -> Self:
        """The authority whose files are in ``folder``. Raises ``AuthorityError`` naming the file."""
        bundle, chain, key = (_read(folder / name) for name in (BUNDLE, ISSUER, ISSUER_KEY))
        try:
            roots = roots_in(bundle.decode("ascii", "replace"))
        except BundleRejected as error:
            raise AuthorityError(f"{folder / BUNDLE}: {error}") from error
        try:
            return cls.of(as_bundle(roots), chain, key, trust_domain)
        except AuthorityError as error:
            raise AuthorityError(f"{folder}: {error}") from error

    @classmethod
    def of(cls, bundle: str, chain: bytes, key: bytes, trust_domain: str) -> Self:
        """The authority made of PEM texts. Raises ``AuthorityError``."""
        try:
            certificates = x509.load_pem_x509_certificates(chain)
        except ValueError:
            raise AuthorityError(f"{ISSUER} cannot be read as PEM certificates") from None
        try:
            private = serialization.load_pem_private_key(key, password=None)
        except (ValueError, TypeError):  # nothing of the text: it may be a part of the key
            raise AuthorityError(f"{ISSUER_KEY} cannot be read as an unencrypted private key in PEM") from None
        if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP256R1):
            raise AuthorityError(f"{ISSUER_KEY} is not ECDSA P-256")
        if private.public_key() != certificates[0].public_key():
            raise AuthorityError(f"{ISSUER_KEY} does not belong to {ISSUER}")
        if _anchor(certificates, roots_in(bundle)) is None:
            raise AuthorityError(f"{ISSUER} is signed by none of the roots in {BUNDLE}")
        return cls(chain=as_bundle(certificates), bundle=bundle, key=private, trust_domain=trust_domain)

    @property
    def issuer(self) -> x509.Certificate:
        """Who signs."""
        return x509.load_pem_x509_certificates(self.chain.encode())[0]

    @property
    def roots(self) -> tuple[x509.Certificate, ...]:
        """Who is trusted."""
        return roots_in(self.bundle)

    @property
    def anchor(self) -> x509.Certificate:
        """The root of the issuer."""
        found = _anchor(x509.load_pem_x509_certificates(self.chain.encode()), self.roots)
        if found is None:
            raise AuthorityError("the issuer is signed by none of the roots")
        return found

    @property
    def ends(self) -> datetime:
        """When it can be used no more: no certificate outlives its issuer or root."""
        return min(self.issuer.not_valid_after_utc, self.anchor.not_valid_after_utc)

    @property
    def key_id(self) -> str:
        """What certificates of this issuer call it (hex): ``Peer.issuer``."""
        return (issued_by(self.issuer).key_identifier or b"").hex()

    def trust(self, generation: int = 0, federated: Mapping[str, str] | None = None) -> Trust:
        """What sidecars are told."""
        return Trust(
            bundle=self.bundle, federated=dict(federated or {}), issuer=self.key_id, generation=generation
        )  # fmt: skip

    def issue(self, request: bytes, identity: SidecarIdentity, lifetime: timedelta = LEAF_LIFETIME) -> bytes:
        """A certificate for the public key in ``request`` in the name of ``identity``, the CAs below its root after it.

        All PEM. Raises ``RequestRejected``, or ``AuthorityError`` when the issuer has expired.
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
        return self._sign(key.public_key(), (name,), lifetime), private_pem(key)

    @property
    def controller_identity(self) -> str:
        """The SPIFFE ID that sidecars expect of the controller."""
        return spiffe_id(self.trust_domain, CONTROLLER_NAMESPACE, CONTROLLER_SERVICE_ACCOUNT)

    def _sign(self, key: ec.EllipticCurvePublicKey, names: tuple[x509.GeneralName, ...], lifetime: timedelta) -> bytes:
        now, issuer = self.now(), self.issuer
        # A life shorter than the backdating would be past its half from the first second.
        begin = max(now - min(BACKDATE, lifetime), issuer.not_valid_before_utc)
        end = min(now + lifetime, issuer.not_valid_after_utc)
        if end <= now:
            raise AuthorityError(f"the issuer expired at {issuer.not_valid_after_utc.isoformat()}")
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))  # the name is in the extension, which therefore is critical (RFC 5280 4.2.1.6)
            .issuer_name(issuer.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(digital_signature=True), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(issued_by(issuer), critical=False)
        )
        leaf = builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        above = x509.load_pem_x509_certificates(self.chain.encode())
        return leaf + as_bundle(one for one in above if one not in self.roots).encode()


def write_ca(folder: Path, bundle: str, chain: str, key: bytes) -> None:
    """Puts the files of a CA into ``folder``, each in one step, so that at no moment they contradict each other long.

    Raises ``OSError``. Who follows the folder takes nothing up before key and certificate belong together.
    """
    for name, content, mode in (
        (BUNDLE, bundle.encode(), 0o644),
        (ISSUER_KEY, key, 0o600),
        (ISSUER, chain.encode(), 0o644),
    ):
        put(folder / name, content, mode)


def put(path: Path, content: bytes, mode: int) -> None:
    """Puts a file in place in one step, on disk before it is. Raises ``OSError``."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
    except OSError as error:
        raise AuthorityError(f"{path}: {error.strerror}") from error
    if len(content) > MAX_FILE:
        raise AuthorityError(f"{path}: more than {MAX_FILE} bytes")
    return content


def _anchor(chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]) -> x509.Certificate | None:
    """The root that ``chain`` leads to: each is signed by the next, and the last is a root or signed by one."""
    for lower, upper in zip(chain, (*chain[1:], None), strict=True):
        if lower in roots:
            return lower
        if upper is None:
            return next((root for root in roots if _signed_by(lower, root)), None)
        if not _signed_by(lower, upper):
            return None
    return None


def _signed_by(lower: x509.Certificate, upper: x509.Certificate) -> bool:
    try:
        lower.verify_directly_issued_by(upper)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


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


def issued_by(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """What a certificate says of who signed it (RFC 5280 4.2.1.1). Raises ``AuthorityError``."""
    try:
        identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        key = issuer.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise AuthorityError("the issuer's key is not ECDSA") from None
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
