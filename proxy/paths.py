"""The one canonical form of a request path, which policy matches and which is then forwarded.

A path that means one thing to the policy and another to the application is a
way around the policy, so there is one normalisation, done once (RFC 3986
§6.2.2 and §5.2.4): escapes of unreserved characters are decoded, the others
put in upper case, repeated slashes merged, dot segments removed. What cannot
be made unambiguous is named ``ambiguous`` and refused where a policy looks at paths.
"""

from __future__ import annotations

import re
from typing import Final

# Segments that do not begin with a dot, made of characters that stand for themselves: most paths, untouched.
_PLAIN: Final = re.compile(rb"(?:/(?!\.)[A-Za-z0-9\-._~!$&'()*+,=:@|]+)*/?")
_SLASHES: Final = re.compile(rb"//+")
# `..%3B`, `..%20`: what is a dot segment to an application that decodes first and then cuts parameters or spaces off.
_VEILED_DOTS: Final = re.compile(rb"/\.\.?%[2-7]")
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# Escapes that applications disagree about: separators, and controls that end strings or lines.
_AMBIGUOUS_OCTETS: Final = frozenset(b"/\\") | frozenset(range(0x20)) | {0x7F}
# What follows a % → the octet that is meant. Tables, because a long path may be nothing but escapes.
_HEX: Final = b"0123456789ABCDEFabcdef"
_OCTET: Final = {bytes((high, low)): bytes((int(bytes((high, low)), 16),)) for high in _HEX for low in _HEX}
_CANONICAL: Final = {
    digits: octet if octet[0] in _UNRESERVED else b"%" + digits.upper() for digits, octet in _OCTET.items()
}
_UNREADABLE: Final = {
    digits: f"percent-escape %{octet[0]:02X}" for digits, octet in _OCTET.items() if octet[0] in _AMBIGUOUS_OCTETS
}
_RAW_OCTETS: Final = {octet: f"%{octet:02X}" for octet in range(0x80, 0x100)}


class CanonicalPath:
    """``path`` without query; ``ambiguous`` says why it may mean different things to different readers."""

    __slots__ = ("ambiguous", "path")

    def __init__(self, path: bytes, ambiguous: str = "") -> None:
        self.path = path
        self.ambiguous = ambiguous


def canonical_path(path: bytes) -> CanonicalPath:
    """The canonical form of ``path`` (the part of a request target before ``?``)."""
    if _PLAIN.fullmatch(path) is not None:
        return CanonicalPath(path or b"/")
    if not path.startswith(b"/"):
        return CanonicalPath(path)  # asterisk-form: OPTIONS * speaks of no path at all
    first, *escapes = path.split(b"%")
    ambiguous = _ambiguity(path, first, escapes)
    decoded = first + b"".join([_CANONICAL.get(part[:2], b"%" + part[:2]) + part[2:] for part in escapes])
    if not decoded.isascii():
        decoded = decoded.decode("latin-1").translate(_RAW_OCTETS).encode()
    if not ambiguous and _VEILED_DOTS.search(decoded) is not None:
        ambiguous = "dot segment with a percent-escape"
    return CanonicalPath(_without_dots(_SLASHES.sub(b"/", decoded)), ambiguous)


def _ambiguity(path: bytes, first: bytes, escapes: list[bytes]) -> str:
    if b";" in path:
        return "path parameter (;)"
    if b"\\" in path:
        return "backslash"
    distinct = {part[:2] for part in escapes}
    for digits in distinct:
        if digits not in _OCTET:
            return "malformed percent-escape"
        if digits in _UNREADABLE:
            return _UNREADABLE[digits]
    if path.isascii() and all(_OCTET[digits].isascii() for digits in distinct):
        return ""
    octets = first + b"".join([_OCTET[part[:2]] + part[2:] for part in escapes])
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return "not UTF-8 (or overlong)"
    return ""


def _without_dots(path: bytes) -> bytes:
    """RFC 3986 §5.2.4 on a path without empty segments."""
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    for segment in segments[:-1]:
        if segment == b"..":
            if kept:
                kept.pop()
        elif segment != b".":
            kept.append(segment)
    last = segments[-1]
    if last in (b".", b".."):
        if last == b".." and kept:
            kept.pop()
        last = b""
    kept.append(last)
    return b"/" + b"/".join(kept)
