"""Header fields, a line at a time: checked, told apart, written anew. Pure.

What a field line means depends on nothing but itself, so the lines that were
read are remembered: clients and applications repeat most of theirs. Strict, as RFC 9112 §5 has it:
no space before the colon, no folded lines, no control characters.
"""

from __future__ import annotations

import re
from typing import Final, TypeVar

from proxy.lookalike import folded

# Fields of one head; more is an attack or a mistake.
MAX_HEADERS: Final = 256

# How a field is treated: passed on, dropped, or looked at for framing and routing.
PLAIN: Final = 0
DROP: Final = 1
CONNECTION: Final = 2
LENGTH: Final = 3
ENCODING: Final = 4
HOST: Final = 5
UPGRADE: Final = 6
EXPECT: Final = 7
OURS: Final = 8
TE: Final = 9
GRPC_STATUS: Final = 10
_SPECIAL: Final = {
    b"connection": CONNECTION,
    b"keep-alive": DROP,
    b"proxy-connection": DROP,
    b"proxy-authenticate": DROP,
    b"proxy-authorization": DROP,
    b"http2-settings": DROP,
    b"trailer": PLAIN,
    b"te": TE,
    b"upgrade": UPGRADE,
    b"content-length": LENGTH,
    b"transfer-encoding": ENCODING,
    b"host": HOST,
    b"expect": EXPECT,
    # Whose request it is says the caller's certificate; not even a peer sidecar may write it.
    b"smi-mesh-client-id": DROP,
}
# Headers that ``Connection: <name>`` must not delete: they frame the message or say whose it is.
_KEPT: Final = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"expect", b"cookie", b"authorization", b"close"}
)
# What is in the name of a header that may hold a secret: its lines are not remembered.
_SECRET: Final = re.compile(rb"auth|cookie|key|passw|secret|session|signature|token")

# Possessive: spaces are in both parts of a value, and no line may cost more than to read it once.
_LINE: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*+([^\x00-\x08\x0a-\x1f\x7f]*+)")

# Lines seen, names with their treatment, values of Connection; bounded in number and length, for clients choose them.
_SEEN: Final[dict[bytes, Field]] = {}
_SEEN_MAX: Final = 1024
_SEEN_BYTES: Final = 192
_TREATMENTS: Final[dict[bytes, int]] = {}
_TREATMENTS_MAX: Final = 1024
_OPTIONS: Final[dict[bytes, Options]] = {}
_OPTIONS_MAX: Final = 64
# Digits of the largest length that is taken (2**63 - 1).
_LENGTH_DIGITS: Final = 19


T = TypeVar("T")


class BadField(Exception):
    """A line that is no header field."""


class Field:
    """One field. ``kind`` is one of this module's constants, ``name`` in lower case, ``line`` as it goes out.

    ``length``: the value of a Content-Length, -1 where it is none.
    """

    __slots__ = ("kind", "length", "line", "name", "value")

    def __init__(self, kind: int, name: bytes, value: bytes, line: bytes) -> None:
        self.kind = kind
        self.name = name
        self.value = value
        self.line = line
        self.length = -1
        if kind == LENGTH and value.isdigit() and len(value) <= _LENGTH_DIGITS and not int(value) >> 63:
            self.length = int(value)
            self.line = b"content-length: %d\r\n" % self.length


class Options:
    """What a Connection header says. ``named`` are the headers that it deletes, in lower case."""

    __slots__ = ("close", "keep_alive", "named", "upgrade")

    def __init__(self, value: bytes) -> None:
        options = {option.strip(b" \t") for option in value.lower().split(b",")}
        self.close = b"close" in options
        self.keep_alive = b"keep-alive" in options
        self.upgrade = b"upgrade" in options
        # RFC 9110 §7.6.1, but none that carries meaning for policy.
        options -= _KEPT | {b"keep-alive", b"upgrade", b""}
        self.named = frozenset(option for option in options if not option.startswith(b"smi-mesh-"))

    def kept(self, lines: list[bytes]) -> list[bytes]:
        """``lines`` without the headers that are named."""
        named = self.named
        return [line for line in lines if line.partition(b":")[0].lower() not in named] if named else lines


def connection(value: bytes) -> Options:
    """Read the value of Connection."""
    known = _OPTIONS.get(value)
    if known is None:
        known = Options(value)
        remember(_OPTIONS, value, known, most=_OPTIONS_MAX, longest=_SEEN_BYTES)
    return known


def remember(memory: dict[bytes, T], key: bytes, value: T, *, most: int, longest: int) -> None:
    """Note what ``key`` means, unless it has more than ``longest`` bytes; a memory of ``most`` begins anew."""
    if len(key) <= longest:
        if len(memory) >= most:
            memory.clear()
        memory[key] = value


def field(line: bytes) -> Field:
    """Read a line without its end. Raises ``BadField``."""
    known = _SEEN.get(line)
    return known if known is not None else _read(line)


def _read(line: bytes) -> Field:
    matched = _LINE.fullmatch(line)
    if matched is None:
        raise BadField
    sent, value = matched.groups()
    value = value.rstrip(b" \t")
    name = sent.lower()
    known = Field(_treatment(sent, name), name, value, b"".join((sent, b": ", value, b"\r\n")))
    if _SECRET.search(name) is None:
        remember(_SEEN, line, known, most=_SEEN_MAX, longest=_SEEN_BYTES)
    return known


def _treatment(sent: bytes, name: bytes) -> int:
    """How the header ``sent`` is treated; ``name`` is the same in lower case."""
    known = _TREATMENTS.get(sent)
    if known is not None:
        return known
    plain = folded(name)
    if name in _SPECIAL:
        kind = _SPECIAL[name]
    elif plain in _SPECIAL:
        kind = DROP
    elif plain.startswith(b"smi-mesh-"):
        kind = OURS if plain == name else DROP
    elif name == b"grpc-status":
        kind = GRPC_STATUS
    else:
        kind = PLAIN
    remember(_TREATMENTS, sent, kind, most=_TREATMENTS_MAX, longest=_SEEN_BYTES)
    return kind


def trailer_lines(block: bytes) -> list[bytes]:
    """The trailer fields of a chunked body that may be passed on, as lines; framing and routing never.

    ``block`` is the section without its empty line. Raises ``ValueError`` when it is malformed.
    """
    kept: list[bytes] = []
    for line in block.split(b"\r\n")[:-1]:
        try:
            one = field(line)
        except BadField:
            raise ValueError("malformed trailer") from None
        if one.kind in (PLAIN, GRPC_STATUS) and one.name not in _KEPT and one.name != b"trailer":
            kept.append(one.line)
    return kept
