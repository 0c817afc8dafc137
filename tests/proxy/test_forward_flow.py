"""Bodies of any size, both ways: nobody is sent more than they take, and nothing is kept that nobody takes."""

from __future__ import annotations

import hashlib
import socket
from typing import Any

import pytest
from eventually import eventually
from wire import OK, App, End, Playing, play, playing, to

from proxy.http1.client import ClientConnection, open_connection
from proxy.retry import REPLAY_LIMIT

GET = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"
SENT = b"GET / HTTP/1.1\r\nhost: web\r\n\r\n"
MEBI = 1024 * 1024
# More than both kernels' socket buffers hold; what the sidecar may hold beside them.
BIG = 24 * MEBI
HELD = MEBI


def block(size: int) -> bytes:
    return (hashlib.sha256(b"seed").digest() * (size // 32 + 1))[:size]


async def asked(mesh: Playing, app: App, request: bytes = GET) -> tuple[End, End]:
    client = await mesh.client()
    client.send(request)
    upstream = await app.accepted()
    await upstream.until(b"\r\n\r\n")
    return client, upstream


@pytest.mark.parametrize("chunked", [False, True])
def test_a_big_answer_waits_for_a_slow_reader_and_arrives_whole(chunked: bool) -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client, upstream = await asked(mesh, app)
            client.transport.pause_reading()
            body = block(BIG)
            if chunked:
                upstream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % BIG, body)
                upstream.send(b"\r\n0\r\n\r\n")
            else:
                upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG, body)
            [down] = mesh.downstreams()
            await eventually(lambda: down.exchange is not None and down.exchange._response_held)
            assert down.transport.get_write_buffer_size() < HELD
            client.transport.resume_reading()
            assert (await client.answer()).body == body
            client.send(GET)
            await upstream.got(SENT)
            upstream.send(OK)
            await client.got(OK)

    play(scene())


@pytest.mark.parametrize("chunked", [False, True])
def test_a_big_request_waits_for_a_slow_upstream_and_arrives_whole(chunked: bool) -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            body = block(BIG)
            framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % BIG
            client, upstream = await asked(mesh, app, b"POST / HTTP/1.1\r\nHost: web\r\n%b\r\n\r\n" % framing)
            upstream.transport.pause_reading()
            client.send(b"%x\r\n%b\r\n0\r\n\r\n" % (BIG, body) if chunked else body)
            [down] = mesh.downstreams()
            await eventually(lambda: down._held and down.exchange.up)
            assert down.exchange.up.transport.get_write_buffer_size() < HELD
            upstream.transport.resume_reading()
            if chunked:
                assert await upstream._chunks() == body
            else:
                await upstream.got(body)
            upstream.send(OK)
            await client.got(OK)
            assert down.deadline < float("inf")  # idle now, no longer in a body

    play(scene())


@pytest.mark.parametrize(("size", "times"), [(2 * MEBI, 20), (200_000, 100)])
def test_a_client_that_pipelines_and_does_not_read_is_not_read_from(size: int, times: int) -> None:
    async def scene() -> None:
        body = block(size)
        whole = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        async with App(lambda _: whole) as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.transport.pause_reading()
            client.send(GET * times)
            [down] = await _downstreams(mesh)
            await eventually(lambda: down._blocked)
            client.send(GET * 50)
            await eventually(lambda: down._blocked and len(app.requests) < times)
            assert down.transport.get_write_buffer_size() < len(whole) + HELD
            client.transport.resume_reading()
            for _ in range(times + 50):
                assert len((await client.answer()).body) == len(body)

    play(scene())


async def _downstreams(mesh: Playing) -> list[Any]:
    await eventually(mesh.downstreams)
    return mesh.downstreams()


def test_a_request_larger_than_what_is_kept_waits_for_its_connection() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            body = block(3 * MEBI)
            client = await mesh.client()
            client.send(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: %d\r\n\r\n" % len(body), body)
            upstream = await app.accepted()
            await upstream.until(b"\r\n\r\n")
            await upstream.got(body)
            upstream.send(OK)
            await client.got(OK)

    play(scene())


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel takes next to nothing of what goes to upstreams."""

    async def opened(*arguments: Any, relayed: bool = False) -> ClientConnection:
        connection = await open_connection(*arguments, relayed=relayed)
        sock = connection.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return connection

    monkeypatch.setattr("proxy.forwarding.open_connection", opened)


class Reluctant(App):
    """Reads nothing until it is told to."""

    def _arrived(self, end: End) -> None:
        end.transport.pause_reading()
        super()._arrived(end)


def test_an_upstream_that_does_not_read_a_first_write_holds_the_client(narrow: None) -> None:
    """The kept part of a request is one write; what it holds back must not be forgotten as it begins."""

    async def scene() -> None:
        async with Reluctant(narrow=True) as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: %d\r\n\r\n" % BIG, block(BIG))
            upstream = await app.accepted()
            [down] = mesh.downstreams()
            await eventually(lambda: down._held and down.exchange.up)
            assert down.exchange.up.transport.get_write_buffer_size() < HELD + REPLAY_LIMIT
            upstream.transport.resume_reading()
            await upstream.until(b"\r\n\r\n")
            await upstream.got(block(BIG))
            upstream.send(OK)
            await client.got(OK)

    play(scene())


def test_an_upstream_that_answers_before_it_has_read_is_not_used_again(narrow: None) -> None:
    async def scene() -> None:
        async with Reluctant(narrow=True) as app, playing(to(app)) as mesh:
            client = await mesh.client()
            size = 200_000
            client.send(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: %d\r\n\r\n" % size, block(size))
            upstream = await app.accepted()
            [down] = mesh.downstreams()
            await eventually(lambda: down.exchange.request_done and down.exchange.up and down.exchange.up.blocked)
            upstream.send(OK)
            await client.got(OK)
            client.send(GET)
            second = await app.accepted()
            second.transport.resume_reading()
            await second.got(SENT)
            second.send(OK)
            await client.got(OK)

    play(scene())


def test_a_slow_reader_of_a_last_answer_gets_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.http1.server.LINGER", 0.0)
    monkeypatch.setattr("proxy.deadlines.SWEEP", 0.01)

    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client, upstream = await asked(mesh, app, b"GET / HTTP/1.0\r\nHost: web\r\n\r\n")
            client.transport.pause_reading()
            [down] = mesh.downstreams()
            for end in (client, down):
                sock = end.transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
            body = block(200_000)
            upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body)
            await eventually(lambda: down.lingering and down._unflushed > 0)
            client.transport.resume_reading()
            assert (await client.rest()).partition(b"\r\n\r\n")[2] == body

    play(scene())
