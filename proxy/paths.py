"""The one canonical form of a request path, which policy matches and which is then forwarded.

A path that means one thing to the policy and another to the application is a
way around the policy, so there is one normalisation, done once (RFC 3986
§6.2.2 and §5.2.4): escapes of unreserved characters are decoded, the others
put in upper case, repeated slashes merged, dot segments removed. What cannot
be made unambiguous is named ``ambiguous`` and refused where a policy looks at paths.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

# Segments that do not begin with a dot, made of characters that stand for themselves: most paths, untouched.
_PLAIN: Final = re.compile(rb"(?:/(?!\.)[A-Za-z0-9\-._~!$&'()*+,=:@|]+)*/?")
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})?")
_SLASHES: Final = re.compile(rb"//+")
# `..%3B`, `..%20`: what is a dot segment to an application that decodes first and then cuts parameters or spaces off.
_VEILED_DOTS: Final = re.compile(rb"/\.\.?%[2-7]")
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# Escapes that applications disagree about: separators, and controls that end strings or lines.
_AMBIGUOUS_OCTETS: Final = frozenset(b"/\\") | frozenset(range(0x20)) | {0x7F}


@dataclass(frozen=True, slots=True)
class CanonicalPath:
    """``path`` without query; ``ambiguous`` says why it may mean different things to different readers."""

    path: bytes
    ambiguous: str = ""


def canonical_path(path: bytes) -> CanonicalPath:
    """The canonical form of ``path`` (the part of a request target before ``?``)."""
    if _PLAIN.fullmatch(path) is not None:
        return CanonicalPath(path or b"/")
    if not path.startswith(b"/"):
        return CanonicalPath(path)  # asterisk-form: OPTIONS * speaks of no path at all
    ambiguous = _ambiguity(path)
    decoded = _ESCAPE.sub(_normal_escape, path)
    escaped = b"".join(b"%%%02X" % octet if octet >= 0x80 else bytes((octet,)) for octet in decoded)
    if not ambiguous and _VEILED_DOTS.search(escaped) is not None:
        ambiguous = "dot segment with a percent-escape"
    return CanonicalPath(_without_dots(_SLASHES.sub(b"/", escaped)), ambiguous)


def _ambiguity(path: bytes) -> str:
    if b";" in path:
        return "path parameter (;)"
    if b"\\" in path:
        return "backslash"
    octets = bytearray()
    position = 0
    for escape in _ESCAPE.finditer(path):
        if escape[1] is None:
            return "malformed percent-escape"
        octet = int(escape[1], 16)
        if octet in _AMBIGUOUS_OCTETS:
            return f"percent-escape %{octet:02X}"
        octets += path[position : escape.start()]
        octets.append(octet)
        position = escape.end()
    octets += path[position:]
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return "not UTF-8 (or overlong)"
    return ""


def _normal_escape(escape: re.Match[bytes]) -> bytes:
    if escape[1] is None:
        return b"%"
    octet = int(escape[1], 16)
    return bytes((octet,)) if octet in _UNRESERVED else b"%" + escape[1].upper()


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
