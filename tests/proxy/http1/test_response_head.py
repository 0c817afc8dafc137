"""Heads of answers and trailers: what is refused, what is normalised, how they are framed."""

from __future__ import annotations

import pytest

from proxy.errors import BadResponse
from proxy.http1.fields import trailer_lines
from proxy.http1.head import CHUNKED, UNTIL_CLOSE
from proxy.http1.response import ResponseHead, ResponseHeads, parse_response


def answer(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK") -> ResponseHead:
    return parse_response(b"\r\n".join([start, *lines, b"", b""]))


@pytest.mark.parametrize(
    "lines",
    [
        [b"Content-Length: 1", b"Content-Length: 2"],
        [b"Content-Length: 1", b"Content-Length: 1"],
        [b"Content-Length: 1", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"Content-Length: 1"],
        [b"Content-Length: 1, 1"],
        [b"Content-Length: +1"],
        [b"Content-Length: -1"],
        [b"Content-Length: 0x1"],
        [b"Content-Length:"],
        [b"Content-Length : 1"],
        [b"Content-Length: " + b"1" * 5000],
        [b"Transfer-Encoding: gzip, chunked"],
        [b"Transfer-Encoding: gzip"],
        [b"Transfer-Encoding:"],
        [b"Content-Length: 1", b"Transfer-Encoding:"],
        [b"Transfer-Encoding: chunked, chunked"],
        [b"Transfer-Encoding: xchunked"],
        [b"Transfer-Encoding : chunked"],
        [b"X: a\x00b"],
        [b"X: a\x07b"],
        [b"X: a\rb"],
        [b"X: a\nb"],
        [b"X: a", b" b"],
        [b" X: a"],
        [b"X : a"],
        [b"X y: a"],
        [b": a"],
        [b"abc"],
    ],
    ids=repr,
)
def test_answers_that_could_be_read_in_two_ways_are_refused(lines: list[bytes]) -> None:
    with pytest.raises(BadResponse):
        answer(*lines)


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 099 Low",
        b"HTTP/1.1 000 Low",
        b"HTTP/1.1 600 High",
        b"HTTP/1.1 999 High",
        b"HTTP/1.1 20 Short",
        b"HTTP/1.1 2000 Long",
        b"HTTP/1.1 -20 Minus",
        b"HTTP/1.1 2x0 OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1 200 O\x00K",
        b"HTTP/1.1 200 O\x1bK",
        b"HTTP/2.0 200 OK",
        b"HTTP/0.9 200 OK",
        b"http/1.1 200 OK",
        b"HTTP/1.1",
        b"ICY 200 OK",
        b"GET / HTTP/1.1",
        b"",
    ],
    ids=repr,
)
def test_bad_status_lines_are_refused(start: bytes) -> None:
    with pytest.raises(BadResponse):
        answer(start=start)


@pytest.mark.parametrize(
    ("lines", "start", "length", "kept"),
    [
        ([b"Content-Length: 5"], b"HTTP/1.1 200 OK", 5, True),
        ([b"Content-Length: 05"], b"HTTP/1.1 200 OK", 5, True),
        ([b"Transfer-Encoding: Chunked"], b"HTTP/1.1 200 OK", CHUNKED, True),
        ([], b"HTTP/1.1 200 OK", UNTIL_CLOSE, True),
        ([], b"HTTP/1.0 200 OK", UNTIL_CLOSE, False),
        ([b"Content-Length: 5"], b"HTTP/1.0 200 OK", 5, False),
        ([b"Content-Length: 5", b"Connection: Keep-Alive"], b"HTTP/1.0 200 OK", 5, True),
        ([b"Content-Length: 5", b"Connection: close"], b"HTTP/1.1 200 OK", 5, False),
        ([b"Content-Length: 5", b"Connection: keep-alive, close"], b"HTTP/1.1 200 OK", 5, False),
    ],
)
def test_framing_of_answers(lines: list[bytes], start: bytes, length: int, kept: bool) -> None:
    head = answer(*lines, start=start)
    assert (head.length, head.keep_alive) == (length, kept)


def test_reasons_and_values_of_other_alphabets_pass() -> None:
    head = answer(b"X: \xe9\xff", start=b"HTTP/1.1 200 Sch\xf6n")
    assert (head.start, head.lines) == (b"HTTP/1.1 200 Sch\xf6n\r\n", [b"X: \xe9\xff\r\n"])


# -- trailers ----------------------------------------------------------------------------------------


def test_trailers_that_frame_route_or_identify_never_pass() -> None:
    block = b"".join(
        name + b": x\r\n"
        for name in (
            b"X-Sum",
            b"Content-Length",
            b"Transfer-Encoding",
            b"TE",
            b"Host",
            b"Authorization",
            b"Cookie",
            b"Connection",
            b"Trailer",
            b"smi-mesh-client-id",
            b"smi_mesh_client_id",
            b"Upgrade",
            b"Expect",
        )
    )
    assert trailer_lines(block) == [b"X-Sum: x\r\n"]


@pytest.mark.parametrize("block", [b"X\r\n", b"X : y\r\n", b" X: y\r\n", b"X: \x00\r\n", b": y\r\n", b"X: a\nb\r\n"])
def test_malformed_trailers_are_an_error(block: bytes) -> None:
    with pytest.raises(ValueError, match="trailer"):
        trailer_lines(block)


@pytest.mark.parametrize(
    "said", [b"220 hello\r\n", b"H", b"HTTP/1", b"HTTP/2 200", b"\x00\x00\x06\x04", b"\r\n"], ids=repr
)
def test_what_does_not_begin_as_an_answer_is_none_at_once(said: bytes) -> None:
    heads = ResponseHeads()
    if b"HTTP/1.".startswith(said):
        assert heads.read(said) == (None, b"")
        head, rest = heads.read(b"HTTP/1.1 204 No Content\r\n\r\nx"[len(said) :])
        assert head is not None
        assert (head.status, rest) == (204, b"x")
    else:
        with pytest.raises(BadResponse):
            heads.read(said)
