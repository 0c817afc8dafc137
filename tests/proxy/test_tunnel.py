"""Upgrades, and CONNECT: when bytes are no longer requests, and when they are requests after all."""

from __future__ import annotations

import asyncio

import pytest
from eventually import eventually
from wire import OK, App, End, Playing, play, playing, to

from proxy.endpoints import EndpointState
from proxy.forwarding import Forwarding
from proxy.http1.client import ClientConnection

ASKED = b"GET /ws HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n"
FORWARDED = (
    b"GET /ws HTTP/1.1\r\nhost: web\r\nSec-WebSocket-Key: k\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
)
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nX: y\r\n\r\n"
SEEN = b"HTTP/1.1 101 Switching Protocols\r\nX: y\r\nconnection: upgrade\r\nupgrade: WebSocket\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"
SENT = b"GET / HTTP/1.1\r\nhost: web\r\n\r\n"


async def tunnelled(mesh: Playing, app: App) -> tuple[End, End]:
    client = await mesh.client()
    client.send(ASKED)
    upstream = await app.accepted()
    await upstream.got(FORWARDED)
    upstream.send(SWITCHED)
    await client.got(SEEN)
    return client, upstream


def test_a_tunnel_after_101() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client, upstream = await tunnelled(mesh, app)
            client.send(b"\x81\x00 GET / HTTP/1.1\r\n\r\n")
            await upstream.got(b"\x81\x00 GET / HTTP/1.1\r\n\r\n")
            upstream.send(b"\x00\xffbytes")
            await client.got(b"\x00\xffbytes")
            big = bytes(range(256)) * 20_000
            client.send(big)
            upstream.send(big)
            await upstream.got(big)
            await client.got(big)
            upstream.close()
            assert await client.rest() == b""
            client.close()

    play(scene())


def test_a_client_that_does_not_end_a_tunnel_whose_upstream_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.deadlines.SWEEP", 0.01)
    monkeypatch.setattr("proxy.http1.server.BODY_TIMEOUT", 0.05)

    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client, upstream = await tunnelled(mesh, app)
            upstream.close()
            assert await client.rest() == b""
            await eventually(lambda: not mesh.open_exchanges())

    play(scene())


def test_bytes_that_come_with_the_switch_belong_to_the_tunnel() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(ASKED, b"early")
            upstream = await app.accepted()
            await upstream.got(FORWARDED)
            upstream.send(SWITCHED, b"hello")
            await client.got(SEEN + b"hello")
            await upstream.got(b"early")
            client.abort()
            await upstream.wait(lambda: upstream.ended, "the end")

    play(scene())


def test_each_direction_of_a_tunnel_ends_by_itself() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client, upstream = await tunnelled(mesh, app)
            client.send(b"last words")
            client.half_close()
            assert await upstream.rest() == b"last words"
            upstream.send(b"and mine")
            await client.got(b"and mine")
            upstream.half_close()
            await client.wait(lambda: client.ended, "the end")
            await eventually(lambda: not mesh.downstreams())

    play(scene())


def test_the_upstreams_direction_of_a_tunnel_ends_by_itself() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client, upstream = await tunnelled(mesh, app)
            upstream.send(b"bye")
            upstream.half_close()
            assert await client.rest() == b"bye"
            client.send(b"good bye")
            await upstream.got(b"good bye")
            client.half_close()
            await upstream.wait(lambda: upstream.ended, "the end")

    play(scene())


def test_a_client_that_half_closed_before_the_switch() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(ASKED)
            client.half_close()
            upstream = await app.accepted()
            await upstream.got(FORWARDED)
            upstream.send(SWITCHED, b"hello")
            assert await upstream.rest() == b""
            upstream.close()
            assert await client.rest() == SEEN + b"hello"

    play(scene())


def test_a_tunnel_is_held_back_both_ways() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client, upstream = await tunnelled(mesh, app)
            big = b"x" * (24 * 1024 * 1024)
            [down] = mesh.downstreams()
            client.transport.pause_reading()
            upstream.send(big)
            await eventually(lambda: down.exchange._held)
            upstream.transport.pause_reading()
            client.send(big)
            await eventually(lambda: down._held)
            assert down.transport.get_write_buffer_size() < 1024 * 1024
            assert down.exchange._up.transport.get_write_buffer_size() < 1024 * 1024
            client.transport.resume_reading()
            upstream.transport.resume_reading()
            await client.got(big)
            await upstream.got(big)
            assert down.deadline == float("inf")  # silence in a tunnel is nobody's fault
            client.abort()

    play(scene())


def test_an_upgrade_answered_200_is_no_tunnel() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(ASKED)
            upstream = await app.accepted()
            await upstream.got(FORWARDED)
            upstream.send(OK)
            await client.got(OK)
            client.send(GET)
            await upstream.got(SENT)
            upstream.send(OK)
            await client.got(OK)

    play(scene())


@pytest.mark.parametrize(
    "head",
    [
        b"GET /ws HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHost: web\r\nUpgrade: websocket\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\nUpgrade: TLS/1.0\r\n\r\n",
    ],
)
def test_what_is_no_upgrade_goes_on_as_a_request(head: bytes) -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(head)
            upstream = await app.accepted()
            await upstream.got(b"GET /ws HTTP/1.1\r\nhost: web\r\n\r\n")
            upstream.send(SWITCHED)
            assert (await client.answer()).status == 502

    play(scene())


def test_an_upgrade_with_a_body_smuggles_nothing() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(
                b"GET /ws HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Content-Length: 37\r\n\r\n",
                b"GET /evil HTTP/1.1\r\nHost: evil\r\nX: y\r",
            )
            upstream = await app.accepted()
            await upstream.until(b"\r\n\r\n")
            await upstream.got(b"GET /evil HTTP/1.1\r\nHost: evil\r\nX: y\r")
            upstream.send(SWITCHED)
            assert (await client.answer()).status == 502

    play(scene())


def test_a_switch_to_another_protocol_than_asked_for_is_502() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(ASKED)
            upstream = await app.accepted()
            await upstream.got(FORWARDED)
            upstream.send(SWITCHED.replace(b"WebSocket", b"other"))
            assert (await client.answer()).status == 502

    play(scene())


# -- CONNECT ---------------------------------------------------------------------------------------

ESTABLISHED = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.mark.parametrize("authority", [b"web:80", b"web.default.svc.cluster.local:80", b"WEB.default:80"])
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_connect_to_a_name_of_the_mesh_says_where_requests_go(authority: bytes, version: bytes) -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(b"CONNECT %b HTTP/%b\r\nHost: %b\r\n\r\n" % (authority, version, authority))
            await client.got(ESTABLISHED)
            for _ in range(2):
                client.send(b"GET /a HTTP/1.1\r\nHost: anything.example\r\n\r\n")
                upstream = await app.accepted() if not app.ends else app.ends[0]
                await upstream.got(b"GET /a HTTP/1.1\r\nhost: anything.example\r\n\r\n")
                upstream.send(OK)
                await client.got(OK)

    play(scene())


def test_requests_may_come_right_behind_connect() -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(b"CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\n\r\n", GET, GET)
            await client.got(ESTABLISHED + OK + OK)

    play(scene())


@pytest.mark.parametrize(
    ("inside", "status"),
    [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\n\r\n", 405),
        (b"nonsense\r\n\r\n", 400),
    ],
)
def test_inside_connect_only_http_1_is_understood(inside: bytes, status: int) -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(b"CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\n\r\n", inside)
            await client.got(ESTABLISHED)
            assert (await client.answer()).status == status
            assert await client.rest() == b""

    play(scene())


def test_tls_inside_connect_is_closed_without_an_answer() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(b"CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc")
            assert await client.rest() == ESTABLISHED

    play(scene())


def test_tls_where_a_proxy_is_expected_is_400() -> None:
    async def scene() -> None:
        async with playing(to()) as mesh:
            client = await mesh.client()
            client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc")
            assert (await client.answer()).status == 400

    play(scene())


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        (b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n", 502, "egress"),
        (b"CONNECT web:81 HTTP/1.1\r\nHost: web:81\r\n\r\n", 503, "no-service"),
        (b"CONNECT web HTTP/1.1\r\nHost: web\r\n\r\n", 400, "bad-request"),
        (b"CONNECT web: HTTP/1.1\r\nHost: web\r\n\r\n", 400, "bad-request"),
        (b"CONNECT web:0 HTTP/1.1\r\nHost: web\r\n\r\n", 400, "bad-request"),
        (b"CONNECT web:80/x HTTP/1.1\r\nHost: web:80\r\n\r\n", 400, "bad-request"),
        (b"CONNECT u@web:80 HTTP/1.1\r\nHost: web:80\r\n\r\n", 400, "bad-request"),
        (b"CONNECT http://web:80 HTTP/1.1\r\nHost: web:80\r\n\r\n", 400, "bad-request"),
        (b"CONNECT / HTTP/1.1\r\nHost: web:80\r\n\r\n", 400, "bad-request"),
        (b"CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\nContent-Length: 5\r\n\r\n", 400, "bad-request"),
        (b"CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "bad-request"),
        (b"CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\nX : y\r\n\r\n", 400, "bad-request"),
        (b"CONNECT web:80 HTTP/1.1\r\n\r\n", 400, "bad-request"),
        (b"CONNECT web:80 HTTP/2.0\r\nHost: web:80\r\n\r\n", 505, "bad-request"),
    ],
)
def test_connect_that_leads_nowhere(request_: bytes, status: int, reason: str) -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            answer = await mesh.ask(request_)
            assert (answer.status, answer.reason) == (status, reason)

    play(scene())


def test_connect_on_the_inbound_side_is_405() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app), app=app) as mesh:
            answer = await mesh.ask(b"CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\n\r\n", mesh.clear)
            assert answer.status == 405

    play(scene())


@pytest.mark.parametrize("name", [b"127.0.0.1", b"localhost"])
def test_connect_to_another_world_is_a_tunnel_where_egress_is_allowed(name: bytes) -> None:
    async def scene() -> None:
        async with App() as world, playing(to(), egress=True) as mesh:
            client = await mesh.client()
            authority = b"%b:%d" % (name, world.port)
            client.send(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n\x16\x03\x01early" % (authority, authority))
            upstream = await world.accepted()
            await client.got(ESTABLISHED)
            await upstream.got(b"\x16\x03\x01early")
            upstream.send(b"\x16answer")
            await client.got(b"\x16answer")
            client.half_close()
            assert await upstream.rest() == b""
            upstream.close()
            await client.wait(lambda: client.ended, "the end")

    play(scene())


def test_a_tunnel_never_takes_a_connection_that_spoke_http() -> None:
    async def scene() -> None:
        async with App() as world, playing(to(), egress=True) as mesh:
            authority = b"127.0.0.1:%d" % world.port
            client = await mesh.client()
            client.send(b"GET http://%b/ HTTP/1.1\r\nHost: x\r\n\r\n" % authority)
            first = await world.accepted()
            await first.until(b"\r\n\r\n")
            first.send(OK)
            await client.got(OK)
            client.send(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (authority, authority))
            second = await world.accepted()
            await client.got(ESTABLISHED)
            second.send(b"hi")
            await client.got(b"hi")
            client.abort()

    play(scene())


def test_a_tunnel_that_nobody_waits_for_any_more_is_no_connection_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    real, gone = Forwarding.open, asyncio.Event()

    async def late(self: Forwarding, target: EndpointState, *, relayed: bool = False) -> ClientConnection:
        connection = await real(self, target, relayed=relayed)
        if relayed:
            await gone.wait()
        return connection

    async def scene() -> None:
        async with App() as world, playing(to(), egress=True) as mesh:
            monkeypatch.setattr(Forwarding, "open", late)
            client = await mesh.client()
            authority = b"127.0.0.1:%d" % world.port
            client.send(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (authority, authority))
            upstream = await world.accepted()
            client.abort()
            await eventually(lambda: not mesh.sidecar._outbound.connections)
            gone.set()
            await upstream.wait(lambda: upstream.ended, "the end")

    play(scene())


def test_connect_to_another_world_that_does_not_answer_is_502() -> None:
    async def scene() -> None:
        async with App() as world, playing(to(), egress=True) as mesh:
            world.stop()
            await eventually(lambda: world._server is not None and not world._server.is_serving())
            answer = await mesh.ask(b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (answer.status, answer.reason) == (502, "connect-failure")

    play(scene())


def test_egress_to_the_sidecar_itself_is_a_loop() -> None:
    async def scene() -> None:
        async with playing(to(), egress=True) as mesh:
            for name in (b"127.0.0.1", b"localhost", b"127.1", b"[::ffff:127.0.0.1]", b"2130706433"):
                request = b"GET http://%b:%d/ HTTP/1.1\r\nHost: x\r\n\r\n" % (name, mesh.outbound)
                answer = await mesh.ask(request)
                assert (answer.status, answer.reason) == (502, "loop")

    play(scene())
