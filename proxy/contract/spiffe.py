"""Who is at the other end: an X.509-SVID read strictly, the same way by sidecar and controller.

TLS has already proved the chain up to a root of the bundle and that the peer
holds the key; general X.509 checks let through much that is not a SPIFFE
identity. What is left is decided here, without I/O: exactly one URI, of the
form ``spiffe://<trust domain>/ns/<namespace>/sa/<service account>``, on a leaf
that may do nothing but authenticate. Sources: SPIFFE-ID and X509-SVID standards
(their clauses are named below), RFC 5280.

Of another trust domain (federation) any path is an identity, and nothing but
the SPIFFE ID counts: its DNS names name no pods of ours.

Neighbours: ``proxy.contract.certificate`` reads the bytes, ``proxy.tls`` fetches
the certificate of a connection, ``translator.identity`` issues what is accepted here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from proxy.contract import certificate as x509
from proxy.contract.certificate import Certificate
from proxy.contract.der import dotted

BACKDATE: Final = timedelta(seconds=60)
"""How far before its issue a certificate begins, so that a peer whose clock is a little behind accepts it."""

MAX_SPIFFE_ID: Final = 2048
"""Bytes of a SPIFFE ID at most (SPIFFE-ID 2.3)."""

MAX_TRUST_DOMAIN: Final = 255
"""Bytes of a trust domain at most (SPIFFE-ID 2.3)."""

MAX_PARSED: Final = 1024
"""Certificates remembered: more than a sidecar has peers, and well under 1 MB."""

POD_SUFFIX: Final = "pod"
"""Last label of the DNS name that tells the pod: ``name.namespace.pod``."""

_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]+")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")
_MAX_LABEL = 63
_MAX_SUBDOMAIN = 253
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_KNOWN_CRITICAL = frozenset({
    x509.BASIC_CONSTRAINTS,
    x509.KEY_USAGE,
    x509.EXTENDED_KEY_USAGE,
    x509.SUBJECT_ALTERNATIVE_NAME,
})  # fmt: skip


class PeerRejected(Exception):
    """A certificate that is no identity of this mesh; the text says why, for logs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A checked identity. ``identity`` is the whole SPIFFE ID; ``pods`` have the form ``name.namespace.pod``.

    ``namespace``, ``service_account`` and ``pods`` are empty for another trust domain.
    ``issuer`` is the key identifier (hex) of who signed, empty if the certificate does not say.
    """

    identity: str
    trust_domain: str
    namespace: str
    service_account: str
    pods: tuple[str, ...]
    not_before: datetime
    expires: datetime
    issuer: str = ""


_parsed: dict[tuple[bytes, str], Peer] = {}


def verify_peer(der: bytes, trust_domain: str, now: datetime, foreign: Container[str] = ()) -> Peer:
    """The identity in the certificate ``der``, whose chain TLS has verified already.

    ``now`` is timezone-aware; ``foreign`` are the trust domains that are believed beside our own ``trust_domain``
    (the caller sees to it that the chain ends in a root of that very domain). Parsing is done once per
    certificate; validity and trust domain are checked every time. Raises ``PeerRejected``.
    """
    key = hashlib.sha256(der).digest(), trust_domain
    peer = _parsed.get(key)
    if peer is None:
        peer = parse_certificate(der, trust_domain)
        if len(_parsed) >= MAX_PARSED:
            _parsed.pop(next(iter(_parsed)))
        _parsed[key] = peer
    if peer.trust_domain != trust_domain and peer.trust_domain not in foreign:
        raise PeerRejected(f"trust domain {peer.trust_domain!r} is not {trust_domain!r}")
    if now < peer.not_before:
        raise PeerRejected(f"not valid before {peer.not_before.isoformat()}")
    if now >= peer.expires:
        raise PeerRejected(f"expired at {peer.expires.isoformat()}")
    return peer


def parse_certificate(der: bytes, trust_domain: str) -> Peer:
    """All checks but time and whether another trust domain than ``trust_domain`` is believed.

    Raises ``PeerRejected``.
    """
    try:
        certificate = x509.read_certificate(der)
        if not certificate.p256:
            raise PeerRejected("the public key is not P-256")
        for identifier, extension in certificate.extensions.items():
            if extension.critical and identifier not in _KNOWN_CRITICAL:
                raise PeerRejected(f"unknown critical extension {dotted(identifier)}")
        _check_is_leaf(certificate)
        uri, dns_names = _alternative_names(certificate)
        issuer = _issuer(certificate)
    except PeerRejected:
        raise
    except Exception as error:  # whatever is wrong with it, it is no identity
        raise PeerRejected(f"unreadable certificate ({error})") from error
    namespace = service_account = ""
    domain, _ = split_spiffe_id(uri)
    if domain == trust_domain:
        _, namespace, service_account = parse_spiffe_id(uri)
    return Peer(
        identity=uri,
        trust_domain=domain,
        namespace=namespace,
        service_account=service_account,
        pods=_pods(dns_names, namespace) if namespace else (),
        not_before=certificate.not_before,
        expires=certificate.expires,
        issuer=issuer,
    )


def parse_spiffe_id(uri: str) -> tuple[str, str, str]:
    """Trust domain, namespace and service account of a workload's SPIFFE ID. Raises ``PeerRejected``."""
    trust_domain, segments = split_spiffe_id(uri)
    match segments:
        case ("ns", namespace, "sa", service_account) if is_label(namespace) and is_subdomain(service_account):
            return trust_domain, namespace, service_account
        case _:
            raise PeerRejected("the SPIFFE ID's path is not /ns/<namespace>/sa/<service account>")


def split_spiffe_id(uri: str) -> tuple[str, tuple[str, ...]]:
    """Trust domain and path segments of any workload's SPIFFE ID (SPIFFE-ID 2). Raises ``PeerRejected``."""
    if len(uri) > MAX_SPIFFE_ID:
        raise PeerRejected(f"the SPIFFE ID has {len(uri)} bytes, {MAX_SPIFFE_ID} are allowed")
    scheme, separator, rest = uri.partition("://")
    if scheme != "spiffe" or not separator:
        raise PeerRejected("the URI's scheme is not spiffe")
    for character, what in (("%", "a percent-escape"), ("?", "a query"), ("#", "a fragment")):
        if character in rest:
            raise PeerRejected(f"the SPIFFE ID has {what}")
    trust_domain, _, path = rest.partition("/")
    _check_trust_domain(trust_domain)
    segments = tuple(path.split("/"))
    if segments == ("",):
        raise PeerRejected("the SPIFFE ID has no path")
    if any(segment in ("", ".", "..") for segment in segments):
        raise PeerRejected("the SPIFFE ID has an empty or dot segment")
    if not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise PeerRejected("the SPIFFE ID's path has a character that is not allowed")
    return trust_domain, segments


def is_trust_domain(name: str) -> bool:
    """Whether ``name`` can be a trust domain."""
    return len(name) <= MAX_TRUST_DOMAIN and _TRUST_DOMAIN.fullmatch(name) is not None


def is_label(name: str) -> bool:
    """Whether ``name`` is a DNS-1123 label, as namespaces are."""
    return len(name) <= _MAX_LABEL and _LABEL.fullmatch(name) is not None


def is_subdomain(name: str) -> bool:
    """Whether ``name`` is a DNS-1123 subdomain, as the names of pods and ServiceAccounts are."""
    return len(name) <= _MAX_SUBDOMAIN and all(_LABEL.fullmatch(label) for label in name.split("."))


def pod_name(pod: str, namespace: str) -> str:
    """The DNS name that stands for a pod in its certificate: ``name.namespace.pod``."""
    return f"{pod}.{namespace}.{POD_SUFFIX}"


def _check_trust_domain(trust_domain: str) -> None:
    if "@" in trust_domain:
        raise PeerRejected("the SPIFFE ID has userinfo")
    if ":" in trust_domain:
        raise PeerRejected("the SPIFFE ID has a port")
    if trust_domain != trust_domain.lower():
        raise PeerRejected("the trust domain is not in lower case")
    if not is_trust_domain(trust_domain):
        raise PeerRejected("the trust domain is empty, too long or has a character that is not allowed")


def _check_is_leaf(certificate: Certificate) -> None:
    """X509-SVID 3 and 4: not a CA, for signing handshakes and nothing else, for both sides of TLS."""
    extensions = certificate.extensions
    constraints = extensions.get(x509.BASIC_CONSTRAINTS)
    if constraints is not None and x509.is_ca(constraints):
        raise PeerRejected("the certificate is a CA's")
    restricted = extensions.get(x509.KEY_USAGE)
    if restricted is None:
        raise PeerRejected("no key usage")
    if not restricted.critical:
        raise PeerRejected("key usage is not critical")
    usage = x509.key_usage(restricted)
    if not usage.digital_signature:
        raise PeerRejected("key usage lacks digitalSignature")
    if usage.key_cert_sign or usage.crl_sign:
        raise PeerRejected("key usage has keyCertSign or cRLSign")
    extended = extensions.get(x509.EXTENDED_KEY_USAGE)
    if extended is None:
        raise PeerRejected("no extended key usage")
    if not {x509.SERVER_AUTH, x509.CLIENT_AUTH} <= x509.extended_key_usage(extended):
        raise PeerRejected("extended key usage lacks serverAuth or clientAuth")


def _alternative_names(certificate: Certificate) -> tuple[str, tuple[str, ...]]:
    """The one URI and the DNS names (X509-SVID 2: exactly one URI)."""
    extension = certificate.extensions.get(x509.SUBJECT_ALTERNATIVE_NAME)
    if extension is None:
        raise PeerRejected("no subject alternative name")
    names = x509.alternative_names(extension)
    if any(_CONTROL.search(name) for name in (*names.uris, *names.dns_names, *names.emails)):
        raise PeerRejected("a control character in a subject alternative name")
    if len(names.uris) != 1:
        raise PeerRejected(f"{len(names.uris)} URIs among the subject alternative names, exactly one must be")
    return names.uris[0], names.dns_names


def _issuer(certificate: Certificate) -> str:
    """Who signed, and that the other half of this pair of extensions is no less well formed."""
    own = certificate.extensions.get(x509.SUBJECT_KEY_IDENTIFIER)
    if own is not None:
        x509.check_subject_key_identifier(own)
    identifier = certificate.extensions.get(x509.AUTHORITY_KEY_IDENTIFIER)
    return x509.authority_key_identifier(identifier).hex() if identifier is not None else ""


def _pods(dns_names: tuple[str, ...], namespace: str) -> tuple[str, ...]:
    """The pods named; one of another namespace would be a claim that the SPIFFE ID does not carry."""
    pods: list[str] = []
    for dns_name in dns_names:
        if not dns_name.endswith(f".{POD_SUFFIX}"):
            continue
        name, _, of = dns_name.removesuffix(f".{POD_SUFFIX}").rpartition(".")
        if of != namespace or not is_subdomain(name):
            raise PeerRejected("a pod name that is malformed or of another namespace")
        pods.append(dns_name)
    return tuple(pods)
