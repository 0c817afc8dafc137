"""Every form of an HTTP/1.1 request that two readers could take for different things (RFC 9112, 9110), on real sockets.

The tables read like a list of attacks: what is sent, and either the status that it is refused with, closing the
connection, or the very bytes that the application gets. Nothing that is refused reaches the application. Sequences
(half-close, early answers, the last request, CONNECT) are in ``tests/proxy/test_forward.py`` and ``test_tunnel.py``,
silence and dribbling in ``tests/proxy/test_forward_life.py``.
"""

from __future__ import annotations

import pytest
from wire import OK, App, End, Playing, play, playing, to

GET = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"


def get(*lines: str, start: str = "GET / HTTP/1.1", host: str = "Host: web") -> bytes:
    return "\r\n".join([start, *([host] if host else []), *lines, "", ""]).encode("latin-1")


def post(*lines: str, body: str = "", start: str = "POST / HTTP/1.1") -> bytes:
    return get(*lines, start=start) + body.encode("latin-1")


def chunks(body: str) -> bytes:
    return post("Transfer-Encoding: chunked", body=body)


CL5 = "Content-Length: 5"
TE = "Transfer-Encoding: chunked"

REFUSED: dict[str, list[tuple[bytes, int]]] = {
    "length": [
        (post(CL5, TE, body="0\r\n\r\n"), 400),
        (post(TE, CL5, body="0\r\n\r\n"), 400),
        (post(CL5, CL5, body="hello"), 400),
        (post(CL5, "Content-Length: 6", body="hello!"), 400),
        (post("Content-Length: 5, 5", body="hello"), 400),
        (post("Content-Length: +5", body="hello"), 400),
        (post("Content-Length: -1"), 400),
        (post("Content-Length: 0x5", body="hello"), 400),
        (post("Content-Length: 1_0", body="helloworld"), 400),
        (post("Content-Length:"), 400),
        (post("Content-Length: 18446744073709551616"), 400),
        (post("Content-Length: " + "9" * 5000), 400),
        (post("Content-Length: \xb2"), 400),
        (post("Content-Length : 5", body="hello"), 400),
    ],
    "transfer-encoding": [
        (post("Transfer-Encoding: xchunked"), 400),
        (post("Transfer-Encoding: identity", CL5, body="hello"), 400),
        (post("Transfer-Encoding: chunked, identity", body="0\r\n\r\n"), 400),
        (post("Transfer-Encoding: gzip, chunked", body="0\r\n\r\n"), 501),
        (post("Transfer-Encoding: ,chunked", body="0\r\n\r\n"), 400),
        (post("Transfer-Encoding: chunked,", body="0\r\n\r\n"), 400),
        (post("Transfer-Encoding:", body="0\r\n\r\n"), 400),
        (post(TE, TE, body="0\r\n\r\n"), 400),
        (post(TE, body="0\r\n\r\n", start="POST / HTTP/1.0"), 400),
        (post("Transfer-Encoding: \x0bchunked", body="0\r\n\r\n"), 400),
        (post("Transfer-Encoding: \x00chunked", body="0\r\n\r\n"), 400),
        (post("Transfer-Encoding: \xa0chunked", body="0\r\n\r\n"), 400),
        (post("Transfer-Encoding : chunked", body="0\r\n\r\n"), 400),
        (post("Transfer-Encoding:", " chunked", body="0\r\n\r\n"), 400),
        (post("Transfer-Encoding: chunked;a=b", body="0\r\n\r\n"), 400),
    ],
    "chunks": [
        (chunks("0x5\r\nhello\r\n0\r\n\r\n"), 400),
        (chunks("+5\r\nhello\r\n0\r\n\r\n"), 400),
        (chunks("-5\r\nhello\r\n0\r\n\r\n"), 400),
        (chunks("0_5\r\nhello\r\n0\r\n\r\n"), 400),
        (chunks(" 5\r\nhello\r\n0\r\n\r\n"), 400),
        (chunks("5 \r\nhello\r\n0\r\n\r\n"), 400),
        (chunks("5\nhello\r\n0\r\n\r\n"), 400),
        (chunks("5\rhello\r\n0\r\n\r\n"), 400),
        (chunks("5;\r\nhello\r\n0\r\n\r\n"), 400),
        (chunks("5;a\x00\r\nhello\r\n0\r\n\r\n"), 400),
        (chunks("5;a\nb\r\nhello\r\n0\r\n\r\n"), 400),
        (chunks("5\r\nhelloworld\r\n0\r\n\r\n"), 400),
        (chunks("5\r\nhello0\r\n\r\n"), 400),
        (chunks("ffffffffffffffff\r\nhello\r\n0\r\n\r\n"), 400),
        (chunks("11111111111111111\r\nhello\r\n0\r\n\r\n"), 400),
        (chunks("\r\nhello\r\n0\r\n\r\n"), 400),
        (chunks(f"5;a={'x' * 65536}\r\nhello\r\n0\r\n\r\n"), 400),
        (chunks("0\r\nno colon\r\n\r\n"), 400),
        (chunks("0\r\n folded: x\r\n\r\n"), 400),
        (chunks(f"0\r\nX: {'x' * 65536}\r\n\r\n"), 400),
    ],
    "lines": [
        (b"GET / HTTP/1.1\nHost: web\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: web\nX: y\r\n\r\n", 400),
        (get("X: a\x00b"), 400),
        (get("X: a\x01b"), 400),
        (get("X: a\x7fb"), 400),
        (get("X: a\rb"), 400),
        (get("X: a", " b"), 400),
        (get("X: a", "\tb"), 400),
        (get(": a"), 400),
        (get("abc"), 400),
        (get("X y: a"), 400),
        (get("X\xe9: a"), 400),
        (get(start="GET  / HTTP/1.1"), 400),
        (get(start="GET /  HTTP/1.1"), 400),
        (get(start="GET\t/ HTTP/1.1"), 400),
        (get(start="GET / HTTP/1.1 "), 400),
    ],
    "target and host": [
        (get(host=""), 400),
        (get("Host: web"), 400),
        (get("Host: other"), 400),
        (get(host="Host: web, other"), 400),
        (get(host="Host:"), 400),
        (get(host="Host: user@web"), 400),
        (get(host="Host: web/x"), 400),
        (get(host="Host: web x"), 400),
        (get(host="Host: web:99999"), 400),
        (get(host="Host: w\xe9b"), 400),
        (get(start="GET ftp://web/ HTTP/1.1"), 400),
        (get(start="GET https://web/ HTTP/1.1"), 400),
        (get(start="GET http://user@web/ HTTP/1.1"), 400),
        (get(start="GET web:80 HTTP/1.1"), 400),
        (get(start="GET * HTTP/1.1"), 400),
        (get(start="GET /#frag HTTP/1.1"), 400),
        (get(start="GET / HTTP/0.9"), 505),
        (get(start="GET / HTTP/2.0"), 505),
        (b"GET /\r\n\r\n", 400),
        (get(start="get / HTTP/1.1"), 400),
        (get(start="GET / http/1.1"), 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ],
    "limits": [
        (get(start=f"GET /{'a' * 100_000} HTTP/1.1"), 414),
        (get("X: " + "y" * 100_000), 431),
        (get(*["X: y"] * 10_000), 431),
    ],
    "exchange": [
        (get("Expect: 200-maybe"), 417),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ],
}


async def refused(mesh: Playing, sent: bytes, status: int) -> None:
    client = await mesh.client()
    client.send(sent)
    answer = await client.answer()
    assert answer.status == status
    assert answer.reason in ("bad-request", "too-large")
    assert answer.headers["connection"] == "close"
    assert await client.rest() == b""
    client.transport.abort()


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_and_never_forwarded(kind: str) -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as app, playing(to(app)) as mesh:
            for sent, status in REFUSED[kind]:
                try:
                    await refused(mesh, sent + GET, status)
                except AssertionError as error:
                    error.add_note(f"sent: {sent[:200]!r}")
                    raise
            assert app.requests == []

    play(scene())


def sent(*lines: bytes, start: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join([start, b"host: web", *lines, b"", b""])


def posted(*lines: bytes) -> bytes:
    return sent(*lines, start=b"POST / HTTP/1.1")


CHUNKED = posted(b"transfer-encoding: chunked")
SUMMED = "0\r\nX-Sum: 1\r\nContent-Length: 5\r\nHost: x\r\nTransfer-Encoding: x\r\nAuthorization: x\r\n\r\n"

PASSED: dict[str, list[tuple[bytes, bytes]]] = {
    "length": [
        (post("Content-Length: 05", body="hello"), posted(b"content-length: 5") + b"hello"),
        (post("Content-Length: 0"), posted(b"content-length: 0")),
        (post(), posted(b"content-length: 0")),
    ],
    "transfer-encoding": [
        (post("Transfer_Encoding: chunked", CL5, body="hello"), posted(b"content-length: 5") + b"hello"),
        (get("Transfer_Encoding: chunked"), sent()),
        (post("Transfer-Encoding: CHUNKED", body="0\r\n\r\n"), CHUNKED + b"0\r\n\r\n"),
    ],
    "chunks": [
        (chunks("5;a=b\r\nhello\r\n0\r\n\r\n"), CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"),
        (chunks("00005\r\nhello\r\n000\r\n\r\n"), CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"),
        (chunks(SUMMED), CHUNKED + b"0\r\nX-Sum: 1\r\n\r\n"),
    ],
    "target and host": [
        (get(start="GET http://web/x?y HTTP/1.1", host="Host: other"), sent(start=b"GET /x?y HTTP/1.1")),
        (get(start="GET //web/x HTTP/1.1"), sent(start=b"GET //web/x HTTP/1.1")),
        (get(start="OPTIONS * HTTP/1.1"), sent(start=b"OPTIONS * HTTP/1.1")),
        (get(start=f"GET /{'a' * 8000} HTTP/1.1"), sent(start=b"GET /%b HTTP/1.1" % (b"a" * 8000))),
        (b"\r\n" + GET, sent()),
    ],
    "exchange": [
        (get("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAA"), sent()),
        (get("Connection: Upgrade", "Upgrade: websocket", CL5) + b"hello", sent(b"content-length: 5") + b"hello"),
        (get("User-Agent: a", "User-Agent: b"), sent(b"User-Agent: a", b"User-Agent: b")),
        (
            post("Expect: 100-continue", CL5, body="hello"),
            posted(b"Expect: 100-continue", b"content-length: 5") + b"hello",
        ),
    ],
}


async def passed(mesh: Playing, app: App, client: End, raw: bytes, arrives: bytes) -> None:
    client.send(raw)
    upstream = app.ends[-1] if app.ends else await app.accepted()
    await upstream.got(arrives)
    upstream.send(OK)
    await client.got(OK)


@pytest.mark.parametrize("kind", PASSED)
def test_what_is_passed_on_and_in_which_form(kind: str) -> None:
    """All on one connection on either side: whatever came before, the next request is read aright."""

    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            for raw, arrives in PASSED[kind]:
                await passed(mesh, app, client, raw, arrives)
                await passed(mesh, app, client, GET, sent())
            assert len(app.ends) == 1

    play(scene())


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS"])
def test_a_body_that_a_refusal_leaves_unread_is_not_the_next_request(method: bytes) -> None:
    hidden = b"GET /hidden HTTP/1.1\r\nHost: web\r\n\r\n"

    async def scene() -> None:
        async with App(lambda _: OK) as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(b"%b / HTTP/1.1\r\nHost: nowhere\r\nContent-Length: %d\r\n\r\n" % (method, len(hidden)), hidden)
            assert (await client.answer(bodyless=method == b"HEAD")).status == 502
            client.send(GET)
            await client.got(OK)
            assert app.requests == [sent()]

    play(scene())
