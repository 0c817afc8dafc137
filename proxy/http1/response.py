"""Heads of answers: what aiohttp's lenient response parser lets through is checked here. See ``proxy.http1.head``."""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

from aiohttp import http_exceptions
from aiohttp.http_parser import HttpResponseParser

from proxy.errors import BadResponse
from proxy.http1.head import (
    BROKEN,
    CHUNKED,
    CONNECTION,
    ENCODING,
    EXPECT,
    HOST,
    LENGTH,
    MAX_HEAD,
    MAX_HEADERS,
    NO_PAYLOAD,
    OURS,
    PLAIN,
    TREATMENT,
    UNTIL_CLOSE,
    UPGRADE,
    treatment,
    without_named,
)

# What remains of a sound head without these is its line ends.
_TEXT: Final = bytes(set(range(32, 256)) - {127}) + b"\t"
_LINE_ENDS: Final = {b"\r\n" * count: count for count in range(2, MAX_HEADERS + 3)}


class ResponseHead:
    """One response's head, checked; ``lines`` are the end-to-end headers as they go out.

    ``length`` is in bytes, ``CHUNKED`` or ``UNTIL_CLOSE``, as announced: whether
    there is a body at all also depends on the request (HEAD) and the status.
    ``mesh`` has the ``smi-mesh-*`` headers, lower-case name → value.
    """

    __slots__ = ("keep_alive", "length", "lines", "mesh", "reason", "status", "upgrade")

    def __init__(self, status: int, reason: bytes) -> None:
        self.status = status
        self.reason = reason
        self.keep_alive = True
        self.length = UNTIL_CLOSE
        self.lines: list[bytes] = []
        self.mesh: dict[bytes, bytes] | None = None
        self.upgrade = b""


class ResponseHeads:
    """The response parser of one upstream connection. ``partial`` is the beginning of a head that has come so far."""

    __slots__ = ("_parser", "partial")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.partial = b""
        self._parser: Any = HttpResponseParser(
            cast(Any, NO_PAYLOAD),
            loop,
            1 << 16,
            max_line_size=MAX_HEAD,
            max_field_size=MAX_HEAD,
            max_headers=MAX_HEADERS,
            response_with_body=False,
        )

    def read(self, data: bytes) -> tuple[ResponseHead | None, bytes]:
        """The next head in ``data`` and what follows it; None until it is whole. Raises ``BadResponse``."""
        if self.partial:
            data = self.partial + data
            self.partial = b""
        end = data.find(b"\r\n\r\n") + 4
        if end >= 4:
            return self.parse(data[:end]), data[end:]
        if len(data) > MAX_HEAD or b"\n\n" in data or b"\n\r\n" in data:
            raise BadResponse("unterminated response head")
        self.partial = data
        return None, b""

    def parse(self, block: bytes) -> ResponseHead:
        """Read one head, a block ending in an empty line. Raises ``BadResponse``."""
        line_count = _LINE_ENDS.get(block.translate(None, _TEXT))
        if line_count is None:
            raise BadResponse("control character, bare line end or too many headers in a response head")
        try:
            messages, _, _ = self._parser.feed_data(block)
        except http_exceptions.HttpProcessingError as error:
            raise BadResponse(type(error).__name__) from None
        if len(messages) != 1:
            raise BadResponse("malformed response head")
        message = messages[0][0]
        if len(message.raw_headers) != line_count - 2:
            # Status line and empty line aside, one header a line: the parser joined folded ones.
            raise BadResponse("folded header in a response head")
        if not 100 <= message.code <= 599 or message.version.major != 1:
            raise BadResponse("status or version out of range")
        head = ResponseHead(message.code, message.reason.encode("utf-8", "surrogateescape"))
        _sort_response_headers(head, message)
        return head


def _sort_response_headers(head: ResponseHead, message: Any) -> None:
    lines = head.lines
    encoding = b""
    named = b""
    for name, value in message.raw_headers:
        kind = TREATMENT.get(name)
        if kind is None:
            kind = treatment(name)
        if kind == PLAIN or kind == EXPECT or kind == HOST:  # noqa: SIM109 (quicker than a tuple, once per header)
            lines.append(b"".join((name, b": ", value, b"\r\n")))
        elif kind == LENGTH:
            if not value.isdigit() or (head.length >= 0 and head.length != int(value)):
                raise BadResponse("bad content-length")
            head.length = int(value)
        elif kind == CONNECTION:
            named = named + b"," + value if named else value
        elif kind == ENCODING:
            encoding = encoding + b"," + value if encoding else value
        elif kind == UPGRADE:
            head.upgrade = value
        elif kind == OURS:
            head.mesh = {**(head.mesh or {}), name.lower(): value}
        elif kind == BROKEN:
            raise BadResponse("malformed header name")
    if encoding:
        if head.length >= 0 or encoding.strip(b" \t").lower() != b"chunked" or message.version.minor == 0:
            raise BadResponse("bad transfer-encoding")
        head.length = CHUNKED
    if named != b"keep-alive":
        _settle_keep_alive(head, message, named)


def _settle_keep_alive(head: ResponseHead, message: Any, named: bytes) -> None:
    if named:
        options = {option.strip(b" \t") for option in named.lower().split(b",")}
        head.keep_alive = b"close" not in options and (message.version.minor == 1 or b"keep-alive" in options)
        head.lines = without_named(head.lines, named)
    else:
        head.keep_alive = message.version.minor == 1


def grpc_status(head: ResponseHead) -> int:
    """The grpc-status that a head carries (a call that failed before it had an answer); 0 for none."""
    for line in head.lines:
        name, _, value = line.partition(b":")
        if name.lower() == b"grpc-status" and value.strip().isdigit():
            return int(value)
    return 0
