"""Request heads: read line by line, checked, and made ready to be written anew.

Why not by aiohttp's parser: it builds a URL, a multi-dictionary and a message that
nobody here looks at, is laxer with answers than we may be, refuses what applications do repeat, and carries the last
trailer of a chunked message over into the next message of the connection; what it let through had
to be read again. Whatever is taken for a head here, that parser takes for the same (a test asks both).

Rules: RFC 9112 (syntax, framing), RFC 9110 §7.6.1 (hop-by-hop). ``proxy.http1.fields`` has the lines,
``proxy.http1.body`` frames what follows. Pure.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn

from proxy.errors import BadRequest, Reason
from proxy.http1.fields import (
    CONNECTION,
    ENCODING,
    EXPECT,
    GRPC_STATUS,
    HOST,
    LENGTH,
    MAX_HEADERS,
    OURS,
    PLAIN,
    TE,
    UPGRADE,
    BadField,
    Field,
    connection,
    field,
)
from proxy.lookalike import Guard

# Bytes. Longer targets than 8,000 must be served (RFC 9112 §3 recommends that as the least).
MAX_TARGET: Final = 16 * 1024
# Bytes of a whole head: room for large cookies, and a bound on what an unfinished head may hold.
MAX_HEAD: Final = 64 * 1024

_REQUEST_LINE: Final = re.compile(rb"([A-Z][A-Z0-9_\-]*) ([\x21\x22\x24-\x7e\x80-\xff]+) HTTP/(\d\.\d)")
_PROTOCOL: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:/[!#$%&'*+\-.^_`|~0-9A-Za-z]+)?")
_AUTHORITY: Final = re.compile(rb"(?:[A-Za-z0-9\-._~]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5})?)?")
# Authorities that have been checked; clients repeat a few.
_SOUND_AUTHORITIES: Final[set[bytes]] = set()
_AUTHORITIES_MAX: Final = 1024
# Bytes of one that is remembered: the longest name that DNS knows, a final dot and a port.
_AUTHORITY_BYTES: Final = 260
_ABSOLUTE: Final = re.compile(rb"([A-Za-z][A-Za-z0-9+\-.]*)://([^/?#]*)([/?].*)?", re.DOTALL)

CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2


class RequestHead:
    """One request's head, checked; ``lines`` are the end-to-end headers as they go out.

    ``length`` is the body's length in bytes, or ``CHUNKED``; ``framing`` the header line that says so, empty
    without one. ``old``: HTTP/1.0. ``target`` is in
    origin-form (or ``*``), ``authority`` from the absolute form or Host.
    ``guard``: headers that policy looks at, not to be written by the trailers.
    ``alone``: the upstream's connection must not carry another request.
    """

    __slots__ = (
        "absolute",
        "alone",
        "authority",
        "expect",
        "framing",
        "guard",
        "keep_alive",
        "length",
        "lines",
        "method",
        "old",
        "policy_path",
        "target",
        "upgrade",
    )

    def __init__(self, method: str, target: bytes, *, old: bool = False) -> None:
        self.method = method
        self.target = target
        self.framing = b""
        self.authority = b""
        self.absolute = False
        self.alone = False
        self.expect = False
        self.guard: Guard | None = None
        self.keep_alive = True
        self.length = 0
        self.lines: list[bytes] = []
        self.old = old
        self.policy_path = ""
        self.upgrade = b""

    def header(self, name: str) -> str | None:
        """A header's value for policy: any case, repeated ones joined; ``host`` is the authority.

        Policy sees what goes on to the application: no header that is stripped on the way counts.
        """
        if name == "host":
            return self.authority.decode("latin-1")
        if name == "upgrade":
            return self.upgrade.decode("latin-1") or None
        wanted = name.encode("latin-1", "replace") + b":"
        size = len(wanted)
        values = [line[size + 1 : -2] for line in self.lines if line[:size].lower() == wanted]
        return b", ".join(values).decode("utf-8", "replace") if values else None

    @property
    def path(self) -> bytes:
        """The target without query, as sent."""
        return self.target.partition(b"?")[0]


def parse_request(block: bytes, *, trusted: bool) -> RequestHead:
    """Read one head, a block ending in an empty line. Raises ``BadRequest``.

    ``trusted``: the other end is a peer sidecar, whose ``smi-mesh-*`` headers pass on.
    """
    lines = block.split(b"\r\n")
    last = len(lines) - 2
    line = _REQUEST_LINE.fullmatch(lines[0])
    if line is None:
        _refuse_request_line(lines[0])
    method, target, version = line.groups()
    if len(target) > MAX_TARGET:
        raise BadRequest("request target too long", 414, Reason.TOO_LARGE)
    if version != b"1.1" and version != b"1.0":
        raise BadRequest("HTTP version not supported", 505)
    if len(block) > MAX_HEAD + 4:
        raise BadRequest("header fields too large", 431, Reason.TOO_LARGE)
    if last > MAX_HEADERS + 1:
        raise BadRequest("too many headers", 431, Reason.TOO_LARGE)
    if method == b"CONNECT":
        return _parse_connect(target, block, trusted)
    head = RequestHead(method.decode(), target, old=version == b"1.0")
    _sort_headers(head, lines, last, trusted)
    _settle_target(head)
    return head


def _parse_connect(target: bytes, block: bytes, trusted: bool) -> RequestHead:
    """CONNECT has a target of its own kind (RFC 9112 §3.2.3) and no body; else it is read as any request."""
    if not valid_authority(target) or not target.rpartition(b":")[2].isdigit():
        raise BadRequest("CONNECT needs host:port")
    head = parse_request(b"GET http://%b/%b" % (target, block[block.index(b" HTTP/") :]), trusted=trusted)
    if head.length:
        raise BadRequest("CONNECT with a body")
    head.method = "CONNECT"
    head.target = target
    return head


def _sort_headers(head: RequestHead, lines: list[bytes], last: int, trusted: bool) -> None:
    """Take in the lines 1 to ``last`` - 1."""
    kept = head.lines
    named = b""
    hosts = 0
    encodings: list[bytes] = []
    for number in range(1, last):
        try:
            one = field(lines[number])
        except BadField:
            raise BadRequest("malformed header") from None
        kind = one.kind
        if kind == PLAIN:
            kept.append(one.line)
        elif kind == HOST:
            head.authority = one.value
            hosts += 1
        elif kind == LENGTH:
            # RFC 9112 §6.3: what could be read in two ways is refused, and so is a second one, equal or not.
            if one.length < 0 or head.framing:
                raise BadRequest("bad content-length")
            head.length = one.length
            head.framing = one.line
        elif kind == CONNECTION:
            named = named + b"," + one.value if named else one.value
        elif kind == ENCODING:
            encodings.append(one.value)
        else:
            _take_rare(head, one, trusted)
    if hosts != 1 and (hosts or not head.old):
        raise BadRequest("exactly one Host must be there")
    if encodings:
        _check_encoding(head, encodings)
    options = None
    if named or head.old:
        # RFC 9112 §9.3
        options = connection(named)
        head.keep_alive = not options.close and (not head.old or options.keep_alive)
        head.lines = options.kept(kept)
    if head.upgrade:
        _settle_upgrade(head, asked=options is not None and options.upgrade)


def _take_rare(head: RequestHead, one: Field, trusted: bool) -> None:
    kind = one.kind
    if kind == UPGRADE:
        head.upgrade = one.value
    elif kind == EXPECT:
        _check_expect(head, one.value)
        head.lines.append(one.line)
    elif kind == TE and one.value.lower() == b"trailers":
        head.lines.append(b"te: trailers\r\n")
    elif kind == GRPC_STATUS or (kind == OURS and trusted):
        head.lines.append(one.line)


def _check_expect(head: RequestHead, value: bytes) -> None:
    if value.lower() != b"100-continue":
        raise BadRequest("unknown expectation", 417)
    head.expect = True


def _check_encoding(head: RequestHead, encodings: list[bytes]) -> None:
    """Chunked alone is what we can frame (RFC 9112 §6.1)."""
    if head.old:
        raise BadRequest("transfer-encoding in HTTP/1.0")
    if head.framing or len(encodings) > 1:
        raise BadRequest("bad transfer-encoding")
    value = encodings[0].lower()
    if value != b"chunked":
        codings = [coding.strip(b" \t") for coding in value.split(b",")]
        if all(codings) and codings[-1] == b"chunked":
            raise BadRequest("transfer coding not supported", 501)
        raise BadRequest("bad transfer-encoding")
    head.length = CHUNKED
    head.framing = b"transfer-encoding: chunked\r\n"


def _settle_upgrade(head: RequestHead, *, asked: bool) -> None:
    """Keep an upgrade only where it is one: named by Connection, no body, and not to HTTP again or to TLS.

    What follows in such a tunnel would be requests that nobody judges.
    """
    protocols = [protocol.strip(b" \t").lower() for protocol in head.upgrade.split(b",")]
    unjudged = any(
        _PROTOCOL.fullmatch(protocol) is None or protocol.startswith((b"h2", b"h3", b"http", b"tls"))
        for protocol in protocols
    )
    if not asked or head.length or head.old or unjudged:
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
            # RFC 9112 §3.2.4: without a path, OPTIONS speaks of the server itself.
            rest = absolute[3] or (b"*" if head.method == "OPTIONS" else b"/")
            head.target = b"/" + rest if rest.startswith(b"?") else rest
        elif target != b"*" or head.method != "OPTIONS":
            raise BadRequest("bad request target")
    if head.authority not in _SOUND_AUTHORITIES and (head.authority or head.absolute or not head.old):
        if not valid_authority(head.authority):
            raise BadRequest("bad host")
        if len(head.authority) <= _AUTHORITY_BYTES:
            if len(_SOUND_AUTHORITIES) >= _AUTHORITIES_MAX:
                _SOUND_AUTHORITIES.clear()
            _SOUND_AUTHORITIES.add(head.authority)


def valid_authority(authority: bytes) -> bool:
    """Whether bytes are ``host[:port]`` without userinfo, path or space."""
    found = _AUTHORITY.fullmatch(authority)
    return found is not None and (not found[1] or 0 < int(found[1]) < 65536)


def _refuse_request_line(line: bytes) -> NoReturn:
    if len(line) > MAX_TARGET:
        raise BadRequest("request line too long", 414, Reason.TOO_LARGE)
    raise BadRequest("malformed request line")
