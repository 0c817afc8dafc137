"""One answer on its way: its framing for the client, and where it ends."""

from __future__ import annotations

import pytest

from proxy.errors import BadResponse
from proxy.http1.answer import Answer
from proxy.http1.head import CHUNKED, UNTIL_CLOSE, RequestHead
from proxy.http1.response import ResponseHead, StatusLine


def answer(
    length: int,
    *,
    status: int = 200,
    method: str = "GET",
    old: bool = False,
    keep: bool = True,
    upstream_keeps: bool = True,
) -> Answer:
    request = RequestHead(method, b"/", old=old)
    response = ResponseHead(StatusLine(status, b"OK"))
    response.length = length
    response.framing = b"content-length: %d\r\n" % length if length >= 0 else b""
    response.keep_alive = upstream_keeps
    return Answer(request, response, keep=keep)


@pytest.mark.parametrize(
    ("given", "framing"),
    [
        (answer(5), b"content-length: 5\r\n"),
        (answer(0), b"content-length: 0\r\n"),
        (answer(CHUNKED), b"transfer-encoding: chunked\r\n"),
        (answer(UNTIL_CLOSE), b"transfer-encoding: chunked\r\n"),
        (answer(5, keep=False), b"content-length: 5\r\nconnection: close\r\n"),
        (answer(5, old=True), b"content-length: 5\r\nconnection: keep-alive\r\n"),
        (answer(CHUNKED, old=True), b"connection: close\r\n"),
        (answer(UNTIL_CLOSE, old=True), b"connection: close\r\n"),
        (answer(5, method="HEAD"), b"content-length: 5\r\n"),
        (answer(UNTIL_CLOSE, method="HEAD"), b""),
        (answer(5, status=204), b""),
        (answer(UNTIL_CLOSE, status=204), b""),
        (answer(5, status=304), b"content-length: 5\r\n"),
    ],
)
def test_framing_for_the_client(given: Answer, framing: bytes) -> None:
    assert given.head(None) == b"HTTP/1.1 %d OK\r\n%b\r\n" % (given.response.status, framing)


def test_what_a_peer_sidecar_says_is_passed_on_before_the_framing() -> None:
    assert answer(0).head({b"smi-mesh-reason": b"denied; no"}) == (
        b"HTTP/1.1 200 OK\r\nsmi-mesh-reason: denied; no\r\ncontent-length: 0\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("given", "pieces", "seen"),
    [
        (answer(5), [b"he", b"llo"], b"hello"),
        (answer(CHUNKED), [b"5\r\nhe", b"llo\r\n0\r\n\r\n"], b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
        (answer(CHUNKED, old=True), [b"5\r\nhe", b"llo\r\n0\r\n\r\n"], b"hello"),
    ],
)
def test_bodies_arrive_whole(given: Answer, pieces: list[bytes], seen: bytes) -> None:
    assert b"".join(map(given.feed, pieces)) == seen
    assert given.done
    assert given.reusable


@pytest.mark.parametrize(
    "given", [answer(0), answer(5, method="HEAD"), answer(CHUNKED, status=304), answer(0, status=204)]
)
def test_answers_without_body_are_done_at_once(given: Answer) -> None:
    assert given.done
    assert given.reusable
    given.feed(b"more")
    assert not given.reusable


@pytest.mark.parametrize("length", [5, CHUNKED])
def test_whoever_announces_a_body_with_204_may_send_it_later(length: int) -> None:
    assert not answer(length, status=204).reusable


@pytest.mark.parametrize(
    ("given", "written", "seen"),
    [(answer(2), b"okHTTP/1.1", b"ok"), (answer(CHUNKED), b"0\r\n\r\nHTTP/1.1", b"0\r\n\r\n")],
)
def test_bytes_behind_an_answer_make_the_connection_useless(given: Answer, written: bytes, seen: bytes) -> None:
    assert given.feed(written) == seen
    assert given.done
    assert not given.reusable


def test_the_end_of_the_connection() -> None:
    until_close, old, short = answer(UNTIL_CLOSE), answer(UNTIL_CLOSE, old=True), answer(5)

    assert until_close.feed(b"ab") == b"2\r\nab\r\n"
    assert until_close.feed_eof() == b"0\r\n\r\n"
    assert not until_close.reusable
    assert old.feed(b"ab") == b"ab"
    assert old.feed_eof() == b""
    short.feed(b"abc")
    assert short.feed_eof() is None
    assert not short.done


def test_an_upstream_that_closes_is_not_used_again() -> None:
    given = answer(2, upstream_keeps=False)
    given.feed(b"ok")

    assert given.done
    assert given.keep
    assert not given.reusable


def test_a_broken_body_is_an_error() -> None:
    with pytest.raises(BadResponse, match="chunk"):
        answer(CHUNKED).feed(b"nonsense\r\n")
