"""What applications may make of the bytes a mesh gives them: every plausible reading of a request, and who may send it.

An oracle for tests, written from RFC 9112 and from what servers are known to do, not from the product: a
request that reached an application must be allowed by policy *in each reading*, for nobody knows which one the
application takes. Double decoding is not among them (``%252f`` is a literal); neither are other cases of a letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from wire import OK, Answering, App

from proxy.contract.config import HttpMatch

_START = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (/[^\x00-\x20\x7f#]*|\*) HTTP/1\.1")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([^\x00-\x08\x0a-\x1f\x7f]*)")
# Methods whose bodies many servers leave where they are.
_UNREAD = (b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"TRACE")
_OVERLONG = {b"\xc0\xae": b".", b"\xc0\xaf": b"/", b"\xe0\x80\xae": b".", b"\xe0\x80\xaf": b"/", b"\xc1\x9c": b"\\"}


class Unreadable(AssertionError):
    """Bytes that have no one meaning."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A request as it stands in the application's connection."""

    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    trailers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = field(default=b"", repr=False)

    def values(self, name: bytes) -> list[bytes]:
        """Values under a name in lower case, as strict readers take it."""
        return [value for known, value in self.fields if known.lower() == name]

    @property
    def last(self) -> bool:
        """Whether the connection ends behind it."""
        return b"close" in b",".join(self.values(b"connection")).lower()


def requests_in(stream: bytes, *, reads_bodies: bool = True) -> list[Seen]:
    """The requests in what an application got on one connection, the last perhaps without all of its body.

    Not ``reads_bodies``: as seen by a server that leaves the bodies of GET and its kin unread, and goes on behind the
    head. Such a server cannot make sense of all it finds, so there it stops at the first bytes that are no request.
    """
    found: list[Seen] = []
    while stream:
        head, end, rest = stream.partition(b"\r\n\r\n")
        if not end:
            break
        try:
            seen = _read_head(head)
        except Unreadable:
            if reads_bodies or not found:
                raise
            break
        if reads_bodies or seen.method not in _UNREAD:
            whole = _with_body(seen, rest)
            if whole is None:
                found.append(seen)  # it is being acted on already
                break
            seen, rest = whole
        found.append(seen)
        if not reads_bodies and seen.last:
            break
        stream = rest
    return found


def _read_head(head: bytes) -> Seen:
    start, *lines = head.split(b"\r\n")
    match = _START.fullmatch(start)
    fields = [_FIELD.fullmatch(line) for line in lines]
    if match is None or not all(fields):
        raise Unreadable(head)
    seen = Seen(method=match[1], target=match[2], fields=tuple((f[1], f[2]) for f in fields if f is not None))
    lengths, codings = seen.values(b"content-length"), seen.values(b"transfer-encoding")
    if len(seen.values(b"host")) != 1 or len(lengths) + len(codings) > 1 or codings not in ([], [b"chunked"]):
        raise Unreadable(head)
    if not all(length.isdigit() for length in lengths):
        raise Unreadable(head)
    return seen


def _with_body(seen: Seen, rest: bytes) -> tuple[Seen, bytes] | None:
    lengths = seen.values(b"content-length")
    if lengths:
        size = int(lengths[0])
        return (_put(seen, rest[:size], ()), rest[size:]) if len(rest) >= size else None
    if not seen.values(b"transfer-encoding"):
        return seen, rest
    body = b""
    while True:
        line, end, rest = rest.partition(b"\r\n")
        if not end:
            return None
        if re.fullmatch(rb"[0-9a-f]{1,16}", line) is None:
            raise Unreadable(line)
        size = int(line, 16)
        if size == 0:
            break
        if len(rest) < size + 2:
            return None
        if rest[size : size + 2] != b"\r\n":
            raise Unreadable(rest)
        body, rest = body + rest[:size], rest[size + 2 :]
    trailers: list[tuple[bytes, bytes]] = []
    while True:
        line, end, rest = rest.partition(b"\r\n")
        if not end:
            return None
        if not line:
            return _put(seen, body, tuple(trailers)), rest
        match = _FIELD.fullmatch(line)
        if match is None:
            raise Unreadable(line)
        trailers.append((match[1], match[2]))


def _put(seen: Seen, body: bytes, trailers: tuple[tuple[bytes, bytes], ...]) -> Seen:
    return Seen(method=seen.method, target=seen.target, fields=seen.fields, trailers=trailers, body=body)


# -- readings ----------------------------------------------------------------------------------------


def paths(target: bytes) -> Iterator[bytes]:
    """Every path that an application may understand."""
    raw = target.partition(b"?")[0]
    decoded = unquote_to_bytes(raw)
    for path in (raw, decoded, unquote_to_bytes(_resolved(raw))):
        for variant in (path, _without_parameters(path), path.replace(b"\\", b"/"), _overlong(path)):
            yield variant
            yield _resolved(variant)
            yield _resolved(re.sub(rb"//+", b"/", variant))
            yield _resolved(_trimmed(variant))
    yield unquote_to_bytes(_resolved(_without_parameters(raw)))
    yield _resolved(unquote_to_bytes(_without_parameters(raw)))
    yield _resolved(_without_parameters(decoded).replace(b"\\", b"/"))
    yield _resolved(decoded.partition(b"\0")[0])
    yield _resolved(re.split(rb"[?#\r\n]", decoded, maxsplit=1)[0])


def _resolved(path: bytes) -> bytes:
    kept: list[bytes] = []
    segments = path.split(b"/")
    for segment in segments[1:]:
        if segment == b"..":
            if kept:
                kept.pop()
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept) if path.startswith(b"/") else path


def _without_parameters(path: bytes) -> bytes:
    return b"/".join(segment.partition(b";")[0] for segment in path.split(b"/"))


def _trimmed(path: bytes) -> bytes:
    """As on a file system that does not keep spaces at the end of a name."""
    return b"/".join(segment.rstrip(b" ") for segment in path.split(b"/"))


def _overlong(path: bytes) -> bytes:
    for octets, meant in _OVERLONG.items():
        path = path.replace(octets, meant)
    return path


def _headers(seen: Seen, name: str) -> Iterator[str | None]:
    """Every value that an application may find: the first, the last, all; also by CGI's rules; also with trailers."""
    exact = seen.values(name.encode())
    folded = [value for known, value in seen.fields if _cgi(known) == _cgi(name.encode())]
    trailing = [value for known, value in seen.trailers if _cgi(known) == _cgi(name.encode())]
    for values in (exact, folded, folded + trailing):
        if not values:
            yield None
            continue
        for value in (values[0], values[-1], b", ".join(values)):
            yield value.decode("utf-8", "replace")
            yield value.decode("latin-1")


def _cgi(name: bytes) -> bytes:
    return re.sub(rb"[^A-Z0-9]", b"_", name.upper())


def allowed(seen: Seen, policy: Sequence[HttpMatch]) -> bool:
    """Whether each reading of the request is one that a match of the policy accepts."""
    found = {path.decode("latin-1") for path in paths(seen.target)}
    return all(any(_accepts(match, seen, path) for match in policy) for path in found)


def _accepts(match: HttpMatch, seen: Seen, path: str) -> bool:
    if match.methods and "*" not in match.methods and seen.method.decode() not in match.methods:
        return False
    if match.path not in ("", "/", ".*", "/.*") and re.match(match.path, path) is None:
        return False
    return all(
        value is not None and re.fullmatch(pattern, value) is not None
        for name, pattern in match.headers
        for value in _headers(seen, name)
    )


def callers(requests: Iterable[Seen]) -> set[tuple[str | None, ...]]:
    """What applications may believe of who calls."""
    return {tuple(dict.fromkeys(_headers(seen, "smi-mesh-client-id"))) for seen in requests}


class Listening(App):
    """An application that answers each request it can read; ``streams`` has all it was sent, by connection."""

    def __init__(self) -> None:
        super().__init__(lambda _: OK)
        self.streams: list[bytearray] = []

    def _end(self) -> Ear:
        return Ear(self)


class Ear(Answering):
    """One connection of it."""

    def __init__(self, app: Listening) -> None:
        super().__init__(app)
        self._stream = bytearray()
        self._said = 0
        app.streams.append(self._stream)

    def data_received(self, data: bytes) -> None:
        self._stream += data
        try:
            there = requests_in(bytes(self._stream))
        except Unreadable:
            self.transport.abort()  # told at the end, from the stream
            return
        for _ in there[self._said :]:
            self.transport.write(OK)
        self._said = len(there)
        if there and there[-1].last:
            self.transport.close()
