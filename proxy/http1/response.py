"""Heads of answers, as strict as those of requests. See ``proxy.http1.head``."""

from __future__ import annotations

import re
from typing import Final

from proxy.errors import BadResponse
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
    UPGRADE,
    BadField,
    Field,
    connection,
    field,
    remember,
)
from proxy.http1.head import CHUNKED, MAX_HEAD, UNTIL_CLOSE

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.(\d) ([1-5]\d\d)(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?")
# Status lines seen; few different ones occur.
_SEEN: Final[dict[bytes, StatusLine]] = {}
_SEEN_MAX: Final = 256
_SEEN_BYTES: Final = 128


class StatusLine:
    """``line`` is how it goes out; ``old``: the answer is one of HTTP/1.0."""

    __slots__ = ("line", "old", "status")

    def __init__(self, status: int, reason: bytes, *, old: bool = False) -> None:
        self.status = status
        self.old = old
        self.line = b"HTTP/1.1 %d %b\r\n" % (status, reason)


class ResponseHead:
    """One response's head, checked; ``lines`` are the end-to-end headers as they go out, ``start`` its status line.

    ``length`` is in bytes, ``CHUNKED`` or ``UNTIL_CLOSE``, as announced: whether
    there is a body at all also depends on the request (HEAD) and the status. ``framing`` is the line that says
    a length in bytes. ``grpc`` is the grpc-status of a call that failed before it had an answer, 0 without one.
    ``mesh`` has the ``smi-mesh-*`` headers, lower-case name → value.
    """

    __slots__ = ("framing", "grpc", "keep_alive", "length", "lines", "mesh", "start", "status", "upgrade")

    def __init__(self, start: StatusLine) -> None:
        self.status = start.status
        self.start = start.line
        self.keep_alive = not start.old
        self.length = UNTIL_CLOSE
        self.framing = b""
        self.grpc = 0
        self.lines: list[bytes] = []
        self.mesh: dict[bytes, bytes] | None = None
        self.upgrade = b""


class ResponseHeads:
    """Reads the heads of one upstream connection. ``partial`` is the beginning of a head that has come so far."""

    __slots__ = ("partial",)

    def __init__(self) -> None:
        self.partial = b""

    def read(self, data: bytes) -> tuple[ResponseHead | None, bytes]:
        """The next head in ``data`` and what follows it; None until it is whole. Raises ``BadResponse``."""
        if self.partial:
            data = self.partial + data
            self.partial = b""
        end = data.find(b"\r\n\r\n") + 4
        if end > MAX_HEAD:
            raise BadResponse("response head too large")
        if end >= 4:
            return parse_response(data[:end]), data[end:]
        if len(data) > MAX_HEAD or b"\n\n" in data or b"\n\r\n" in data:
            raise BadResponse("unterminated response head")
        if data[:7] != b"HTTP/1."[: len(data)]:
            # Another protocol: more of it may never come, and somebody waits for an answer.
            raise BadResponse("not an HTTP/1 response")
        self.partial = data
        return None, b""


def parse_response(block: bytes) -> ResponseHead:
    """Read one head, a block ending in an empty line. Raises ``BadResponse``."""
    lines = block.split(b"\r\n")
    last = len(lines) - 2
    if last > MAX_HEADERS + 1:
        raise BadResponse("too many headers in a response head")
    start = _SEEN.get(lines[0])
    if start is None:
        start = _read_status_line(lines[0])
    head = ResponseHead(start)
    kept = head.lines
    encoding: bytes | None = None
    named = b""
    for number in range(1, last):
        try:
            one = field(lines[number])
        except BadField:
            raise BadResponse("malformed header in a response head") from None
        kind = one.kind
        if kind == PLAIN:
            kept.append(one.line)
        elif kind == LENGTH:
            if one.length < 0 or head.framing:
                raise BadResponse("bad content-length")
            head.length = one.length
            head.framing = one.line
        elif kind == CONNECTION:
            named = named + b"," + one.value if named else one.value
        elif kind == ENCODING:
            encoding = one.value if encoding is None else encoding + b"," + one.value
        else:
            _take_rare(head, one)
    if encoding is not None:
        if head.length >= 0 or encoding.lower() != b"chunked" or start.old:
            raise BadResponse("bad transfer-encoding")
        head.length = CHUNKED
    if named:
        options = connection(named)
        head.keep_alive = not options.close and (not start.old or options.keep_alive)
        head.lines = options.kept(kept)
    return head


def _read_status_line(line: bytes) -> StatusLine:
    matched = _STATUS_LINE.fullmatch(line)
    if matched is None:
        raise BadResponse("malformed status line")
    minor, status, reason = matched.groups()
    start = StatusLine(int(status), reason or b"", old=minor == b"0")
    remember(_SEEN, line, start, most=_SEEN_MAX, longest=_SEEN_BYTES)
    return start


def _take_rare(head: ResponseHead, one: Field) -> None:
    kind = one.kind
    if kind == EXPECT or kind == HOST:  # noqa: SIM109 (quicker than a tuple)
        head.lines.append(one.line)
    elif kind == GRPC_STATUS:
        head.grpc = int(one.value) if one.value.isdigit() and len(one.value) < 4 else 0
        head.lines.append(one.line)
    elif kind == UPGRADE:
        head.upgrade = one.value
    elif kind == OURS:
        head.mesh = {**(head.mesh or {}), one.name: one.value}
