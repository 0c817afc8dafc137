"""Requests and answers through one outbound sidecar, byte by byte: keep-alive, framing, what is stripped."""

from __future__ import annotations

import asyncio

import pytest
from eventually import eventually
from wire import OK, App, End, Playing, play, playing, to

from proxy.http1.server import MAX_PIPELINED

GET = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"
SENT = b"GET / HTTP/1.1\r\nhost: web\r\n\r\n"


async def opened(mesh: Playing, app: App, request: bytes = GET, sent: bytes = SENT) -> tuple[End, End]:
    """A client and the upstream that has its request."""
    client = await mesh.client()
    client.send(request)
    upstream = await app.accepted()
    await upstream.got(sent)
    return client, upstream


def test_kept_alive_connections_on_both_sides() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client, upstream = await opened(mesh, app)
            for _ in range(3):
                upstream.send(OK)
                await client.got(OK)
                client.send(GET)
                await upstream.got(SENT)
            upstream.send(OK)
            await client.got(OK)
            assert len(app.ends) == 1
            [(_, totals)] = mesh.sidecar.counters.items()
            assert totals.by_status == {200: 4}

    play(scene())


def test_request_byte_by_byte_and_answer_byte_by_byte() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            request = (
                b"POST /a HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n"
            )
            for octet in request:
                client.send(bytes((octet,)))
                await _tick()
            upstream = await app.accepted()
            await upstream.got(b"POST /a HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\r\n\r\n")
            assert (await upstream._chunks()) == b"abc"
            for octet in b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n":
                upstream.send(bytes((octet,)))
                await _tick()
            assert (await client.answer()).body == b"ok"

    play(scene())


async def _tick() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def test_pipelined_requests_are_answered_in_order() -> None:
    async def scene() -> None:
        async with App(lambda head: _said(head.split(b" ")[1])) as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(*(b"GET /%d HTTP/1.1\r\nHost: web\r\n\r\n" % number for number in range(50)))
            for number in range(50):
                assert (await client.answer()).body == b"/%d" % number

    play(scene())


def test_pipelined_requests_before_a_half_close_are_all_answered() -> None:
    async def scene() -> None:
        async with App(lambda head: _said(head.split(b" ")[1])) as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(*(b"GET /%d HTTP/1.1\r\nHost: web\r\n\r\n" % number for number in range(3)))
            client.half_close()
            for number in range(3):
                assert (await client.answer()).body == b"/%d" % number
            assert await client.rest() == b""

    play(scene())


def _said(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: web\r\n" + (b"X: " + b"y" * 10_000 + b"\r\n") * 10 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: web\r\n" + (b"X: " + b"y" * 10_000 + b"\r\n") * 10, 431),
        (b"GET / HTTP/1.1\r\nHost: web\r\nX: " + b"y" * 100_000, 431),
        (b"GET /" + b"a" * 100_000, 414),
        (b"GET / HTTP/1.1\r\nHost: web\nX: y", 400),
        (b"\r\n" * 50, 400),
    ],
    ids=lambda value: str(value[:30]) if isinstance(value, bytes) else str(value),
)
def test_what_can_never_become_a_request_is_refused_at_once(request_: bytes, status: int) -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            answer = await mesh.ask(request_)
            assert answer.status == status
            assert app.ends == []

    play(scene())


def test_empty_lines_before_a_request_are_forgiven() -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(b"\r\n\r\n", GET, b"\r\n", GET)
            await client.got(OK + OK)

    play(scene())


def test_pipelining_is_bounded() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client, upstream = await opened(mesh, app)
            client.send(GET * 400_000)
            [down] = mesh.downstreams()
            await eventually(lambda: down._starving)
            assert len(down._buffer) <= MAX_PIPELINED + 256 * 1024
            upstream.send(OK)
            await client.got(OK)
            await upstream.got(SENT)
            client.abort()
            app.stop()
            upstream.abort()

    play(scene())


def test_half_closed_client_gets_its_answer_in_full() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client, upstream = await opened(mesh, app)
            client.half_close()
            upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
            await client.got(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab")
            upstream.send(b"cd")
            assert await client.rest() == b"cd"

    play(scene())


def test_half_close_within_a_body_is_408() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client, upstream = await opened(
                mesh,
                app,
                b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\n\r\nab",
                b"POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 5\r\n\r\nab",
            )
            client.half_close()
            answer = await client.answer()
            assert (answer.status, answer.reason) == (408, "bad-request")
            await upstream.wait(lambda: upstream.ended, "the request is broken off")

    play(scene())


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n"),
        (b"HTTP/1.1 304 Not Modified\r\nETag: a\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\nETag: a\r\n\r\n"),
        (
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
            b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n",
        ),
    ],
)
def test_answers_without_body_keep_the_connection_aligned(answer: bytes, seen: bytes) -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client, upstream = await opened(mesh, app)
            upstream.send(answer)
            await client.got(seen)
            client.send(GET)
            await upstream.got(SENT)
            upstream.send(OK)
            await client.got(OK)

    play(scene())


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
    ],
)
def test_head_has_no_body_whatever_the_answer_announces(answer: bytes, seen: bytes) -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client, upstream = await opened(
                mesh, app, b"HEAD / HTTP/1.1\r\nHost: web\r\n\r\n", b"HEAD / HTTP/1.1\r\nhost: web\r\n\r\n"
            )
            upstream.send(answer)
            await client.got(seen)
            client.send(GET)
            await upstream.got(SENT)
            upstream.send(OK)
            await client.got(OK)

    play(scene())


def test_interim_answers_pass_and_expectation_is_the_applications_business() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            head = b"POST / HTTP/1.1\r\nHost: web\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
            client, upstream = await opened(
                mesh, app, head, b"POST / HTTP/1.1\r\nhost: web\r\nExpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
            )
            upstream.send(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            await client.got(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            client.send(b"hi")
            await upstream.got(b"hi")
            upstream.send(OK)
            await client.got(OK)

    play(scene())


def test_expectation_refused_by_the_application_ends_the_connection() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(b"POST / HTTP/1.1\r\nHost: web\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            upstream = await app.accepted()
            await upstream.until(b"\r\n\r\n")
            upstream.send(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
            answer = await client.answer()
            assert answer.status == 417
            assert answer.headers["connection"] == "close"
            assert await client.rest() == b""
            await upstream.wait(lambda: upstream.ended, "the upstream is not used again")

    play(scene())


def test_a_flood_of_interim_answers_is_502() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client, upstream = await opened(mesh, app)
            upstream.send(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000)
            await client.until(b"HTTP/1.1 502")
            await client.until(b"smi-mesh-reason: bad-response")
            await upstream.wait(lambda: upstream.ended, "the upstream's connection is dropped")

    play(scene())


def test_trailers_go_end_to_end_in_both_directions() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client, upstream = await opened(
                mesh,
                app,
                b"POST / HTTP/1.1\r\nHost: web\r\nTE: trailers\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"5;ext=1\r\nhello\r\n0\r\nX-Sum: 7\r\nAuthorization: no\r\nsmi-mesh-client-id: no\r\n\r\n",
                b"POST / HTTP/1.1\r\nhost: web\r\nte: trailers\r\nTrailer: X-Sum\r\ntransfer-encoding: chunked\r\n\r\n"
                b"5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n",
            )
            upstream.send(
                b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n"
                b"X-Sum: 8\r\n\r\n"
            )
            await client.got(
                b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n"
                b"X-Sum: 8\r\n\r\n"
            )
            client.send(GET)
            await upstream.got(SENT)
            upstream.send(OK)
            await client.got(OK)

    play(scene())


def test_an_answer_until_the_end_of_the_connection_becomes_chunked() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client, upstream = await opened(mesh, app)
            upstream.send(b"HTTP/1.0 200 OK\r\n\r\nab")
            await client.got(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n")
            upstream.close()
            await client.got(b"0\r\n\r\n")
            client.send(GET)
            second = await app.accepted()
            await second.got(SENT)
            second.send(OK)
            await client.got(OK)

    play(scene())


@pytest.mark.parametrize("connection", [b"", b"Connection: close\r\n"])
def test_an_old_client_gets_bodies_it_can_frame(connection: bytes) -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client, upstream = await opened(mesh, app, b"GET / HTTP/1.0\r\nHost: web\r\n%b\r\n" % connection)
            upstream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")
            assert await client.rest() == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nab"

    play(scene())


def test_an_old_client_that_asks_for_it_is_kept_alive() -> None:
    async def scene() -> None:
        request = b"GET / HTTP/1.0\r\nHost: web\r\nConnection: keep-alive\r\n\r\n"
        async with App() as app, playing(to(app)) as mesh:
            client, upstream = await opened(mesh, app, request)
            upstream.send(b"HTTP/1.1 103 Early Hints\r\n\r\n", OK)
            await client.got(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nok")
            client.send(request)
            await upstream.got(SENT)
            upstream.send(OK)
            await client.until(b"\r\n\r\nok")

    play(scene())


def test_connection_close_is_the_last_request() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client, upstream = await opened(
                mesh, app, b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n" + GET + b"garbage"
            )
            upstream.send(OK)
            assert await client.rest() == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
            assert not upstream.received

    play(scene())


def test_what_is_stripped_from_a_request_and_from_an_answer() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client, upstream = await opened(
                mesh,
                app,
                b"GET /a?b=%20 HTTP/1.1\r\nHost: web\r\nAccept: */*\r\n"
                b"Connection: X-Named, Authorization, keep-alive\r\n"
                b"X-Named: 1\r\nAuthorization: me\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\n"
                b"Proxy-Authorization: p\r\nTE: gzip\r\nHTTP2-Settings: x\r\nUpgrade: h2c\r\n"
                b"smi-mesh-client-id: admin\r\nSMI-Mesh-Reason: x\r\nsmi_mesh_client_id: admin\r\nsmi.mesh.x: y\r\n"
                b"Transfer_Encoding: chunked\r\nContent_Length: 5\r\nCookie: a\r\nCookie: b\r\n\r\n",
                b"GET /a?b=%20 HTTP/1.1\r\nhost: web\r\nAccept: */*\r\nAuthorization: me\r\nCookie: a\r\n"
                b"Cookie: b\r\n\r\n",
            )
            upstream.send(
                b"HTTP/1.1 200 Fine\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n"
                b"smi-mesh-reason: denied; x\r\n"
                b"Smi-Mesh-Retry: spent\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 2\r\n\r\nok"
            )
            await client.got(b"HTTP/1.1 200 Fine\r\nSet-Cookie: a\r\nSet-Cookie: b\r\ncontent-length: 2\r\n\r\nok")

    play(scene())


def test_the_absolute_form_wins_over_host() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client, upstream = await opened(
                mesh,
                app,
                b"GET http://web.default.svc.cluster.local:80/x?y HTTP/1.1\r\nHost: other\r\n\r\n",
                b"GET /x?y HTTP/1.1\r\nhost: web.default.svc.cluster.local:80\r\n\r\n",
            )
            upstream.send(OK)
            await client.got(OK)

    play(scene())


def test_a_client_that_goes_away_breaks_off_its_request() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client, upstream = await opened(mesh, app)
            upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
            await client.until(b"ab")
            client.abort()
            await upstream.wait(lambda: upstream.ended, "the upstream is told")
            await mesh.settled()

    play(scene())


def test_an_early_answer_during_an_upload_is_delivered() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client, upstream = await opened(
                mesh,
                app,
                b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 100000000\r\n\r\nab",
                b"POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 100000000\r\n\r\nab",
            )
            upstream.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
            client.send(b"x" * 1_000_000)
            assert await client.rest() == (
                b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig"
            )
            await upstream.wait(lambda: upstream.ended, "the upstream is not used again")
            client.send(GET)
            client.close()

    play(scene())


def test_silence_inside_a_config_swap() -> None:
    async def scene() -> None:
        async with App() as old, App() as new, playing(to(old)) as mesh:
            client, upstream = await opened(mesh, old)
            mesh.sidecar.apply(to(new, version=2))
            upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold")
            assert (await client.answer()).body == b"old"
            await upstream.wait(lambda: upstream.ended, "a connection nobody wants is closed")
            client.send(GET)
            second = await new.accepted()
            await second.got(SENT)
            second.send(OK)
            await client.got(OK)

    play(scene())
