"""What breaks between two sidecars: in an answer's midst, together with its last bytes, or before it begins."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace
from pair import ALLOW, CLIENT, SERVER, contexts_of, paired
from wire import HOST, OK, App, End, play, playing, to, under

from proxy.contract.config import Breaker, Endpoint, Retry
from proxy.contract.spiffe import Peer

GET = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"
DELETE = b"DELETE / HTTP/1.1\r\nHost: web\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 0\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n"
HALF = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"
CHUNK = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"
RESET = struct.pack("ii", 1, 0)


@pytest.mark.parametrize("answer", [HALF, CHUNK])
def test_an_answer_that_breaks_off_ends_at_the_client(answer: bytes) -> None:
    async def scene() -> None:
        async with App() as app, paired(ALLOW, app) as pair:
            client = await pair.near.client()
            client.send(GET)
            upstream = await app.accepted()
            await upstream.until(b"\r\n\r\n")
            upstream.send(answer)
            upstream.close()
            await client.until(b"half")
            await client.wait(lambda: client.ended, "a reset")
            assert isinstance(client.error, ConnectionResetError)

    play(scene())


class OwnPeer:
    """A sidecar of our own making, which blocks: what it sends and its reset are both there before anybody looks."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._connection: ssl.SSLSocket

    async def accept(self) -> None:
        """Returns when it has a request."""
        await asyncio.to_thread(self._accept)

    def _accept(self) -> None:
        plain, _ = self._listening.accept()
        self._connection = contexts_of(SERVER).server.wrap_socket(plain, server_side=True)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._connection.recv(65536)

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def reset(self) -> None:
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._connection.close()


def at(listening: socket.socket) -> Endpoint:
    listening.settimeout(10)  # a peer that is not asked ends the test
    return Endpoint(ip=HOST, port=80, mesh=listening.getsockname()[1], identity=SERVER)


@asynccontextmanager
async def in_front_of_peer(retry: Retry | None = None) -> AsyncIterator[tuple[End, OwnPeer]]:
    """A client of a sidecar whose only endpoint is the peer."""
    with socket.create_server((HOST, 0)) as listening:
        config = under(to(at(listening)), retry)
        async with playing(config, contexts=contexts_of(CLIENT)) as mesh:
            yield await mesh.client(), OwnPeer(listening)


def test_a_reset_behind_half_an_answer_is_noticed() -> None:
    async def scene() -> None:
        async with in_front_of_peer() as (client, peer):
            client.send(GET)
            await peer.accept()
            peer.send(HALF)
            peer.reset()
            await client.until(b"half")
            await client.wait(lambda: client.ended, "a reset")

    play(scene())


def test_a_reset_behind_the_last_words_in_a_tunnel_is_noticed() -> None:
    async def scene() -> None:
        async with in_front_of_peer() as (client, peer):
            client.send(UPGRADE)
            await peer.accept()
            peer.send(SWITCHED)
            await client.until(b"\r\n\r\n")
            peer.send(b"last words")
            peer.reset()
            await client.wait(lambda: client.ended, "the end")

    play(scene())


@pytest.mark.parametrize("request_", [GET, DELETE])
def test_an_idempotent_request_that_a_dying_sidecar_took_along_is_sent_again(request_: bytes) -> None:
    async def scene() -> None:
        async with in_front_of_peer() as (client, peer):
            client.send(request_)
            await peer.accept()
            peer.reset()
            await peer.accept()
            peer.send(OK)
            await client.got(OK)
            peer.reset()

    play(scene())


def test_it_is_sent_again_once() -> None:
    async def scene() -> None:
        async with in_front_of_peer() as (client, peer):
            client.send(GET)
            for _ in range(2):
                await peer.accept()
                peer.reset()
            assert (await client.answer()).status == 502

    play(scene())


def test_it_is_sent_again_once_whatever_the_policy_adds() -> None:
    async def scene() -> None:
        async with in_front_of_peer(Retry(limit=2, reset=True, backoff_min=0.001, backoff_max=0.001)) as (client, peer):
            client.send(GET)
            for _ in range(1 + 2 + 1):
                await peer.accept()
                peer.reset()
            assert (await client.answer()).status == 502

    play(scene())


def test_it_counts_against_the_sidecar_that_died() -> None:
    async def scene() -> None:
        with socket.create_server((HOST, 0)) as listening:
            config = to(at(listening))
            cluster = replace(config.clusters["default/web:80"], breaker=Breaker(consecutive_failures=1))
            config = replace(config, clusters={"default/web:80": cluster})
            async with playing(config, contexts=contexts_of(CLIENT)) as mesh:
                client, peer = await mesh.client(), OwnPeer(listening)
                client.send(GET)
                await peer.accept()
                peer.reset()
                await peer.accept()
                assert [state.circuit.open for state in mesh.states()] == [True]
                peer.reset()

    play(scene())


def test_other_requests_that_a_dying_sidecar_took_along_are_lost() -> None:
    """It may have been done; nobody can tell."""

    async def scene() -> None:
        async with in_front_of_peer() as (client, peer):
            client.send(POST)
            await peer.accept()
            peer.reset()
            answer = await client.answer()
            assert (answer.status, answer.reason) == (502, "reset")

    play(scene())


def test_a_peer_that_cannot_be_judged_is_not_served(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes wrong with its certificate: also what nobody thought of."""

    def broken(*_: object, **__: object) -> Peer:
        raise RuntimeError("nobody thought of this")

    async def scene() -> None:
        async with App(lambda _: OK) as app, paired(ALLOW, app) as pair:
            monkeypatch.setattr("proxy.listeners.peer_of", broken)
            peer = await pair.peer()
            peer.send(GET)
            await peer.wait(lambda: peer.ended, "the end")
            assert app.requests == []
            [told] = [record for record in caplog.records if record.name == "proxy.listeners"]
            assert told.exc_info, "with its place"
            for sidecar in (pair.near, pair.far):
                sidecar.logged.clear()

    play(scene())
