"""Whatever is taken for a head here, aiohttp's C parser (llhttp) takes for the same head.

The other way round need not hold: we may refuse more. What aiohttp refuses and we pass on
deliberately is left out: methods it does not know, targets that are not ASCII, repeated headers that frame nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from aiohttp import http_exceptions
from aiohttp.http_parser import HttpRequestParser, HttpResponseParser
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from proxy.errors import BadRequest, BadResponse
from proxy.http1.head import CHUNKED, parse_request
from proxy.http1.response import parse_response

LOOP = asyncio.new_event_loop()  # the parsers ask for one and never use it
LOOP.close()
_MAY_REPEAT = {b"content-location", b"content-range", b"content-type", b"etag", b"max-forwards", b"server"}
_MAY_REPEAT |= {b"user-agent"}

NAMES = st.sampled_from(
    [b"Host", b"content-length", b"Transfer-Encoding", b"Connection", b"X-A", b"x_a", b"Upgrade", b"TE", b"Cookie"]
)
VALUES = st.sampled_from(
    [b"web", b"5", b"05", b"chunked", b"close", b"keep-alive", b"gzip, chunked", b"", b"a b", b"\xc3\xa9", b"5, 5"]
)
SPACE = st.sampled_from([b"", b" ", b"\t", b"  "])
LINES = st.builds(lambda n, a, v, b: n + b":" + a + v + b, NAMES, SPACE, VALUES, SPACE)
STARTS = st.sampled_from([b"GET / HTTP/1.1", b"POST /a?b HTTP/1.1", b"GET http://o/x HTTP/1.1", b"GET / HTTP/1.0"])
STATUSES = st.sampled_from(
    [b"HTTP/1.1 200 OK", b"HTTP/1.0 404 ", b"HTTP/1.1 500", b"HTTP/1.1 101 S", b"HTTP/1.1 204 N"]
)
# What an attacker would put somewhere in a sound head.
NOISE = st.sampled_from(
    [b"\r", b"\n", b"\x00", b" ", b"\t", b":", b"\x0b", b"\x7f", b"\x80", b"\r\n ", b"\n\n", b",", b"1"]
)


@st.composite
def blocks(draw: st.DrawFn, starts: st.SearchStrategy[bytes]) -> bytes:
    lines = [draw(starts), *draw(st.lists(LINES, max_size=5))]
    block = bytearray(b"\r\n".join(lines))
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(block)))
        block[place : place + draw(st.integers(0, 1))] = draw(NOISE)
    return bytes(block).split(b"\r\n\r\n")[0] + b"\r\n\r\n"


def theirs(kind: Any, block: bytes) -> Any:
    """The one message that aiohttp sees, None where it refuses."""

    class NoPayload:
        def pause_reading(self) -> None: ...

        def resume_reading(self, resume_parser: bool = True) -> None: ...

    parser = kind(cast(Any, NoPayload()), LOOP, 1 << 16, max_field_size=1 << 16, response_with_body=False)
    try:
        messages, _, _ = parser.feed_data(block)
    except http_exceptions.HttpProcessingError:
        return None
    return messages[0][0] if len(messages) == 1 else None


def end_to_end(raw_headers: tuple[tuple[bytes, bytes], ...]) -> list[tuple[bytes, bytes]]:
    """The headers that both sides pass on, whatever Connection says."""
    return [(name.lower(), value) for name, value in raw_headers if name.lower() in (b"x-a", b"cookie")]


def ours(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    pairs = [line[:-2].split(b": ", 1) for line in lines]
    return [(pair[0].lower(), pair[1]) for pair in pairs if pair[0].lower() in (b"x-a", b"cookie")]


def repeats(raw: bytes) -> bool:
    names = [line.partition(b":")[0].lower() for line in raw.split(b"\r\n")[1:]]
    return any(names.count(name) > 1 for name in _MAY_REPEAT)


@settings(max_examples=600, deadline=None)
@given(blocks(STARTS))
@example(b"GET / HTTP/1.1\r\nHost: web\r\nX-A: a\r\n\r\n")
@example(b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
def test_requests(block: bytes) -> None:
    assume(block.split(b"\r\n")[0].isascii() and not repeats(block))
    try:
        head = parse_request(block, trusted=False)
    except BadRequest:
        return
    message = theirs(HttpRequestParser, block)
    if message is None:
        assert head.method not in ("GET", "POST")  # refused for a method of which it has never heard
        return
    assert head.method == message.method
    assert not (head.keep_alive and message.should_close)
    assert ours(head.lines) == end_to_end(message.raw_headers)
    assert head.length == CHUNKED or not message.chunked
    lengths = [int(value) for name, value in message.raw_headers if name.lower() == b"content-length"]
    assert lengths in ([], [head.length])


@settings(max_examples=600, deadline=None)
@given(blocks(STATUSES))
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: a\r\n\r\n")
def test_answers(block: bytes) -> None:
    assume(not repeats(block))
    try:
        head = parse_response(block)
    except BadResponse:
        return
    message = theirs(HttpResponseParser, block)
    assert message is not None
    assert head.status == message.code
    assert ours(head.lines) == end_to_end(message.raw_headers)
    assert head.length == CHUNKED or not message.chunked
