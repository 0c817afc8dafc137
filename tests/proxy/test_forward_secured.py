"""What breaks between two sidecars, where an answer's bytes and the end of their connection come together."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct

import pytest
from pair import ALLOW, CLIENT, SERVER, contexts_of, paired
from wire import HOST, App, play, playing, to

from proxy.contract.config import Endpoint

GET = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"
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


class Peer:
    """A sidecar of our own making, which blocks: what it sends and its reset are both there before anybody looks."""

    def __init__(self) -> None:
        self._listening = socket.create_server((HOST, 0))
        self._connection: ssl.SSLSocket

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(ip=HOST, port=80, mesh=self._listening.getsockname()[1], identity=SERVER)

    async def accept(self) -> None:
        """Returns when it has a request."""
        await asyncio.to_thread(self._accept)

    def _accept(self) -> None:
        with self._listening:
            plain, _ = self._listening.accept()
        self._connection = contexts_of(SERVER).server.wrap_socket(plain, server_side=True)
        received = b""
        while not received.endswith(b"\r\n\r\n"):
            received += self._connection.recv(65536)

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def reset(self) -> None:
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._connection.close()


def test_a_reset_behind_half_an_answer_is_noticed() -> None:
    async def scene() -> None:
        peer = Peer()
        async with playing(to(peer.endpoint), contexts=contexts_of(CLIENT)) as mesh:
            client = await mesh.client()
            client.send(GET)
            await peer.accept()
            peer.send(HALF)
            peer.reset()
            await client.until(b"half")
            await client.wait(lambda: client.ended, "a reset")

    play(scene())


def test_a_reset_behind_the_last_words_in_a_tunnel_is_noticed() -> None:
    async def scene() -> None:
        peer = Peer()
        async with playing(to(peer.endpoint), contexts=contexts_of(CLIENT)) as mesh:
            client = await mesh.client()
            client.send(UPGRADE)
            await peer.accept()
            peer.send(SWITCHED)
            await client.until(b"\r\n\r\n")
            peer.send(b"last words")
            peer.reset()
            await client.wait(lambda: client.ended, "the end")

    play(scene())
