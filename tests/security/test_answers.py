"""Every form of an HTTP/1.1 answer that two readers could take for different things, over two sidecars and mTLS.

The client hears 502 or what is clear; a connection that carried such an answer never carries another one. Sequences
(floods of interim answers, bytes behind an answer or between two, early answers, cut-off bodies) are in
``tests/proxy/test_forward.py`` and ``test_forward_failures.py``.
"""

from __future__ import annotations

import pytest
from pair import ALLOW, Joined, paired
from wire import OK, App, End, play

POST = b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 0\r\n\r\n"
"""Nothing that would be sent again where an answer breaks off before its head has got through."""


def answer(*lines: str, body: str = "", start: str = "HTTP/1.1 200 OK") -> bytes:
    return ("\r\n".join([start, *lines, "", ""]) + body).encode("latin-1")


CL2 = "Content-Length: 2"
TE = "Transfer-Encoding: chunked"
END = "0\r\n\r\n"

REFUSED: dict[str, list[bytes]] = {
    "length": [
        answer(CL2, TE, body=END),
        answer(TE, CL2, body=END),
        answer(CL2, CL2, body="hi"),
        answer(CL2, "Content-Length: 3", body="hi!"),
        answer("Content-Length: 2, 2", body="hi"),
        answer("Content-Length: +2", body="hi"),
        answer("Content-Length: -2", body="hi"),
        answer("Content-Length: 0x2", body="hi"),
        answer("Content-Length:", body="hi"),
        answer("Content-Length: " + "9" * 5000),
    ],
    "transfer-encoding": [
        answer("Transfer-Encoding: gzip, chunked", body=END),
        answer("Transfer-Encoding: xchunked", body=END),
        answer("Transfer-Encoding: identity"),
        answer(TE, TE, body=END),
        answer(TE, body=END, start="HTTP/1.0 200 OK"),
    ],
    "chunks": [
        answer(TE, body="+2\r\nhi\r\n" + END),
        answer(TE, body="2\nhi\r\n" + END),
        answer(TE, body="2 \r\nhi\r\n" + END),
        answer(TE, body="2;\r\nhi\r\n" + END),
        answer(TE, body=f"2;a={'x' * 65536}\r\nhi\r\n" + END),
        answer(TE, body="ffffffffffffffff\r\nhi\r\n" + END),
        answer(TE, body="0\r\nno colon\r\n\r\n"),
    ],
    "lines": [
        answer(CL2, "X: a\x00b", body="hi"),
        answer(CL2, "X: a\x01b", body="hi"),
        answer(CL2, "X: a", " b", body="hi"),
        answer(CL2, "X : a", body="hi"),
        answer("Content-Length : 2", body="hi"),
        answer(CL2, "X y: a", body="hi"),
        answer(CL2, "no colon", body="hi"),
        answer(CL2, "X: a\nY: b", body="hi"),
        answer(CL2, "X: a\rY: b", body="hi"),
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi",
        answer(CL2, *["X: y"] * 1000, body="hi"),
        answer(CL2, "X: " + "y" * 100_000, body="hi"),
    ],
    "status": [
        answer(CL2, body="hi", start="HTTP/1.1 099 Early"),
        answer(CL2, body="hi", start="HTTP/1.1 999 Late"),
        answer(CL2, body="hi", start="HTTP/1.1 2000 OK"),
        answer(CL2, body="hi", start="HTTP/1.1 200 O\x01K"),
        answer(CL2, body="hi", start="HTTP/1.1 200 O\x00K"),
        answer(CL2, body="hi", start="HTTP/2.0 200 OK"),
        answer(CL2, body="hi", start="HTTP/0.9 200 OK"),
        answer(CL2, body="hi", start="ICY 200 OK"),
        answer("Connection: upgrade", "Upgrade: websocket", start="HTTP/1.1 101 Switching Protocols"),
        answer(start="HTTP/1.1 101 Switching Protocols"),
        b"\r\n\r\n",
        b"<html>\r\n\r\n",
    ],
}


async def asked(mesh: Joined, app: App, client: End, said: bytes) -> End:
    """The application's end of a connection on which ``said`` has been answered."""
    there = len(app.ends)
    client.send(POST)
    upstream = app.ends[-1] if there and not app.ends[-1].ended else await app.accepted()
    await upstream.until(b"\r\n\r\n")
    upstream.send(said)
    return upstream


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_502_and_never_followed_by_another_on_its_connection(kind: str) -> None:
    async def scene() -> None:
        async with App() as app, paired(ALLOW, app) as mesh:
            for said in REFUSED[kind]:
                client = await mesh.near.client()
                upstream = await asked(mesh, app, client, said)
                heard = await client.answer()
                # reset: the sidecar beside the application broke off behind a sound head, and this one tells.
                assert heard.status == 502, said[:200]
                assert heard.reason in ("bad-response", "reset"), said[:200]
                await upstream.wait(lambda end=upstream: end.ended, "the end")  # type: ignore[misc]
                client.transport.abort()

    play(scene())


PASSED: dict[str, tuple[bytes, bytes]] = {
    "leading zeroes": (answer("Content-Length: 002", body="hi"), answer("content-length: 2", body="hi")),
    "extensions": (
        answer(TE, body="2;a=b\r\nhi\r\n" + END),
        answer("transfer-encoding: chunked", body="2\r\nhi\r\n" + END),
    ),
    "trailers that frame": (
        answer(TE, body="0\r\nContent-Length: 5\r\nsmi-mesh-reason: x\r\nX-Sum: 1\r\n\r\n"),
        answer("transfer-encoding: chunked", body="0\r\nX-Sum: 1\r\n\r\n"),
    ),
    "look-alikes": (
        answer(CL2, "Transfer_Encoding: chunked", "smi_mesh_reason: x", "smi-mesh-retry: x", body="hi"),
        answer("content-length: 2", body="hi"),
    ),
    "repeated": (
        answer(CL2, "Server: a", "Server: b", "ETag: a", "ETag: b", body="hi"),
        answer("Server: a", "Server: b", "ETag: a", "ETag: b", "content-length: 2", body="hi"),
    ),
    "other alphabets": (
        answer(CL2, "X: \xe9", body="hi", start="HTTP/1.1 200 Sch\xf6n"),
        answer("X: \xe9", "content-length: 2", body="hi", start="HTTP/1.1 200 Sch\xf6n"),
    ),
    "304 with a length": (
        answer("Content-Length: 2", start="HTTP/1.1 304 Not Modified"),
        answer("content-length: 2", start="HTTP/1.1 304 Not Modified"),
    ),
}


def test_what_is_passed_on_and_in_which_form() -> None:
    """All on one connection: whatever came before, the next answer is read aright."""

    async def scene() -> None:
        async with App() as app, paired(ALLOW, app) as mesh:
            client = await mesh.near.client()
            for said, heard in PASSED.values():
                await asked(mesh, app, client, said)
                await client.got(heard)
                await asked(mesh, app, client, OK)
                await client.got(OK)
            assert len(app.ends) == 1

    play(scene())
