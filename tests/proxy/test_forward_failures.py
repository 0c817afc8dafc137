"""What becomes of a request when its endpoint fails: what moves on, what must not, and what the client is told."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from eventually import eventually
from ports import free_port
from wire import OK, Answered, App, End, Playing, gone, play, playing, split, to

from proxy.contract.config import Config, Endpoint
from proxy.http1.client import ClientConnection, open_connection

GET = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"
SENT = b"GET / HTTP/1.1\r\nhost: web\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 2\r\n\r\nhi"
POSTED = b"POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 2\r\n\r\nhi"


def dead() -> Endpoint:
    """An endpoint where nobody listens."""
    return Endpoint(ip="127.0.0.1", port=free_port())


@contextmanager
def full_listener() -> Iterator[int]:
    """A port where connections are neither accepted nor refused: the kernel's queue is full."""
    with socket.socket() as listener, ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


async def warmed(mesh: Playing, app: App) -> tuple[End, End]:
    """A client, and an upstream connection that has served it once and lies idle."""
    client = await mesh.client()
    client.send(GET)
    upstream = await app.accepted()
    await upstream.got(SENT)
    upstream.send(OK)
    await client.got(OK)
    return client, upstream


@pytest.mark.parametrize("request_", [GET, POST])
def test_a_connection_that_cannot_be_opened_moves_on_whatever_the_method(request_: bytes) -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as app, playing(to(dead(), dead(), app, dead())) as mesh:
            for _ in range(8):
                assert (await mesh.ask(request_)).status == 200

    play(scene())


def test_a_backend_that_cannot_be_reached_leaves_its_requests_to_the_others() -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as app, playing(split((1, [dead()]), (1, [app]))) as mesh:
            for _ in range(6):
                assert (await mesh.ask(GET)).status == 200

    play(scene())


def test_a_connection_that_ended_before_its_request_was_written_moves_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end came while the task that opened it waited for its turn."""

    async def opened_and_ended(*arguments: Any, relayed: bool = False) -> ClientConnection:
        connection = await open_connection(*arguments, relayed=relayed)
        if arguments[1].endpoint.pod == "shy":
            await eventually(lambda: not connection.usable)
        return connection

    monkeypatch.setattr("proxy.forwarding.open_connection", opened_and_ended)

    async def scene() -> None:
        async with Shy() as shy, App(lambda _: OK) as app:
            # A split's backends take turns, whatever the balancer would think of them.
            async with playing(split((1, [Endpoint(ip="127.0.0.1", port=shy.port, pod="shy")]), (1, [app]))) as mesh:
                for _ in range(4):
                    assert (await mesh.ask(POST)).status == 200
            assert shy.ends != []

    play(scene())


class Shy(App):
    """Takes connections and ends them."""

    def _arrived(self, end: End) -> None:
        self.ends.append(end)
        end.transport.abort()


def test_a_connection_closed_as_soon_as_it_is_open_moves_on() -> None:
    async def scene() -> None:
        async with Shy() as shy, App(lambda _: OK) as app, playing(to(shy, app)) as mesh:
            answers = [await mesh.ask(POST) for _ in range(8)]
            # Whether the end is seen before the request is written is chance; a hang or a second write is not.
            assert {(answer.status, answer.reason) for answer in answers} <= {(200, ""), (502, "reset")}

    play(scene())


@pytest.mark.parametrize(
    ("config", "status", "reason"),
    [
        (to(dead()), 502, "connect-failure"),
        (to(dead(), dead(), dead()), 502, "connect-failure"),
        (to(), 503, "no-endpoint"),
        (split((0, [dead()]), (0, [dead()])), 503, "weights-zero"),
        (split((1, []), (2, [])), 503, "no-endpoint"),
        (split((1, []), (0, [dead()])), 503, "no-endpoint"),
        (split(), 503, "no-service"),
        (Config(), 502, "egress"),
    ],
)
def test_nowhere_to_go(config: Config, status: int, reason: str) -> None:
    async def scene() -> None:
        async with playing(config) as mesh:
            client = await mesh.client()
            for _ in range(2):  # the connection is kept
                client.send(GET)
                answer = await client.answer()
                assert (answer.status, answer.reason) == (status, reason)
                assert answer.body.decode().startswith(reason)

    play(scene())


@pytest.mark.parametrize(
    ("authority", "status", "reason"),
    [
        (b"web:81", 503, "no-service"),
        (b"example.com", 502, "egress"),
        (b"web.other", 502, "egress"),
        (b"[::1]", 502, "egress"),
        (b"10.1.2.3:8080", 502, "egress"),
        (b"a_b", 502, "egress"),
        (b"-", 502, "egress"),
        (b"...", 502, "egress"),
        (b"a" * 300, 502, "egress"),
    ],
)
def test_names_of_no_destination(authority: bytes, status: int, reason: str) -> None:
    async def scene() -> None:
        async with playing(to()) as mesh:
            answer = await mesh.ask(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % authority)
            assert (answer.status, answer.reason) == (status, reason)

    play(scene())


def test_an_old_request_without_host_names_no_destination() -> None:
    async def scene() -> None:
        async with playing(to()) as mesh:
            assert (await mesh.ask(b"GET / HTTP/1.0\r\n\r\n")).status == 400

    play(scene())


def test_a_stale_connection_moves_a_get_on_to_another_endpoint() -> None:
    async def scene() -> None:
        async with App() as app, App(lambda _: OK) as other, playing(to(app)) as mesh:
            client, upstream = await warmed(mesh, app)
            mesh.sidecar.apply(to(app, other, version=2))
            [state] = [state for state in mesh.states() if state.endpoint.port == app.port]
            other_state = next(state for state in mesh.states() if state.endpoint.port == other.port)
            other_state.load.pending = 1000  # so that the first choice is the endpoint with the old connection
            client.send(GET)
            await upstream.got(SENT)
            upstream.abort()
            await client.got(OK)
            assert len(other.requests) == 1
            assert state.load.pending == 0
            other_state.load.pending -= 1000

    play(scene())


def test_a_stale_connection_to_the_only_endpoint_is_replaced() -> None:
    async def scene() -> None:
        async with App() as app, App() as never, playing(split((1, [app]), (0, [never]))) as mesh:
            client, upstream = await warmed(mesh, app)
            client.send(GET)
            await upstream.got(SENT)
            upstream.close()
            fresh = await app.accepted()
            await fresh.got(SENT)
            fresh.send(OK)
            await client.got(OK)

    play(scene())


def test_stale_connections_leave_a_split_exact() -> None:
    """An application that closes every connection after its answer, without saying so."""

    async def scene() -> None:
        async with Moody() as often, Moody() as seldom, playing(split((3, [often]), (1, [seldom]))) as mesh:
            client = await mesh.client()
            for _ in range(40):
                client.send(GET)
                await client.got(OK)
            assert (len(often.requests), len(seldom.requests)) == (30, 10)

    play(scene())


class Moody(App):
    """Its connections are ``Fickle``."""

    def _end(self) -> End:
        return Fickle(self)


class Fickle(End):
    """Serves one request and resets on the second."""

    def __init__(self, app: App) -> None:
        super().__init__(app.ends.append)
        self._app = app
        self._served = False

    def data_received(self, data: bytes) -> None:
        if self._served:
            self.abort()
            return
        self._served = True
        self._app.requests.append(data)
        self.transport.write(OK)


def test_a_post_on_a_connection_that_breaks_is_not_sent_twice() -> None:
    async def scene() -> None:
        async with App() as app, App(lambda _: OK) as other, playing(to(app)) as mesh:
            client, upstream = await warmed(mesh, app)
            mesh.sidecar.apply(to(app, other, version=2))
            pending = next(state for state in mesh.states() if state.endpoint.port == other.port)
            pending.load.pending = 1000
            client.send(POST)
            await upstream.got(POSTED)
            upstream.abort()
            answer = await client.answer()
            assert (answer.status, answer.reason) == (502, "reset")
            assert other.requests == []
            pending.load.pending -= 1000

    play(scene())


def test_a_post_does_not_use_a_connection_that_was_closed_meanwhile() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client, upstream = await warmed(mesh, app)
            await gone([upstream])
            client.send(POST)
            fresh = await app.accepted()
            await fresh.got(POSTED)
            fresh.send(OK)
            await client.got(OK)

    play(scene())


@pytest.mark.parametrize("request_", [GET, POST])
def test_a_new_connection_that_breaks_after_the_request_is_502(request_: bytes) -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app, dead())) as mesh:
            client = await mesh.client()
            client.send(request_)
            upstream = await app.accepted()
            await upstream.until(b"\r\n\r\n")
            upstream.close()
            answer = await client.answer()
            assert (answer.status, answer.reason) == (502, "reset")

    play(scene())


@pytest.mark.parametrize("abort", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\n",
    ],
)
def test_a_truncated_answer_never_ends_cleanly(answer: bytes, abort: bool) -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(GET)
            upstream = await app.accepted()
            await upstream.got(SENT)
            upstream.send(answer)
            await client.until(b"short")
            upstream.abort() if abort else upstream.close()
            assert not (await client.rest()).endswith(b"0\r\n\r\n")

    play(scene())


@pytest.mark.parametrize("abort", [False, True])
def test_an_old_client_sees_a_reset_where_the_end_would_look_like_the_answers_own(abort: bool) -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(b"GET / HTTP/1.0\r\nHost: web\r\n\r\n")
            upstream = await app.accepted()
            await upstream.got(SENT)
            upstream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n")
            await client.until(b"short")
            upstream.abort() if abort else upstream.close()
            await client.wait(lambda: client.ended, "a reset")
            assert isinstance(client.error, ConnectionResetError)

    play(scene())


def test_an_answer_until_close_that_is_reset_is_truncated() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(GET)
            upstream = await app.accepted()
            await upstream.got(SENT)
            upstream.send(b"HTTP/1.1 200 OK\r\n\r\nsome")
            await client.until(b"some\r\n")
            upstream.abort()
            assert await client.rest() == b""

    play(scene())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: a\x00b\r\n\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 099 Early\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 999 Late\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\n" % (b"9" * 5000),
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\r\n\r\n",
        b"X" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
    ],
)
def test_an_answer_that_two_readers_could_read_in_two_ways_is_502(answer: bytes) -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(GET)
            upstream = await app.accepted()
            await upstream.got(SENT)
            upstream.send(answer)
            refused = await client.answer()
            assert (refused.status, refused.reason) == (502, "bad-response")
            await upstream.wait(lambda: upstream.ended, "the connection is not used again")
            client.send(GET)
            second = await app.accepted()
            await second.got(SENT)
            second.send(OK)
            await client.got(OK)

    play(scene())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\naZ\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nbad trailer\r\n\r\n",
    ],
)
def test_a_broken_body_is_502_when_nothing_of_it_was_passed_on(answer: bytes) -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(GET)
            upstream = await app.accepted()
            await upstream.got(SENT)
            upstream.send(answer)
            left = await client.rest()
            assert b"200 OK" not in left or not left.endswith(b"0\r\n\r\n")
            await upstream.wait(lambda: upstream.ended, "the connection is not used again")

    play(scene())


def test_bytes_after_an_answer_discard_the_connection() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(GET)
            upstream = await app.accepted()
            await upstream.got(SENT)
            upstream.send(OK, b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nevil!")
            await client.got(OK)
            await upstream.wait(lambda: upstream.ended, "the connection is closed")
            client.send(GET)
            second = await app.accepted()
            await second.got(SENT)
            second.send(OK)
            await client.got(OK)
            assert not client.received

    play(scene())


def test_bytes_on_an_idle_connection_discard_it() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client, upstream = await warmed(mesh, app)
            upstream.send(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
            await upstream.wait(lambda: upstream.ended, "the connection is closed")
            client.send(POST)
            second = await app.accepted()
            await second.got(POSTED)
            second.send(OK)
            await client.got(OK)

    play(scene())


def test_a_client_that_goes_away_while_the_connection_is_being_opened() -> None:
    async def scene() -> None:
        with full_listener() as port:
            async with App(lambda _: OK) as app, playing(to(Endpoint(ip="127.0.0.1", port=port))) as mesh:
                client = await mesh.client()
                client.send(GET)
                await eventually(lambda: mesh.open_exchanges() == 1)
                client.abort()
                await mesh.settled()
                mesh.sidecar.apply(to(app, version=2))
                assert (await mesh.ask(GET)).status == 200

    play(scene())


def test_an_old_client_that_is_refused_is_not_kept() -> None:
    async def scene() -> None:
        async with playing(to()) as mesh:
            client = await mesh.client()
            client.send(b"GET / HTTP/1.0\r\nHost: web\r\nConnection: keep-alive\r\n\r\n")
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (503, "close")
            assert await client.rest() == b""

    play(scene())


def test_own_refusals_keep_the_connection_only_where_its_framing_is_known() -> None:
    async def scene() -> None:
        async with playing(to()) as mesh:
            client = await mesh.client()
            client.send(POST, GET)
            answers: list[Answered] = [await client.answer(), await client.answer()]
            assert [answer.status for answer in answers] == [503, 503]
            client.send(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 100\r\n\r\n")
            answer = await client.answer()
            assert answer.headers["connection"] == "close"
            assert await client.rest() == b""
            head = await mesh.client()
            head.send(b"HEAD / HTTP/1.1\r\nHost: web\r\n\r\n", GET)
            assert (await head.answer(bodyless=True)).status == 503
            assert (await head.answer()).status == 503

    play(scene())
