"""Certificates for tests, good and bad: an authority that signs whatever it is told to.

``BAD`` names each way in which a certificate that chains to a trusted root is
still no identity; each entry is a function that makes one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from proxy.tls import Pair
from translator.identity.roots import new_root

TRUST_DOMAIN = "cluster.local"
WEB = "spiffe://cluster.local/ns/shop/sa/web"
WEB_POD = "web-0.shop.pod"
BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
_PEM = serialization.Encoding.PEM


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """A certificate to be: what a good one has, to be changed with ``replace``."""

    subject: str = ""
    uris: tuple[str, ...] = (WEB,)
    dns: tuple[str, ...] = (WEB_POD,)
    emails: tuple[str, ...] = ()
    raw_names: bytes | None = None
    names: bool = True
    begin: timedelta = timedelta(minutes=-1)
    end: timedelta = timedelta(hours=1)
    ca: bool = False
    usage: tuple[str, ...] | None = ("digital_signature",)
    usage_critical: bool = True
    extended: tuple[x509.ObjectIdentifier, ...] | None = BOTH
    more: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    new_key: Callable[[], ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey] = field(
        default=lambda: ec.generate_private_key(ec.SECP256R1())
    )


class Root:
    """A root with its key. ``subject`` and ``key_id`` are its own unless it takes somebody else's."""

    def __init__(self, subject: x509.Name | None = None, key_id: bytes | None = None) -> None:
        self.certificate, self.key = new_root(TRUST_DOMAIN, now())
        if subject is not None:
            own = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
            self.certificate = self.new_ca(subject, key_id or own.digest)
        self.pem = self.certificate.public_bytes(_PEM).decode()

    def new_ca(
        self, subject: x509.Name, key_id: bytes, *, end: timedelta = timedelta(days=1), length: int | None = None
    ) -> x509.Certificate:
        """A self-signed CA with this root's key."""
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now() - timedelta(days=2))
            .not_valid_after(now() + end)
            .add_extension(x509.BasicConstraints(ca=True, path_length=length), critical=True)
            .add_extension(_usage(("key_cert_sign",)), critical=True)
            .add_extension(x509.SubjectKeyIdentifier(key_id), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier(key_id, None, None), critical=False)
            .sign(self.key, hashes.SHA256())
        )

    @property
    def key_id(self) -> bytes:
        return self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest

    def sign(self, leaf: Leaf, issuer: Pair | None = None, signer_id: bytes | None = None) -> Pair:
        """``leaf`` as certificate and key; ``issuer`` (a CA below this root) signs instead and is appended.

        ``signer_id`` is what the leaf says of the signer's key, true by default.
        """
        key = leaf.new_key()
        above, signer = self.certificate, self.key
        if issuer is not None:
            above = x509.load_pem_x509_certificate(issuer.certificate)
            loaded = serialization.load_pem_private_key(issuer.key, None)
            assert isinstance(loaded, ec.EllipticCurvePrivateKey)
            signer = loaded
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(leaf.subject))
            .issuer_name(above.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now() + leaf.begin)
            .not_valid_after(now() + leaf.end)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier(signer_id, None, None)
                if signer_id
                else x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
                critical=False,
            )
        )
        for extension, critical in _extensions(leaf):
            builder = builder.add_extension(extension, critical)
        certificate = builder.sign(signer, hashes.SHA256()).public_bytes(_PEM)
        chain = issuer.certificate if issuer is not None else b""
        return Pair(
            certificate=certificate + chain,
            key=key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)] if common else [])


def _extensions(leaf: Leaf) -> list[tuple[x509.ExtensionType, bool]]:
    found: list[tuple[x509.ExtensionType, bool]] = [(x509.BasicConstraints(leaf.ca, None), True)]
    if leaf.raw_names is not None:
        found.append((x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, leaf.raw_names), True))
    elif leaf.names:
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in leaf.uris]
        names += [x509.DNSName(name) for name in leaf.dns] + [x509.RFC822Name(email) for email in leaf.emails]
        found.append((x509.SubjectAlternativeName(names), True))
    if leaf.usage is not None:
        found.append((_usage(leaf.usage), leaf.usage_critical))
    if leaf.extended is not None:
        found.append((x509.ExtendedKeyUsage(list(leaf.extended)), False))
    return found + list(leaf.more)


def _usage(allowed: tuple[str, ...]) -> x509.KeyUsage:
    bits = [
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ]
    assert set(allowed) <= set(bits)
    return x509.KeyUsage(**{bit: bit in allowed for bit in bits})


@cache
def trusted() -> Root:
    """The root that tests trust; one for all of them."""
    return Root()


def der(pair: Pair) -> bytes:
    return x509.load_pem_x509_certificate(pair.certificate).public_bytes(serialization.Encoding.DER)


def good(identity: str = WEB, pod: str = WEB_POD) -> Pair:
    return trusted().sign(Leaf(uris=(identity,), dns=(pod,)))


def save(pair: Pair, folder: Path) -> tuple[Path, Path]:
    """Writes the pair as two plain files; returns the paths of certificate and key."""
    (folder / "tls.crt").write_bytes(pair.certificate)
    (folder / "tls.key").write_bytes(pair.key)
    return folder / "tls.crt", folder / "tls.key"


def _uri(uri: str) -> Pair:
    return trusted().sign(Leaf(uris=(uri,)))


def _leaf(**changes: object) -> Pair:
    return trusted().sign(replace(Leaf(), **changes))  # type: ignore[arg-type]


def _below_a_leaf() -> Pair:
    return trusted().sign(Leaf(), issuer=_leaf(subject="a leaf"))


def _below_an_intermediate() -> Pair:
    return trusted().sign(Leaf(), issuer=_leaf(subject="a CA", ca=True, usage=("key_cert_sign",), extended=None))


def _of_a_stranger() -> Pair:
    return Root().sign(Leaf())


def _of_a_namesake(*, same_key_id: bool = False) -> Pair:
    real = trusted()
    return Root(real.certificate.subject, real.key_id if same_key_id else None).sign(Leaf())


def _self_signed(subject: x509.Name | None = None) -> Pair:
    """A leaf that signed itself."""
    itself = Root()
    leaf = Leaf(new_key=lambda: itself.key)
    itself.certificate = itself.new_ca(subject or x509.Name([]), itself.key_id)
    return itself.sign(leaf)


def _signed_by_nobody() -> Pair:
    """Says that our root issued it, key identifier and all; the signature is a stranger's."""
    stranger = Root()
    stranger.certificate = trusted().certificate
    return stranger.sign(Leaf(), signer_id=trusted().key_id)


def _changed(change: Callable[[bytes], bytes]) -> Pair:
    """A good certificate with other bytes than were signed."""
    pair = good()
    altered = x509.load_der_x509_certificate(change(der(pair)))
    return Pair(certificate=altered.public_bytes(_PEM), key=pair.key)


def _before_a_good_one() -> Pair:
    """A stranger's, with a good one where its issuer should stand."""
    bad = _of_a_stranger()
    return Pair(certificate=bad.certificate + good().certificate, key=bad.key)


_NS = "spiffe://cluster.local/ns/shop/sa"

BAD_URIS: dict[str, str] = {
    "http": "http://cluster.local/ns/shop/sa/web",
    "https": "https://cluster.local/ns/shop/sa/web",
    "urn": "urn:cluster.local:ns:shop:sa:web",
    "upper-case scheme": "SPIFFE://cluster.local/ns/shop/sa/web",
    "longer scheme": "spiffes://cluster.local/ns/shop/sa/web",
    "no scheme": "//cluster.local/ns/shop/sa/web",
    "one slash": "spiffe:/cluster.local/ns/shop/sa/web",
    "three slashes": "spiffe:///cluster.local/ns/shop/sa/web",
    "leading space": " spiffe://cluster.local/ns/shop/sa/web",
    "trailing space": "spiffe://cluster.local/ns/shop/sa/web ",
    "empty URI": "",
    "scheme only": "spiffe://",
    "no trust domain": "spiffe:///ns/shop/sa/web",
    "upper-case trust domain": "spiffe://CLUSTER.LOCAL/ns/shop/sa/web",
    "one upper-case letter": "spiffe://cluster.locaL/ns/shop/sa/web",
    "other trust domain": "spiffe://other.local/ns/shop/sa/web",
    "subdomain of ours": "spiffe://evil.cluster.local/ns/shop/sa/web",
    "ours as a prefix": "spiffe://cluster.local.evil/ns/shop/sa/web",
    "trailing dot": "spiffe://cluster.local./ns/shop/sa/web",
    "long trust domain": f"spiffe://{'a' * 256}/ns/shop/sa/web",
    "IPv6 trust domain": "spiffe://[::1]/ns/shop/sa/web",
    "character in trust domain": "spiffe://cluster!local/ns/shop/sa/web",
    "userinfo": "spiffe://user@cluster.local/ns/shop/sa/web",
    "password": "spiffe://user:word@cluster.local/ns/shop/sa/web",
    "empty userinfo": "spiffe://@cluster.local/ns/shop/sa/web",
    "port": "spiffe://cluster.local:443/ns/shop/sa/web",
    "empty port": "spiffe://cluster.local:/ns/shop/sa/web",
    "query": f"{_NS}/web?a=b",
    "empty query": f"{_NS}/web?",
    "fragment": f"{_NS}/web#a",
    "empty fragment": f"{_NS}/web#",
    "escaped letter": f"{_NS}/%77eb",
    "escaped slash": f"{_NS}%2fweb",
    "escaped NUL": f"{_NS}/web%00",
    "escaped trust domain": "spiffe://cluster%2elocal/ns/shop/sa/web",
    "no path": "spiffe://cluster.local",
    "root path": "spiffe://cluster.local/",
    "empty first segment": "spiffe://cluster.local//ns/shop/sa/web",
    "empty middle segment": "spiffe://cluster.local/ns//shop/sa/web",
    "empty namespace": "spiffe://cluster.local/ns//sa/web",
    "empty account": f"{_NS}/",
    "trailing slash": f"{_NS}/web/",
    "dot segment": f"{_NS}/./web",
    "dot account": f"{_NS}/.",
    "dot-dot segment": f"{_NS}/admin/../web",
    "dot-dot account": f"{_NS}/..",
    "no account": "spiffe://cluster.local/ns/shop",
    "no sa word": "spiffe://cluster.local/ns/shop/web",
    "other words": "spiffe://cluster.local/namespace/shop/serviceaccount/web",
    "upper-case words": "spiffe://cluster.local/NS/shop/SA/web",
    "swapped words": "spiffe://cluster.local/sa/web/ns/shop",
    "one segment more": f"{_NS}/web/x",
    "upper-case namespace": "spiffe://cluster.local/ns/Shop/sa/web",
    "namespace with a dot": "spiffe://cluster.local/ns/sh.op/sa/web",
    "namespace with underscore": "spiffe://cluster.local/ns/sh_op/sa/web",
    "long namespace": f"spiffe://cluster.local/ns/{'a' * 64}/sa/web",
    "upper-case account": f"{_NS}/Web",
    "account with leading dash": f"{_NS}/-web",
    "account with trailing dash": f"{_NS}/web-",
    "account with two dots": f"{_NS}/a..b",
    "long account": f"{_NS}/{'a' * 254}",
    "wildcard": f"{_NS}/*",
    "backslash": f"{_NS}\\web",
    "2,049 bytes": f"{_NS}/{'a' * (2049 - len(_NS) - 1)}",
    "NUL at the end": f"{_NS}/web\x00",
    "NUL within": f"{_NS}/web\x00.evil",
    "NUL in trust domain": "spiffe://cluster.local\x00.evil/ns/shop/sa/web",
    "CR": f"{_NS}/web\r",
    "LF": f"{_NS}/web\n",
    "CR LF header": f"{_NS}/web\r\nx-user: root",
    "tab": f"{_NS}/web\t",
    "DEL": f"{_NS}/web\x7f",
}

# SEQUENCE { [6] WEB, [6] with a byte that ASCII does not have }, and the same cut short.
_LATIN = WEB[:-1].encode() + b"\xe9"
_RAW_LATIN = bytes([0x30, len(_LATIN) + 2, 0x86, len(_LATIN)]) + _LATIN

BAD: dict[str, Callable[[], Pair]] = {
    **{name: partial(_uri, uri) for name, uri in BAD_URIS.items()},
    "no alternative name": partial(_leaf, names=False),
    "no URI": partial(_leaf, uris=()),
    "two URIs": partial(_leaf, uris=(WEB, "spiffe://cluster.local/ns/shop/sa/admin")),
    "one URI twice": partial(_leaf, uris=(WEB, WEB)),
    "second URI of another scheme": partial(_leaf, uris=(WEB, "http://web")),
    "identity as an e-mail only": partial(_leaf, uris=(), emails=("web@cluster.local",)),
    "NUL in a DNS name": partial(_leaf, dns=("web-0\x00.shop.pod",)),
    "CR LF in a DNS name": partial(_leaf, dns=("web-0.shop.pod\r\n",)),
    "LF in an e-mail": partial(_leaf, emails=("a@b\n",)),
    "pod of another namespace": partial(_leaf, dns=("web-0.bank.pod",)),
    "pod without namespace": partial(_leaf, dns=("web-0.pod",)),
    "pod without name": partial(_leaf, dns=(".shop.pod",)),
    "upper-case pod": partial(_leaf, dns=("Web-0.shop.pod",)),
    "non-ASCII name": partial(_leaf, raw_names=_RAW_LATIN),
    "names cut short": partial(_leaf, raw_names=_RAW_LATIN[:-4]),
    "CA": partial(_leaf, ca=True),
    "no key usage": partial(_leaf, usage=None),
    "key usage not critical": partial(_leaf, usage_critical=False),
    "no digitalSignature": partial(_leaf, usage=("key_encipherment",)),
    "keyCertSign": partial(_leaf, usage=("digital_signature", "key_cert_sign")),
    "cRLSign": partial(_leaf, usage=("digital_signature", "crl_sign")),
    "no extended key usage": partial(_leaf, extended=None),
    "server only": partial(_leaf, extended=BOTH[:1]),
    "client only": partial(_leaf, extended=BOTH[1:]),
    "code signing": partial(_leaf, extended=(ExtendedKeyUsageOID.CODE_SIGNING,)),
    "any usage": partial(_leaf, extended=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)),
    "unknown critical extension": partial(
        _leaf, more=((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00"), True),)
    ),
    "expired": partial(_leaf, begin=timedelta(hours=-2), end=timedelta(seconds=-2)),
    "not yet valid": partial(_leaf, begin=timedelta(minutes=5)),
    "P-384": partial(_leaf, new_key=lambda: ec.generate_private_key(ec.SECP384R1())),
    "RSA": partial(_leaf, new_key=lambda: rsa.generate_private_key(65537, 2048)),
}

UNCHAINED: dict[str, Callable[[], Pair]] = {
    "other root": _of_a_stranger,
    "other root of the same name": _of_a_namesake,
    "other root of the same name and key identifier": partial(_of_a_namesake, same_key_id=True),
    "self-signed": _self_signed,
    "self-signed in the root's name": lambda: _self_signed(trusted().certificate.subject),
    "our root's name under a stranger's signature": _signed_by_nobody,
    "another identity than was signed": lambda: _changed(lambda data: data.replace(b"/sa/web", b"/sa/wab")),
    "damaged signature": lambda: _changed(lambda data: data[:-1] + bytes([data[-1] ^ 1])),
    "a stranger's before a good one": _before_a_good_one,
    "signed by a leaf": _below_a_leaf,
    "signed by an intermediate the root does not allow": _below_an_intermediate,
}
"""Good in themselves, but their chain does not hold: only TLS can tell."""
