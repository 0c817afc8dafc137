"""The identity in a certificate, read by the library that signs them: what ``proxy.contract`` is held against."""

from __future__ import annotations

import re
import warnings
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID

from proxy.contract.spiffe import PeerRejected, parse_spiffe_id, split_spiffe_id

KNOWN = (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage, x509.SubjectAlternativeName)
BOTH = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
T = TypeVar("T", bound=x509.ExtensionType)


class NotOnTheCurve(PeerRejected):
    """The key is no point of its curve. Nobody can sign with it, so it is TLS that finds out."""


class Read:
    """What a certificate says, or ``PeerRejected``. ``uri`` is a SPIFFE ID of any trust domain."""

    def __init__(self, der: bytes, trust_domain: str) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                certificate = x509.load_der_x509_certificate(der)
                self.extensions = certificate.extensions
                self.not_before, self.expires = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        except Exception as error:
            raise PeerRejected(str(error)) from error
        self._check_leaf()
        self._read_names(trust_domain)
        issuer = self._get(x509.AuthorityKeyIdentifier)
        self.issuer = (issuer.key_identifier or b"").hex() if issuer else ""
        self._check_key(certificate)

    def _get(self, kind: type[T]) -> T | None:
        try:
            return self.extensions.get_extension_for_class(kind).value
        except x509.ExtensionNotFound:
            return None

    def _check_key(self, certificate: x509.Certificate) -> None:
        try:
            key = certificate.public_key()
        except ValueError as error:
            raise NotOnTheCurve(str(error)) from error
        except Exception as error:
            raise PeerRejected(str(error)) from error
        if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
            raise PeerRejected("key")

    def _check_leaf(self) -> None:
        known = {kind.oid for kind in KNOWN}
        if any(extension.critical and extension.oid not in known for extension in self.extensions):
            raise PeerRejected("critical")
        constraints, usage = self._get(x509.BasicConstraints), self._get(x509.KeyUsage)
        extended = self._get(x509.ExtendedKeyUsage)
        if constraints is not None and constraints.ca:
            raise PeerRejected("CA")
        if usage is None or not self.extensions.get_extension_for_class(x509.KeyUsage).critical:
            raise PeerRejected("usage")
        if not usage.digital_signature or usage.key_cert_sign or usage.crl_sign:
            raise PeerRejected("usage")
        if extended is None or not set(extended) >= BOTH:
            raise PeerRejected("extended usage")

    def _read_names(self, trust_domain: str) -> None:
        names = self._get(x509.SubjectAlternativeName)
        if names is None:
            raise PeerRejected("names")
        if any(isinstance(name.value, str) and re.search(r"[\x00-\x1f\x7f]", name.value) for name in names):
            raise PeerRejected("control")
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        if len(uris) != 1:
            raise PeerRejected("URIs")
        self.uri = uris[0]
        if split_spiffe_id(self.uri)[0] == trust_domain:
            parse_spiffe_id(self.uri)
        self.dns_names = names.get_values_for_type(x509.DNSName)
