"""Clients that fall silent, and a sidecar that is told to stop."""

from __future__ import annotations

import pytest
from eventually import eventually
from wire import OK, App, End, play, playing, to

GET = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"
SENT = b"GET / HTTP/1.1\r\nhost: web\r\n\r\n"


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Time-outs too short to wait for; the idle ones stay."""
    monkeypatch.setattr("proxy.deadlines.SWEEP", 0.01)
    monkeypatch.setattr("proxy.http1.server.HEAD_TIMEOUT", 0.05)
    monkeypatch.setattr("proxy.http1.server.BODY_TIMEOUT", 0.05)
    monkeypatch.setattr("proxy.http1.server.LINGER", 0.05)
    return monkeypatch


def dribbled(client: End) -> bool:
    """One more byte; whether it has become too much for the sidecar."""
    client.send(b"x")
    return b"408" in client.received


@pytest.mark.usefixtures("hurried")
def test_a_silent_client_is_sent_away() -> None:
    async def scene() -> None:
        async with playing(to()) as mesh:
            client = await mesh.client()
            assert await client.rest() == b""
            await eventually(lambda: not mesh.downstreams())

    play(scene())


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(
    "partial", [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: web\r\nX: y\r\n", GET + b"GET /"]
)
def test_a_partial_head_is_408(partial: bytes) -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(partial)
            if partial.startswith(GET):
                await client.got(OK)
            answer = await client.answer()
            assert (answer.status, answer.reason) == (408, "timeout")
            assert await client.rest() == b""

    play(scene())


@pytest.mark.usefixtures("hurried")
def test_dribbling_a_head_does_not_buy_time() -> None:
    async def scene() -> None:
        async with playing(to()) as mesh:
            client = await mesh.client()
            client.send(b"GET / HTTP/1.1\r\nHost: web\r\nX: ")
            await eventually(lambda: dribbled(client))

    play(scene())


@pytest.mark.usefixtures("hurried")
def test_a_body_that_stops_coming_is_408() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\n\r\nab")
            upstream = await app.accepted()
            answer = await client.answer()
            assert (answer.status, answer.reason) == (408, "timeout")
            assert answer.headers["connection"] == "close"
            await upstream.wait(lambda: upstream.ended, "the request is broken off")

    play(scene())


def test_dribbling_a_body_does_not_buy_time(hurried: pytest.MonkeyPatch) -> None:
    hurried.setattr("proxy.http1.server.MIN_BODY_RATE", 1e6)

    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 50000\r\n\r\n")
            await eventually(lambda: dribbled(client))

    play(scene())


def test_a_body_at_a_fair_rate_takes_as_long_as_it_takes(hurried: pytest.MonkeyPatch) -> None:
    hurried.setattr("proxy.http1.server.MIN_BODY_RATE", 1.0)

    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 60\r\n\r\n")
            upstream = await app.accepted()
            await upstream.until(b"\r\n\r\n")
            for _ in range(60):
                client.send(b"x")
                await upstream.got(b"x")
            upstream.send(OK)
            await client.got(OK)

    play(scene())


@pytest.mark.usefixtures("hurried")
def test_an_application_may_think_as_long_as_it_likes_about_a_whole_request() -> None:
    """Also after its upload was held back: that silence is nobody's fault."""

    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            size = 24 * 1024 * 1024
            client.send(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: %d\r\n\r\n" % size)
            upstream = await app.accepted()
            upstream.transport.pause_reading()
            client.send(b"x" * size)
            [down] = mesh.downstreams()
            await eventually(lambda: down._held)
            upstream.transport.resume_reading()
            await upstream.wait(lambda: upstream.total > size, "the whole request")
            await eventually(lambda: down.exchange.request_done and not down._held)
            await eventually(lambda: down.deadline == float("inf"))
            upstream.send(OK)
            await client.got(OK)

    play(scene())


def test_an_idle_connection_ends_in_the_end(hurried: pytest.MonkeyPatch) -> None:
    hurried.setattr("proxy.http1.server.IDLE_TIMEOUT", 0.05)

    async def scene() -> None:
        async with App(lambda _: OK) as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(GET)
            await client.got(OK)
            assert await client.rest() == b""

    play(scene())


def test_draining_lets_requests_end_and_closes_what_is_idle() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            idle, busy, begun = [await mesh.client() for _ in range(3)]
            idle.send(GET)
            first = await app.accepted()
            await first.got(SENT)
            first.send(OK)
            await idle.got(OK)
            busy.send(GET)
            await first.got(SENT)
            begun.send(GET)
            second = await app.accepted()
            await second.got(SENT)
            second.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
            await begun.until(b"\r\n\r\nab")
            mesh.stop.set()
            assert await idle.rest() == b""
            idle.close()
            late = await mesh.client()  # whoever has not heard yet is served
            late.send(GET)
            third = await app.accepted()
            await third.got(SENT)
            for upstream in (first, third):
                upstream.send(OK)
            second.send(b"cd")
            for client in (busy, late):
                assert await client.rest() == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
                client.close()
            assert await begun.rest() == b"cd"
            begun.close()
            await mesh.ended.wait()

    play(scene())


def test_draining_answers_the_first_request_of_a_connection_just_opened() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            await eventually(mesh.downstreams)
            mesh.stop.set()
            [down] = mesh.downstreams()
            await eventually(lambda: down.forwarding.draining)
            client.send(GET)
            upstream = await app.accepted()
            await upstream.got(SENT)
            upstream.send(OK)
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")

    play(scene())


def test_draining_answers_what_was_pipelined() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(GET)
            upstream = await app.accepted()
            await upstream.got(SENT)
            upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
            await client.until(b"\r\n\r\nab")
            client.send(GET)
            [down] = mesh.downstreams()
            await eventually(lambda: down._buffer)
            mesh.stop.set()
            await eventually(lambda: down.forwarding.draining)
            upstream.send(b"cd")
            await client.got(b"cd")
            await upstream.got(SENT)
            upstream.send(OK)
            assert await client.rest() == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
            client.close()
            await mesh.ended.wait()

    play(scene())


def test_draining_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.sidecar.DRAIN_TIMEOUT", 0.05)

    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(GET)
            upstream = await app.accepted()
            await upstream.got(SENT)
            mesh.stop.set()
            await mesh.ended.wait()
            await client.wait(lambda: client.ended, "the end")
            await upstream.wait(lambda: upstream.ended, "the end")

    play(scene())
