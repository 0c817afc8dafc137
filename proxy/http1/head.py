"""Message heads: aiohttp's C parser reads them, we check what it lets through and write them anew.

The parser sees heads only (``response_with_body=False``), one block that ends
in an empty line at a time; bodies are framed by ``proxy.http1.body``. Two
reasons: aiohttp's parser carries the last trailer of a chunked message over
into the headers of the next message on the connection, which would let a
client write headers into somebody else's request on a shared connection, and
it gives no access to trailers, which have to arrive at the other end. Heads
alone also need no second parser for answers to HEAD. (Its types are those of
the pure-Python parser; what the C parser gives is ``Any`` here.)

Rules: RFC 9112 (syntax, framing), RFC 9110 §7.6.1 (hop-by-hop).
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final, NoReturn, cast

from aiohttp import http_exceptions
from aiohttp.http_parser import HttpRequestParser

from proxy.errors import BadRequest, Reason, SettingsError
from proxy.http1.repeated import unveil, veil
from proxy.lookalike import Guard, folded

# Bytes. Longer targets than 8,000 must be served (RFC 9112 §3 recommends that as the least).
MAX_TARGET: Final = 16 * 1024
# Bytes of a whole head: room for large cookies, and a bound on what an unfinished head may hold.
MAX_HEAD: Final = 64 * 1024
MAX_HEADERS: Final = 256

# How a header is treated: passed on, dropped, or looked at for framing and routing.
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
BROKEN: Final = 10
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
_KEPT: Final = frozenset({b"host", b"content-length", b"transfer-encoding", b"cookie", b"authorization", b"close"})
# Names seen, with their treatment; bounded because clients choose them.
TREATMENT: Final[dict[bytes, int]] = {}
_TREATMENTS_MAX: Final = 4096

_REQUEST_LINE: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21\x22\x24-\x7e\x80-\xff]+) HTTP/(\d\.\d)\r\n")
_AUTHORITY: Final = re.compile(rb"(?:[A-Za-z0-9\-._~]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5})?)?")
# Authorities that have been checked; clients repeat a few.
_SOUND_AUTHORITIES: Final[set[bytes]] = set()
_AUTHORITIES_MAX: Final = 1024
_ABSOLUTE: Final = re.compile(rb"([A-Za-z][A-Za-z0-9+\-.]*)://([^/?#]*)([/?].*)?", re.DOTALL)
_CONTROLS: Final = bytes(set(range(32)) - {9, 10, 13}) + b"\x7f"
_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2


class _NoPayload:
    """The flow control a parser wants from its protocol; heads have no payload to hold back."""

    _reading_paused = False

    def pause_reading(self) -> None: ...

    def resume_reading(self, resume_parser: bool = True) -> None: ...


NO_PAYLOAD: Final = _NoPayload()


def require_c_parser() -> None:
    """Raise ``SettingsError`` unless aiohttp has its C parser: the pure-Python one is slower and laxer."""
    if HttpRequestParser.__module__ != "aiohttp._http_parser":
        raise SettingsError("aiohttp was installed without its C parser; install a wheel for this platform")


def treatment(name: bytes) -> int:
    """How the header ``name`` (as sent) is treated: one of the constants of this module."""
    known = TREATMENT.get(name)
    if known is not None:
        return known
    lower = name.lower()
    plain = folded(name)
    if _TOKEN.fullmatch(name) is None:
        kind = BROKEN  # aiohttp's parser lets "Content-Length :" through as a name of its own
    elif lower in _SPECIAL:
        kind = _SPECIAL[lower]
    elif plain in _SPECIAL:
        kind = DROP
    elif plain.startswith(b"smi-mesh-"):
        kind = OURS if plain == lower else DROP
    else:
        kind = PLAIN
    if len(TREATMENT) >= _TREATMENTS_MAX:
        TREATMENT.clear()
    TREATMENT[name] = kind
    return kind


class RequestHead:
    """One request's head, checked; ``lines`` are the end-to-end headers as they go out.

    ``length`` is the body's length in bytes, or ``CHUNKED``. ``target`` is in
    origin-form (or ``*``), ``authority`` from the absolute form or Host.
    ``guard``: headers that policy looks at, not to be written by the trailers.
    ``alone``: the upstream's connection must not carry another request.
    """

    __slots__ = (
        "absolute",
        "alone",
        "authority",
        "expect",
        "guard",
        "keep_alive",
        "length",
        "lines",
        "method",
        "old",
        "policy_path",
        "raw_headers",
        "target",
        "upgrade",
    )

    def __init__(self, method: str, target: bytes, raw_headers: tuple[tuple[bytes, bytes], ...]) -> None:
        self.method = method
        self.target = target
        self.raw_headers = raw_headers
        self.authority = b""
        self.absolute = False
        self.alone = False
        self.expect = False
        self.guard: Guard | None = None
        self.keep_alive = True
        self.length = 0
        self.lines: list[bytes] = []
        self.old = False
        self.policy_path = ""
        self.upgrade = b""

    def header(self, name: str) -> str | None:
        """A header's value for policy: any case, repeated ones joined; ``host`` is the authority.

        Policy sees what goes on to the application: no header that is stripped on the way counts.
        """
        if name == "host":
            return self.authority.decode("latin-1")
        wanted = name.encode("latin-1", "replace")
        if wanted == b"upgrade":
            return self.upgrade.decode("latin-1") or None
        pairs = [line[:-2].split(b": ", 1) for line in self.lines]
        values = [pair[1] for pair in pairs if pair[0].lower() == wanted]
        return b", ".join(values).decode("utf-8", "replace") if values else None

    @property
    def path(self) -> bytes:
        """The target without query, as sent."""
        return self.target.partition(b"?")[0]


class RequestHeads:
    """The request parser of one connection."""

    __slots__ = ("_loop", "_parser", "_trusted")

    def __init__(self, loop: asyncio.AbstractEventLoop, *, trusted: bool) -> None:
        """``trusted``: the other end is a peer sidecar, whose ``smi-mesh-*`` headers pass on."""
        self._trusted = trusted
        self._loop = loop
        self._parser: Any = _request_parser(loop)

    def parse(self, block: bytes, *, veiled: bool = False) -> RequestHead:
        """Read one head, a block ending in an empty line. Raises ``BadRequest``."""
        line = _REQUEST_LINE.match(block)
        if line is None:
            _refuse_request_line(block)
        method, target, version = line.groups()
        if len(target) > MAX_TARGET:
            raise BadRequest("request target too long", 414, Reason.TOO_LARGE)
        if version != b"1.1" and version != b"1.0":
            raise BadRequest("HTTP version not supported", 505)
        if method == b"CONNECT":
            return self._parse_connect(target, block)
        # Clients do send UTF-8 as it is, and applications take it; aiohttp's parser does not. The target is ours.
        readable = block if target.isascii() else block.replace(target, b"/", 1)
        try:
            messages, upgraded, tail = self._parser.feed_data(readable)
        except http_exceptions.LineTooLong:
            raise BadRequest("header field too large", 431, Reason.TOO_LARGE) from None
        except http_exceptions.HttpProcessingError as error:
            if veiled or not str(error.message).startswith("Duplicate "):
                _refuse_head(error)
            self._parser = _request_parser(self._loop)
            return self.parse(veil(block), veiled=True)
        if len(messages) != 1 or tail:
            raise BadRequest("malformed head")
        if upgraded:
            self._parser.set_upgraded(False)
        message = messages[0][0]
        head = RequestHead(message.method, target, unveil(message.raw_headers) if veiled else message.raw_headers)
        head.old = version == b"1.0"
        head.keep_alive = not message.should_close
        self._sort_headers(head)
        _settle_target(head)
        return head

    def _parse_connect(self, target: bytes, block: bytes) -> RequestHead:
        """CONNECT has a target of its own kind (RFC 9112 §3.2.3) and no body; else it is read as any request."""
        if not valid_authority(target) or not target.rpartition(b":")[2].isdigit():
            raise BadRequest("CONNECT needs host:port")
        head = self.parse(b"GET http://%b/%b" % (target, block[block.index(b" HTTP/") :]))
        if head.length:
            raise BadRequest("CONNECT with a body")
        head.method = "CONNECT"
        head.target = target
        return head

    def _sort_headers(self, head: RequestHead) -> None:
        lines = head.lines
        named: bytes = b""
        encodings: list[bytes] = []
        for name, value in head.raw_headers:
            kind = TREATMENT.get(name)
            if kind is None:
                kind = treatment(name)
            if kind == PLAIN:
                lines.append(b"".join((name, b": ", value, b"\r\n")))
            elif kind == HOST:
                head.authority = value
            elif kind == LENGTH:
                head.length = int(value)
            elif kind == CONNECTION:
                named = named + b"," + value if named else value
            elif kind == ENCODING:
                encodings.append(value)
            else:
                self._take_rare(head, kind, name, value)
        if encodings:
            _check_encoding(head, encodings)
        if named:
            head.lines = without_named(lines, named)
        if head.upgrade:
            _settle_upgrade(head, named)

    def _take_rare(self, head: RequestHead, kind: int, name: bytes, value: bytes) -> None:
        if kind == UPGRADE:
            head.upgrade = value
        elif kind == EXPECT:
            _check_expect(head, value)
            head.lines.append(b"".join((name, b": ", value, b"\r\n")))
        elif kind == TE and value.strip().lower() == b"trailers":
            head.lines.append(b"te: trailers\r\n")
        elif kind == OURS and self._trusted:
            head.lines.append(b"".join((name, b": ", value, b"\r\n")))
        elif kind == BROKEN:
            raise BadRequest("malformed header name")


def _request_parser(loop: asyncio.AbstractEventLoop) -> Any:
    return HttpRequestParser(
        cast(Any, NO_PAYLOAD),
        loop,
        1 << 16,
        max_line_size=MAX_HEAD,
        max_field_size=MAX_HEAD,
        max_headers=MAX_HEADERS,
        response_with_body=False,
    )


def _check_expect(head: RequestHead, value: bytes) -> None:
    if value.strip().lower() != b"100-continue":
        raise BadRequest("unknown expectation", 417)
    head.expect = True


def _check_encoding(head: RequestHead, encodings: list[bytes]) -> None:
    """Chunked alone is what we can frame (RFC 9112 §6.1)."""
    value = b",".join(encodings).strip(b" \t").lower()
    if head.old:
        raise BadRequest("transfer-encoding in HTTP/1.0")
    if value != b"chunked":
        codings = [coding.strip(b" \t") for coding in value.split(b",")]
        if all(codings) and codings[-1] == b"chunked":
            raise BadRequest("transfer coding not supported", 501)
        raise BadRequest("bad transfer-encoding")
    head.length = CHUNKED


def without_named(lines: list[bytes], named: bytes) -> list[bytes]:
    """Drop the headers that Connection names (RFC 9110 §7.6.1), but none that carries meaning for policy."""
    names = {option.strip(b" \t").lower() for option in named.split(b",")}
    names -= _KEPT | {b"keep-alive", b"upgrade", b""}
    names = {name for name in names if not name.startswith(b"smi-mesh-")}
    if not names:
        return lines
    return [line for line in lines if line.partition(b":")[0].lower() not in names]


def _settle_upgrade(head: RequestHead, named: bytes) -> None:
    """Keep an upgrade only where it is one: named by Connection, no body, and not to HTTP again or to TLS.

    What follows in such a tunnel would be requests that nobody judges.
    """
    options = {option.strip(b" \t").lower() for option in named.split(b",")}
    protocols = [protocol.strip(b" \t").lower() for protocol in head.upgrade.split(b",")]
    unjudged = any(protocol.startswith((b"h2", b"h3", b"http", b"tls")) for protocol in protocols)
    if b"upgrade" not in options or head.length or head.old or unjudged:
        head.upgrade = b""


def _settle_target(head: RequestHead) -> None:
    """Bring the target to origin-form and check the authority (RFC 9112 §3.2)."""
    target = head.target
    if target[0] != 0x2F:
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is not None:
            if absolute[1].lower() != b"http":
                raise BadRequest("only http URLs are forwarded")
            head.authority = absolute[2]
            head.absolute = True
            rest = absolute[3] or b"/"
            head.target = rest if rest.startswith(b"/") else b"/" + rest
        elif target != b"*" or head.method != "OPTIONS":
            raise BadRequest("bad request target")
    if head.authority not in _SOUND_AUTHORITIES and (head.authority or not head.old):
        if not valid_authority(head.authority):
            raise BadRequest("bad host")
        if len(_SOUND_AUTHORITIES) >= _AUTHORITIES_MAX:
            _SOUND_AUTHORITIES.clear()
        _SOUND_AUTHORITIES.add(head.authority)


def valid_authority(authority: bytes) -> bool:
    """Whether bytes are ``host[:port]`` without userinfo, path or space."""
    found = _AUTHORITY.fullmatch(authority)
    return found is not None and (not found[1] or 0 < int(found[1]) < 65536)


def _refuse_request_line(block: bytes) -> NoReturn:
    first = block.partition(b"\r\n")[0]
    if len(first) > MAX_TARGET:
        raise BadRequest("request line too long", 414, Reason.TOO_LARGE)
    raise BadRequest("malformed request line")


def _refuse_head(error: http_exceptions.HttpProcessingError) -> NoReturn:
    if "Too many headers" in str(error.message):
        raise BadRequest("too many headers", 431, Reason.TOO_LARGE) from None
    # The parser quotes the bytes it did not like; they may hold a secret, so only the kind is told.
    raise BadRequest(type(error).__name__) from None


def trailer_lines(block: bytes) -> list[bytes]:
    """The trailer fields of a chunked body that may be passed on, as lines; framing and routing never.

    ``block`` is the section without its empty line. Raises ``ValueError`` when it is malformed.
    """
    kept: list[bytes] = []
    for line in block.split(b"\r\n")[:-1]:
        name, colon, value = line.partition(b":")
        if not colon or _TOKEN.fullmatch(name) is None or len(line.translate(None, _CONTROLS + b"\r\n")) != len(line):
            raise ValueError("malformed trailer")
        lower = name.lower()
        if treatment(name) == PLAIN and lower not in _KEPT and lower != b"trailer":
            kept.append(b"%b: %b\r\n" % (name, value.strip(b" \t")))
    return kept
