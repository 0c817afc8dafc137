"""The sidecar's own reader of certificates: never more lenient than the library that signs them, and no stricter.

Of what it refuses and the library does not there is a list, ``UNDECIDED``. The other way round there are three things,
of which nothing depends: a key that is no point of its curve (with which nobody gets through a handshake), values of
distinguished names and of names that are no text, and what is wrong in an extension that is neither critical nor known
here (RFC 5280 4.2 lets it be ignored).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import forge
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID
from forge import BAD, TRUST_DOMAIN, WEB, Leaf
from hypothesis import given, settings
from hypothesis import strategies as st
from x509oracle import NotOnTheCurve, Read

from proxy.contract import certificate, der
from proxy.contract.der import Malformed
from proxy.contract.spiffe import Peer, PeerRejected, parse_certificate

_NOBODY = x509.Name([])
_SOMEBODY = x509.Name([
    x509.RelativeDistinguishedName([
        x509.NameAttribute(NameOID.COMMON_NAME, "ä"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "b"),
    ]),
    x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COUNTRY_NAME, "DE")]),
])  # fmt: skip
NAMES: tuple[x509.GeneralName, ...] = (
    x509.UniformResourceIdentifier(WEB),
    x509.DNSName("web-0.shop.pod"),
    x509.DNSName("*.example"),
    x509.RFC822Name("web@example"),
    x509.IPAddress(ipaddress.ip_address("10.0.0.1")),
    x509.IPAddress(ipaddress.ip_address("fd00::1")),
    x509.RegisteredID(x509.ObjectIdentifier("1.3.6.1.4.1.99999.7")),
    x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.99999.7"), b"\x0c\x01a"),
    x509.DirectoryName(_SOMEBODY),
)


def _with(*more: x509.ExtensionType) -> bytes:
    return forge.der(forge.trusted().sign(Leaf(more=tuple((extension, False) for extension in more))))


def _built(change: Callable[[x509.CertificateBuilder], x509.CertificateBuilder], subject: x509.Name = _NOBODY) -> bytes:
    """A certificate with the least that it must have, and what ``change`` does to it."""
    key = ec.generate_private_key(ec.SECP256R1())
    least = x509.CertificateBuilder(
        _NOBODY, subject, key.public_key(), 1, forge.now() - timedelta(minutes=1), forge.now() + timedelta(hours=1)
    )
    least = least.add_extension(forge._usage(("digital_signature",)), critical=True)
    least = least.add_extension(x509.ExtendedKeyUsage(list(forge.BOTH)), critical=False)
    return change(least).sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


_ALL_NAMES = x509.SubjectAlternativeName(NAMES)
_ONE_NAME = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(WEB)])
_AUTHORITY = x509.UniformResourceIdentifier("http://ca.example/ca.crt")

GOOD: dict[str, Callable[[], bytes]] = {
    "as we sign them": lambda: forge.der(forge.good()),
    "the least there must be": lambda: _built(lambda it: it.add_extension(_ONE_NAME, critical=False)),
    "names of all kinds": lambda: _built(lambda it: it.add_extension(_ALL_NAMES, critical=True)),
    "a subject": lambda: forge.der(forge.trusted().sign(Leaf(subject="web ä"))),
    "a subject of several": lambda: _built(lambda it: it.add_extension(_ONE_NAME, critical=True), _SOMEBODY),
    "beyond 2050": lambda: forge.der(forge.trusted().sign(Leaf(end=timedelta(days=365 * 40)))),
    "an issuer that has no key identifier": lambda: _built(
        lambda it: it.add_extension(_ONE_NAME, critical=True).add_extension(
            x509.AuthorityKeyIdentifier(None, [_AUTHORITY], 2**64), critical=False
        )
    ),
    "more usages": lambda: forge.der(
        forge.trusted().sign(Leaf(usage=("digital_signature", "key_agreement", "decipher_only")))
    ),
    "more purposes": lambda: forge.der(
        forge.trusted().sign(Leaf(extended=(*forge.BOTH, x509.ObjectIdentifier("1.3.6.1.4.1.99999.2147483648"))))
    ),
    "where to ask its issuer": lambda: _with(
        x509.AuthorityInformationAccess([
            x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, _AUTHORITY)
        ]),
        x509.CRLDistributionPoints([x509.DistributionPoint([_AUTHORITY], None, None, None)]),
        x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"anything"),
    ),
    "of another trust domain": lambda: forge.der(
        forge.trusted().sign(Leaf(uris=("spiffe://partner.example/billing/api",)))
    ),
}  # fmt: skip


READ = {
    certificate.SUBJECT_KEY_IDENTIFIER,
    certificate.KEY_USAGE,
    certificate.SUBJECT_ALTERNATIVE_NAME,
    certificate.BASIC_CONSTRAINTS,
    certificate.AUTHORITY_KEY_IDENTIFIER,
    certificate.EXTENDED_KEY_USAGE,
}


def _agree(data: bytes) -> Peer | None:
    """What both say of ``data``; fails where ours is the more lenient."""
    try:
        peer = parse_certificate(data, TRUST_DOMAIN)
    except PeerRejected:
        return None
    try:
        read = Read(data, TRUST_DOMAIN)
    except NotOnTheCurve:
        return peer
    except PeerRejected as error:
        if certificate.read_certificate(data).extensions.keys() - READ:
            return peer
        raise AssertionError(f"accepted, and the library says: {error}; {data.hex()}") from error
    assert (peer.identity, peer.not_before, peer.expires, peer.issuer) == (
        read.uri, read.not_before, read.expires, read.issuer
    )  # fmt: skip
    assert list(peer.pods) == [name for name in read.dns_names if name.endswith(".pod") and peer.namespace]
    return peer


@pytest.mark.parametrize("name", GOOD)
def test_whatever_a_good_one_has_beside_it_is_read_as_the_library_reads_it(name: str) -> None:
    assert _agree(GOOD[name]()) is not None


@pytest.mark.parametrize("name", BAD)
def test_a_bad_one_is_refused_by_both_for_what_it_says(name: str) -> None:
    """Time and whose trust domain it is are no matter of reading."""
    data = forge.der(BAD[name]())
    assert (_agree(data) is None) == (name not in {"expired", "not yet valid"} | _OF_OTHERS)


_OF_OTHERS = {"other trust domain", "subdomain of ours", "ours as a prefix", "trailing dot"}


def test_every_single_bit_and_every_length_of_a_good_one() -> None:
    data = forge.der(forge.good())
    for position in range(len(data)):
        assert _agree(data[:position]) is None
        for bit in range(8):
            _agree(data[:position] + bytes([data[position] ^ (1 << bit)]) + data[position + 1 :])
    assert _agree(data + b"\x00") is None


# -- made by hand ------------------------------------------------------------------------------------


def tlv(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(length)]) + length + content


def seq(*contents: bytes) -> bytes:
    return tlv(0x30, *contents)


def extension(identifier: bytes, value: bytes, critical: bytes = b"") -> bytes:
    return seq(tlv(6, identifier), critical, tlv(4, value))


TRUE = b"\x01\x01\xff"
ECDSA = seq(bytes.fromhex("06082a8648ce3d040302"))
CURVE = seq(bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06082a8648ce3d030107"))
POINT = bytes.fromhex(
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
"""The generator of P-256 (SEC 2, 2.4.2)."""
UTC = tlv(0x17, b"200101000000Z")
LATER = tlv(0x18, b"20500101000000Z")
URI = tlv(0x86, WEB.encode())
USAGE = extension(certificate.KEY_USAGE, b"\x03\x02\x07\x80", TRUE)
PURPOSES = extension(
    certificate.EXTENDED_KEY_USAGE, seq(tlv(6, certificate.SERVER_AUTH), tlv(6, certificate.CLIENT_AUTH))
)
NAMED = extension(certificate.SUBJECT_ALTERNATIVE_NAME, seq(URI))


@dataclass(frozen=True, kw_only=True)
class Made:
    """A certificate in pieces, all of them elements; what is signed, and what is around it."""

    version: bytes = b"\xa0\x03\x02\x01\x02"
    serial: bytes = b"\x02\x01\x01"
    algorithm: bytes = ECDSA
    issuer: bytes = seq()
    validity: bytes = seq(UTC, LATER)
    subject: bytes = seq()
    key: bytes = seq(CURVE, tlv(3, b"\x00", POINT))
    beside: bytes = b""
    extensions: tuple[bytes, ...] = (USAGE, PURPOSES, NAMED)
    more: bytes = b""
    signed_with: bytes = ECDSA
    signature: bytes = tlv(3, b"\x00", b"signature")
    after: bytes = b""

    def der(self) -> bytes:
        signed = (self.version, self.serial, self.algorithm, self.issuer, self.validity, self.subject, self.key)
        extensions = tlv(0xA3, seq(*self.extensions)) if self.extensions else b""
        return seq(seq(*signed, self.beside, extensions, self.more), self.signed_with, self.signature, self.after)


def _named(*names: bytes) -> Made:
    return Made(extensions=(USAGE, PURPOSES, extension(certificate.SUBJECT_ALTERNATIVE_NAME, seq(*names))))


def _valid(begin: bytes, end: bytes = LATER) -> Made:
    return Made(validity=seq(begin, end))


def _used(usage: bytes) -> Made:
    return Made(extensions=(extension(certificate.KEY_USAGE, usage, TRUE), PURPOSES, NAMED))


def _purposed(purposes: bytes) -> Made:
    return Made(extensions=(USAGE, extension(certificate.EXTENDED_KEY_USAGE, purposes), NAMED))


def _beside(*more: bytes) -> Made:
    return Made(extensions=(USAGE, PURPOSES, NAMED, *more))


def _constrained(constraints: bytes) -> Made:
    return _beside(extension(certificate.BASIC_CONSTRAINTS, constraints, TRUE))


def _signed_by(identifier: bytes) -> Made:
    return _beside(extension(certificate.AUTHORITY_KEY_IDENTIFIER, identifier))


PAIR = seq(tlv(6, b"\x55\x04\x03"), tlv(0x0C, b"a"))
OTHER_PAIR = seq(tlv(6, b"\x55\x04\x03"), tlv(0x0C, b"b"))

FINE: dict[str, Made] = {
    "as it is": Made(),
    "a subject of two at one place": Made(subject=seq(tlv(0x31, PAIR, OTHER_PAIR))),
    "unique identifiers": Made(beside=tlv(0x81, b"\x00a") + tlv(0x82, b"\x00b")),
    "not a CA": _constrained(seq()),
    "the last second of UTCTime": _valid(tlv(0x17, b"491231235959Z")),
    "all that is read": _beside(
        extension(certificate.BASIC_CONSTRAINTS, seq(), TRUE),
        extension(certificate.AUTHORITY_KEY_IDENTIFIER, seq(tlv(0x80, b"a"), tlv(0xA1, URI), tlv(0x82, b"\x01"))),
        extension(certificate.SUBJECT_KEY_IDENTIFIER, tlv(4, b"b")),
    ),
    "names of text and addresses": _named(
        URI, tlv(0x81, b"web@example"), tlv(0x82, b"web-0.shop.pod"), tlv(0x87, bytes(4)), tlv(0x87, bytes(16))
    ),
    "of the last century": _valid(tlv(0x17, b"500101000000Z")),
    "a usage beyond the first byte": _used(b"\x03\x03\x07\x88\x80"),
}

_TWO = seq(ECDSA[2:], b"\x05\x00\x05\x00")
MALFORMED: dict[str, Made | bytes] = {
    "nothing": b"",
    "no content": seq(),
    "a length left open": b"\x30\x80" + Made().der()[4:] + b"\x00\x00",
    "a length in too many bytes": b"\x30\x83\x00" + Made().der()[2:],
    "a short length in the long form": _named(b"\x86\x81" + URI[1:]),
    "a tag of several bytes": _named(URI, b"\x9f\x01\x00"),
    "version 1": Made(version=b""),
    "version 1, written out": Made(version=b"\xa0\x03\x02\x01\x00"),
    "version 2": Made(version=b"\xa0\x03\x02\x01\x01"),
    "version 4": Made(version=b"\xa0\x03\x02\x01\x03"),
    "a version of two": Made(version=b"\xa0\x06\x02\x01\x02\x02\x01\x02"),
    "no serial number": Made(serial=b""),
    "an empty serial number": Made(serial=b"\x02\x00"),
    "a serial number with a zero in front": Made(serial=b"\x02\x02\x00\x01"),
    "a negative one with ones in front": Made(serial=b"\x02\x02\xff\x80"),
    "two signature algorithms": Made(signed_with=seq(bytes.fromhex("06082a8648ce3d040303"))),
    "no signature algorithm": Made(algorithm=seq(), signed_with=seq()),
    "two parameters": Made(algorithm=_TWO, signed_with=_TWO),
    "a name that is no sequence": Made(subject=tlv(0x31)),
    "a name of a sequence": Made(subject=seq(PAIR)),
    "a name of an empty set": Made(subject=seq(tlv(0x31))),
    "a name of a set out of order": Made(subject=seq(tlv(0x31, OTHER_PAIR, PAIR))),
    "a name without a value": Made(subject=seq(tlv(0x31, seq(tlv(6, b"\x55\x04\x03"))))),
    "half a character": Made(subject=seq(tlv(0x31, seq(tlv(6, b"\x55\x04\x03"), tlv(0x1E, b"\xd8\x00"))))),
    "one moment": Made(validity=seq(UTC)),
    "three moments": Made(validity=seq(UTC, LATER, LATER)),
    "no seconds": _valid(tlv(0x17, b"2001010000Z")),
    "an offset": _valid(tlv(0x17, b"200101000000+0100")),
    "no zone": _valid(tlv(0x17, b"2001010000000")),
    "a lower-case z": _valid(tlv(0x17, b"200101000000z")),
    "a month too many": _valid(tlv(0x17, b"201301000000Z")),
    "a leap second": _valid(tlv(0x17, b"161231235960Z")),
    "29 February 2021": _valid(tlv(0x17, b"210229000000Z")),
    "a sign for a digit": _valid(tlv(0x17, b"20010100000-Z")),
    "fractions of a second": _valid(UTC, tlv(0x18, b"20500101000000.5Z")),
    "a GeneralizedTime that UTCTime could say": _valid(tlv(0x18, b"20200101000000Z")),
    "the year 0": _valid(UTC, tlv(0x18, b"00000101000000Z")),
    "a time of another type": _valid(tlv(0x0C, b"200101000000Z")),
    "a point in few bytes": Made(key=seq(CURVE, tlv(3, b"\x00\x02", POINT[1:33]))),
    "a point of another form": Made(key=seq(CURVE, tlv(3, b"\x00\x06", POINT[1:]))),
    "a point cut short": Made(key=seq(CURVE, tlv(3, b"\x00", POINT[:-1]))),
    "a point and a byte": Made(key=seq(CURVE, tlv(3, b"\x00", POINT, b"\x00"))),
    "bits left over": Made(key=seq(CURVE, tlv(3, b"\x01", POINT))),
    "more than a key": Made(key=seq(CURVE, tlv(3, b"\x00", POINT), b"\x05\x00")),
    "no extensions": Made(extensions=()),
    "extensions that are none": Made(extensions=(b"",)),
    "extensions twice": Made(more=tlv(0xA3, seq(NAMED))),
    "an extension twice": _beside(NAMED),
    "an extension of a set": _beside(tlv(0x31, USAGE[2:])),
    "criticality written out though it is not": _beside(
        extension(certificate.BASIC_CONSTRAINTS, seq(), b"\x01\x01\x00")
    ),
    "criticality that is neither": _beside(extension(certificate.BASIC_CONSTRAINTS, seq(), b"\x01\x01\x01")),
    "an extension and more": _beside(seq(tlv(6, certificate.BASIC_CONSTRAINTS), tlv(4, seq()), b"\x05\x00")),
    "an extension's value and more": _used(b"\x03\x02\x07\x80\x00"),
    "an identifier with a zero in front": _beside(extension(b"\x2b\x80\x01", b"")),
    "an identifier cut short": _beside(extension(b"\x2b\x81", b"")),
    "no identifier": _beside(extension(b"", b"")),
    "not a CA, written out": _constrained(seq(b"\x01\x01\x00")),
    "neither a CA nor none": _constrained(seq(b"\x01\x01\x01")),
    "a negative length of paths": _constrained(seq(b"\x02\x01\xff")),
    "a length of paths from no CA": _constrained(seq(b"\x02\x01\x01")),
    "constraints and more": _constrained(seq(b"\x05\x00")),
    "bits that are not of the usage": _used(b"\x03\x02\x07\x81"),
    "a usage that ends in nothing": _used(b"\x03\x02\x06\x80"),
    "a usage with an empty byte": _used(b"\x03\x03\x00\x80\x00"),
    "a usage of more than a byte's bits": _used(b"\x03\x02\x08\x80"),
    "a usage without bits": _used(b"\x03\x01\x01"),
    "a usage that is undefined alone": _used(b"\x03\x02\x00\x81"),
    "another one": _used(b"\x03\x03\x07\x80\x80"),
    "an empty usage": _used(b"\x03\x00"),
    "no purposes": _purposed(seq()),
    "a purpose that is a string": _purposed(seq(tlv(6, certificate.SERVER_AUTH), tlv(4, certificate.CLIENT_AUTH))),
    "purposes and more": _purposed(seq(tlv(6, certificate.SERVER_AUTH), tlv(6, certificate.CLIENT_AUTH)) + b"\x05\x00"),
    "no names": _named(),
    "a name with a byte that is none": _named(URI, b"\x82\x01\xe9"),
    "a constructed URI": _named(tlv(0xA6, URI)),
    "an address of five bytes": _named(URI, b"\x87\x05\x0a\x00\x00\x01\x18"),
    "an X.400 address": _named(URI, b"\xa3\x00"),
    "an EDI party": _named(URI, b"\xa5\x00"),
    "a name that there is not": _named(URI, b"\x89\x00"),
    "another name without a value": _named(URI, tlv(0xA0, tlv(6, b"\x2a\x03"))),
    "another name of two": _named(URI, tlv(0xA0, tlv(6, b"\x2a\x03"), tlv(0xA0, b"\x05\x00\x05\x00"))),
    "a directory name that is none": _named(URI, tlv(0xA4, tlv(0x31))),
    "an issuer's key in a sequence": _signed_by(seq(tlv(4, b"a"))),
    "an issuer's serial number alone": _signed_by(seq(tlv(0x82, b"\x01"))),
    "an issuer's names alone": _signed_by(seq(tlv(0xA1, URI))),
    "an issuer's parts in disorder": _signed_by(seq(tlv(0x82, b"\x01"), tlv(0x80, b"a"))),
    "an issuer's empty serial number": _signed_by(seq(tlv(0xA1, URI), tlv(0x82))),
    "an own key in a sequence": _beside(extension(certificate.SUBJECT_KEY_IDENTIFIER, seq())),
    "no signature": Made(signature=b""),
    "a signature that is no bits": Made(signature=tlv(4, b"\x00signature")),
    "more than a certificate": Made(after=b"\x05\x00"),
    "a byte after the end": Made().der() + b"\x00",
}  # fmt: skip


@pytest.mark.parametrize("name", FINE)
def test_what_is_made_by_hand_is_fine(name: str) -> None:
    """So what is refused below is refused for the one thing in which it differs."""
    assert _agree(FINE[name].der()) is not None


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_not_der_or_no_certificate_is_unreadable(name: str) -> None:
    made = MALFORMED[name]
    with pytest.raises(PeerRejected, match="unreadable"):
        parse_certificate(made.der() if isinstance(made, Made) else made, TRUST_DOMAIN)


UNDECIDED = {
    "two signature algorithms",  # OpenSSL refuses it
    "a GeneralizedTime that UTCTime could say",
    "a point in few bytes",
    "a usage that ends in nothing",
    "a usage with an empty byte",
    "version 1",
    "a name of an empty set",
}
"""Refused though the library does not. RFC 5280 and X.690 forbid them all but the point (TLS 1.3 has no use for it)."""


@pytest.mark.parametrize("name", MALFORMED)
def test_what_the_library_reads_all_the_same_is_known(name: str) -> None:
    made = MALFORMED[name]
    try:
        Read(made.der() if isinstance(made, Made) else made, TRUST_DOMAIN)
    except PeerRejected:
        assert name not in UNDECIDED
    else:
        assert name in UNDECIDED


WHOLE = tuple(made.der() for name, made in FINE.items() if "subject" not in name)
_one = st.sampled_from(WHOLE)
_flips = st.tuples(st.integers(0, 10_000), st.integers(1, 255))


@settings(max_examples=500)
@given(_one, st.lists(_flips, min_size=1, max_size=3))
def test_a_damaged_one_is_never_accepted_where_the_library_refuses(whole: bytes, flips: list[tuple[int, int]]) -> None:
    data = bytearray(whole)
    for position, change in flips:
        data[position % len(data)] ^= change
    _agree(bytes(data))


@settings(max_examples=300)
@given(_one, st.integers(0, 10_000), st.binary(min_size=1, max_size=40))
def test_one_with_a_piece_exchanged_is_not_either(whole: bytes, begin: int, piece: bytes) -> None:
    begin %= len(whole)
    _agree(whole[:begin] + piece + whole[begin + len(piece) :])


@given(st.integers(0, 2), st.integers(0, 39), st.lists(st.integers(0, 2**70), max_size=6))
def test_an_object_identifier_is_written_as_people_do(first: int, second: int, arcs: list[int]) -> None:
    text = ".".join(map(str, (first, second, *arcs)))
    content = b"".join(_base_128(arc) for arc in (40 * first + second, *arcs))
    assert der.dotted(der.object_identifier(content)) == text


def _base_128(number: int) -> bytes:
    parts = [number & 0x7F]
    while number := number >> 7:
        parts.insert(0, 0x80 | number & 0x7F)
    return bytes(parts)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_malformed(data: bytes) -> None:
    reader = der.Reader(data)
    try:
        read = [reader.read_any()]
        while reader.tag >= 0:
            read.append(reader.read_any())
    except Malformed:
        return
    assert b"".join(tlv(tag, content) for tag, content in read) == data


def test_an_object_identifier_that_nobody_would_write_is_not_written_out() -> None:
    """Its number has more digits than Python turns into text."""
    assert der.dotted(b"\xff" * 60_000 + b"\x01") == f"0x{'ff' * 32}…"
