"""What an X.509 certificate says, as far as who somebody is depends on it (RFC 5280).

This is a reader, no judge: that an issuer we trust has signed these very bytes is proved by TLS before, what a
certificate must say is up to ``proxy.contract.spiffe`` and ``proxy.contract.bundle``. It is strict about the form of
all that is read (``proxy.contract.der``), and holds nothing of what is not.

Why not by the library that signs them: that takes a seventh of an idle sidecar's memory, for certificates that it sees
a handful of in a day. The tests hold this reader against it, certificate by certificate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from proxy.contract import der
from proxy.contract.der import Malformed, Reader

SUBJECT_KEY_IDENTIFIER: Final = b"\x55\x1d\x0e"
KEY_USAGE: Final = b"\x55\x1d\x0f"
SUBJECT_ALTERNATIVE_NAME: Final = b"\x55\x1d\x11"
BASIC_CONSTRAINTS: Final = b"\x55\x1d\x13"
AUTHORITY_KEY_IDENTIFIER: Final = b"\x55\x1d\x23"
EXTENDED_KEY_USAGE: Final = b"\x55\x1d\x25"
"""2.5.29.14, .15, .17, .19, .35, .37 (RFC 5280 4.2.1)."""

SERVER_AUTH: Final = b"\x2b\x06\x01\x05\x05\x07\x03\x01"
CLIENT_AUTH: Final = b"\x2b\x06\x01\x05\x05\x07\x03\x02"
"""1.3.6.1.5.5.7.3.1 and .2 (RFC 5280 4.2.1.12)."""

_EMAIL, _DNS_NAME, _URI = 0x81, 0x82, 0x86
"""Tags of a GeneralName (RFC 5280 4.2.1.6)."""

# SEQUENCE { id-ecPublicKey, secp256r1 } (RFC 5480 2.1.1); 4 stands before both coordinates of a point (2.2).
_P256 = bytes.fromhex("06072a8648ce3d020106082a8648ce3d030107")
_P256_POINT = 65
_UNCOMPRESSED = 4

_VERSION_3 = b"\x02\x01\x02"
_FIRST_GENERALIZED_YEAR = 2050

# Strings whose characters have several bytes; all others are no longer than they are.
_WIDE = {0x1C: "utf-32-be", 0x1E: "utf-16-be"}


class Extension(NamedTuple):
    critical: bool
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """``p256``: its key is one for ECDSA on P-256. ``extensions`` by the content of their OBJECT IDENTIFIER."""

    p256: bool
    not_before: datetime
    expires: datetime
    extensions: Mapping[bytes, Extension]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUsage:
    """What the key may do (RFC 5280 4.2.1.3)."""

    digital_signature: bool
    key_cert_sign: bool
    crl_sign: bool


class Names(NamedTuple):
    """Those of an alternative name's names that are text."""

    uris: tuple[str, ...]
    dns_names: tuple[str, ...]
    emails: tuple[str, ...]


def read_certificate(data: bytes) -> Certificate:
    """A certificate of version 3 (RFC 5280 4.1). Raises ``Malformed``."""
    whole = Reader(der.only(der.SEQUENCE, data))
    signed = Reader(whole.read(der.SEQUENCE))
    outer = whole.read(der.SEQUENCE)
    der.bits(whole.read(der.BIT_STRING))
    whole.end()

    if signed.read(0xA0) != _VERSION_3:
        raise Malformed("another version than 3")
    der.integer(signed.read(der.INTEGER))
    if signed.read(der.SEQUENCE) != outer:
        raise Malformed("two signature algorithms")  # RFC 5280 4.1.1.2
    _check_algorithm(outer)
    _check_name(signed.read(der.SEQUENCE))
    validity = Reader(signed.read(der.SEQUENCE))
    not_before, expires = _time(*validity.read_any()), _time(*validity.read_any())
    validity.end()
    _check_name(signed.read(der.SEQUENCE))
    p256 = _is_p256(signed.read(der.SEQUENCE))
    for unique_identifier in (0x81, 0x82):
        value = signed.read_optional(unique_identifier)
        if value is not None:
            der.bits(value)
    extensions = _extensions(der.only(der.SEQUENCE, signed.read(0xA3)))
    signed.end()
    return Certificate(p256=p256, not_before=not_before, expires=expires, extensions=extensions)


def is_ca(extension: Extension) -> bool:
    """What basic constraints say (RFC 5280 4.2.1.9). Raises ``Malformed``."""
    constraints = Reader(der.only(der.SEQUENCE, extension.value))
    ca = constraints.read_optional(der.BOOLEAN)
    if ca == b"\x00":
        raise Malformed("a default written out")
    length = constraints.read_optional(der.INTEGER)
    if length is not None and (der.integer(length)[0] & 0x80 or ca is None):
        raise Malformed("a number of CAs that is negative, or below none")
    constraints.end()
    return ca is not None and der.is_true(ca)


def key_usage(extension: Extension) -> KeyUsage:
    """Raises ``Malformed``."""
    named, unused = der.bits(der.only(der.BIT_STRING, extension.value))
    # Bits that are not set are left out at the end (X.690 11.2.2).
    if named and not named[-1] & (1 << unused):
        raise Malformed("a list of bits that ends in one that is not set")
    first, second = (named + b"\x00\x00")[:2]
    if (first & 0x01 or second & 0x80) and not first & 0x08:
        raise Malformed("encipherOnly or decipherOnly without keyAgreement")
    return KeyUsage(
        digital_signature=bool(first & 0x80), key_cert_sign=bool(first & 0x04), crl_sign=bool(first & 0x02)
    )  # fmt: skip


def extended_key_usage(extension: Extension) -> frozenset[bytes]:
    """The purposes' OBJECT IDENTIFIERs. Raises ``Malformed``."""
    found = set()
    for tag, content in der.each(der.only(der.SEQUENCE, extension.value)):
        if tag != der.OBJECT_IDENTIFIER:
            raise Malformed("a purpose that is none")
        found.add(der.object_identifier(content))
    return frozenset(found)


def alternative_names(extension: Extension) -> Names:
    """Raises ``Malformed``, also for kinds of names that nothing can be said of (x400Address, ediPartyName)."""
    return _general_names(der.only(der.SEQUENCE, extension.value))


def authority_key_identifier(extension: Extension) -> bytes:
    """The key identifier of who signed, empty where it is not said (RFC 5280 4.2.1.1). Raises ``Malformed``."""
    parts = Reader(der.only(der.SEQUENCE, extension.value))
    identifier, issuer, serial = (parts.read_optional(tag) for tag in (0x80, 0xA1, 0x82))
    parts.end()
    if issuer is not None and serial is not None:
        _general_names(issuer)
        der.integer(serial)
    elif issuer is not serial:
        raise Malformed("half a name of an issuer's certificate")
    return identifier or b""


def check_subject_key_identifier(extension: Extension) -> None:
    """Raises ``Malformed``; what it says is of no use to us."""
    der.only(der.OCTET_STRING, extension.value)


def _time(tag: int, content: bytes) -> datetime:
    """UTCTime up to 2049, GeneralizedTime from 2050 on, to the second, in UTC (RFC 5280 4.1.2.5)."""
    text = content.decode("latin-1")
    if tag not in (der.UTC_TIME, der.GENERALIZED_TIME) or len(text) != (13 if tag == der.UTC_TIME else 15):
        raise Malformed("a time of another form")
    if not (content[:-1].isdigit() and text.endswith("Z")):
        raise Malformed("a time of another form")
    if tag == der.UTC_TIME:
        text = ("20" if text < "5" else "19") + text
    elif int(text[:4]) < _FIRST_GENERALIZED_YEAR:
        raise Malformed("a GeneralizedTime for a year that UTCTime has")
    month, day, hour, minute, second = (int(text[at : at + 2]) for at in range(4, 14, 2))
    try:
        return datetime(int(text[:4]), month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise Malformed("a time that there is not") from None


def _check_algorithm(content: bytes) -> None:
    """AlgorithmIdentifier (RFC 5280 4.1.1.2)."""
    parts = Reader(content)
    der.object_identifier(parts.read(der.OBJECT_IDENTIFIER))
    if parts.tag >= 0:
        parts.read_any()
    parts.end()


def _is_p256(content: bytes) -> bool:
    """SubjectPublicKeyInfo (RFC 5280 4.1.2.7). Whether the point is on the curve shows when the key is used."""
    info = Reader(content)
    algorithm = info.read(der.SEQUENCE)
    key, unused = der.bits(info.read(der.BIT_STRING))
    info.end()
    _check_algorithm(algorithm)
    if algorithm != _P256:
        return False
    if unused or len(key) != _P256_POINT or key[0] != _UNCOMPRESSED:
        raise Malformed("no point of P-256")
    return True


def _check_name(content: bytes) -> None:
    """Name: a SEQUENCE of SETs of pairs (RFC 5280 4.1.2.4). Empty for a workload (X509-SVID 4.1)."""
    if not content:
        return
    for tag, pairs in der.each(content):
        if tag != der.SET:
            raise Malformed("a name that is none")
        before = (0, b"")
        for pair in der.each(pairs):
            # In the order of their encodings (X.690 11.6): of those the length, which is in front, decides first.
            order = len(pair[1]), pair[1]
            if pair[0] != der.SEQUENCE or order < before:
                raise Malformed("a name that is none")
            before = order
            parts = Reader(pair[1])
            der.object_identifier(parts.read(der.OBJECT_IDENTIFIER))
            kind, value = parts.read_any()
            parts.end()
            if kind in _WIDE:
                _decoded(value, _WIDE[kind])


def _extensions(content: bytes) -> dict[bytes, Extension]:
    """RFC 5280 4.1 and 4.2: no extension twice."""
    found: dict[bytes, Extension] = {}
    for tag, one in der.each(content):
        if tag != der.SEQUENCE:
            raise Malformed("an extension that is none")
        parts = Reader(one)
        identifier = der.object_identifier(parts.read(der.OBJECT_IDENTIFIER))
        critical = parts.read_optional(der.BOOLEAN)
        if critical == b"\x00":
            raise Malformed("a default written out")
        value = parts.read(der.OCTET_STRING)
        parts.end()
        if identifier in found:
            raise Malformed("an extension twice")
        found[identifier] = Extension(critical is not None and der.is_true(critical), value)
    return found


def _general_names(content: bytes) -> Names:
    """GeneralNames (RFC 5280 4.2.1.6)."""
    found: dict[int, list[str]] = {_URI: [], _DNS_NAME: [], _EMAIL: []}
    for tag, value in der.each(content):
        match tag:
            case 0x81 | 0x82 | 0x86:
                found[tag].append(_decoded(value, "ascii"))
            case 0x87 if len(value) in (4, 16):
                pass
            case 0x88:
                der.object_identifier(value)
            case 0xA0:
                other = Reader(value)
                der.object_identifier(other.read(der.OBJECT_IDENTIFIER))
                if sum(1 for _ in der.each(other.read(0xA0))) != 1:
                    raise Malformed("a name that is none")
                other.end()
            case 0xA4:
                _check_name(der.only(der.SEQUENCE, value))
            case _:
                raise Malformed("a name of a kind that nothing can be said of")
    return Names(*(tuple(found[tag]) for tag in (_URI, _DNS_NAME, _EMAIL)))


def _decoded(value: bytes, encoding: str) -> str:
    try:
        return value.decode(encoding)
    except UnicodeDecodeError:
        raise Malformed("a character that there is not") from None
