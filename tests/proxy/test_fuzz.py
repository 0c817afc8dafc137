"""Bytes nobody would send, to a sidecar and from behind it: it answers or ends, and passes on only what is clear.

The mutations are random but seeded; SMI_MESH_FUZZ=100000 makes that many and prints the seed of a failure.
"""

from __future__ import annotations

import asyncio
import random
import re

import pytest
from application import Listening, requests_in
from hostile import ROUNDS, cut, in_turns
from wire import OK, Answering, App, Playing, play, playing, to

REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: web\r\n\r\n",
    b"GET http://web/a?b HTTP/1.1\r\nHost: other\r\nConnection: keep-alive, x\r\nX: y\r\n\r\n",
    b"HEAD /a HTTP/1.1\r\nHost: web\r\nAccept: */*\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: web\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
    b"GET / HTTP/1.0\r\nHost: web\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    b"PUT /x HTTP/1.1\r\nHost: web:80\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
    b"CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: web.default.svc.cluster.local\r\nTE: trailers\r\nCookie: a\r\nCookie: b\r\n\r\n",
]
ANSWERS = [
    OK,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\nuntil close",
    b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\ntunnel",
    (
        b"HTTP/1.1 502 Bad Gateway\r\nsmi-mesh-reason: connect-failure; x\r\nContent-Length: 0\r\n"
        b"Connection: close\r\n\r\n"
    ),
]
TOKENS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\x00",
    b"\x0b",
    b"\x7f",
    b"\xff",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"0",
    b"5",
    b"-1",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Host: web\r\n",
    b"Connection: close\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    b"Expect: x\r\n",
    b" HTTP/1.1",
    b"HTTP/1.0",
    b"GET / HTTP/1.1\r\nHost: web\r\n\r\n",
    b"0\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"9" * 30,
    b"X" * 5000,
    b"X: y\r\n" * 300,
    b"\x16\x03\x01",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 20,
    b"smi-mesh-client-id: a/b\r\n",
    b"chunked",
    b"Content_Length: 9\r\n",
    b"%2f..;",
    b"http://web/",
    b"\xe2\x84\xaa",
]


def mutated(corpus: list[bytes], dice: random.Random) -> bytes:
    data = bytearray(dice.choice(corpus))
    for _ in range(dice.choice((0, 1, 1, 2, 3, 6))):
        place = dice.randrange(len(data) + 1)
        match dice.randrange(6):
            case 0:
                data[place:place] = dice.choice(TOKENS)
            case 1:
                del data[place : place + dice.randrange(1, 8)]
            case 2:
                data[place : place + 1] = bytes((dice.randrange(256),))
            case 3:
                data[place:place] = data[dice.randrange(len(data) + 1) :]
            case 4:
                data += dice.choice(corpus)
            case _:
                lines = bytes(data).split(b"\r\n")
                dice.shuffle(lines)
                data = bytearray(b"\r\n".join(lines))
    return bytes(data)


_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([^\x00-\x08\x0a-\x1f\x7f]*)")
_HIDDEN = re.compile(
    rb"(?i)smi[-_.]mesh|content[_.]length|transfer[_.]encoding|keep-alive|proxy-connection|proxy-auth|http2-"
)
_NEVER_TRAILING = (b"host", b"content-length", b"transfer-encoding", b"authorization")


def plain(stream: bytes) -> None:
    """What an application got are requests, and nothing in them is the mesh's own or a look-alike of framing."""
    for seen in requests_in(stream):
        names = [name.lower() for name, _ in (*seen.fields, *seen.trailers)]
        assert not [name for name in names if _HIDDEN.match(name)], seen
        assert not [name for name, _ in seen.trailers if name.lower() in _NEVER_TRAILING], seen


def test_whatever_a_client_sends_it_is_answered_or_sent_away() -> None:
    async def scene() -> None:
        async with Listening() as app, playing(to(app)) as mesh:

            async def one(dice: random.Random) -> None:
                client = await mesh.client()
                for piece in cut(mutated(REQUESTS, dice), dice):
                    client.send(piece)
                    await asyncio.sleep(0)
                if dice.random() < 0.2:
                    client.abort()
                    return
                client.half_close()
                await client.wait(lambda: client.ended, "an end")
                answers_in(bytes(client.received))
                mesh.clients.remove(client)
                client.transport.abort()

            await in_turns(ROUNDS, one)
            assert (await mesh.ask(REQUESTS[0])).status == 200
        for stream in app.streams:
            plain(bytes(stream))

    play(scene())


_STATUS = re.compile(rb"HTTP/1\.1 [1-5]\d\d [^\x00-\x08\x0a-\x1f\x7f]*")


def answers_in(stream: bytes) -> None:
    """Every head that a client reads is well-formed, however it goes on."""
    head, end, _ = stream.partition(b"\r\n\r\n")
    if not end:
        assert not stream or stream.startswith(b"HTTP/1.1 "[: len(stream)]), stream[:200]
        return
    start, *fields = head.split(b"\r\n")
    assert _STATUS.fullmatch(start), start
    found = [_FIELD.fullmatch(field) for field in fields]
    assert all(found), fields
    names = [match[1].lower() for match in found if match is not None]
    assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1, fields
    if int(start[9:12]) < 200 and int(start[9:12]) != 101:
        answers_in(stream[len(head) + 4 :])


@pytest.mark.parametrize(
    "request_", [REQUESTS[0], REQUESTS[2], REQUESTS[8], REQUESTS[4]], ids=["GET", "HEAD", "ws", "POST"]
)
def test_whatever_an_application_answers_the_client_is_not_left_alone(request_: bytes) -> None:
    async def scene() -> None:
        async with Garbled() as app, playing(to(app)) as mesh:

            async def one(dice: random.Random) -> None:
                app.dice.seed(dice.random())
                client = await mesh.client()
                client.send(request_)
                client.half_close()
                await client.wait(lambda: client.ended, "an end")
                answers_in(bytes(client.received))
                mesh.clients.remove(client)
                client.transport.abort()

            await in_turns(ROUNDS // 2, one)
            await ends(mesh)

    play(scene())


async def ends(mesh: Playing) -> None:
    await mesh.settled()


class Garbled(App):
    """Answers nonsense, and hangs up."""

    def __init__(self) -> None:
        super().__init__(lambda _: self.nonsense())
        self.dice = random.Random(0)

    def nonsense(self) -> bytes:
        return mutated(ANSWERS, self.dice)

    def _end(self) -> Hanging:
        return Hanging(self)


class Hanging(Answering):
    def data_received(self, data: bytes) -> None:
        app = self._app
        assert isinstance(app, Garbled)
        for piece in cut(app.nonsense(), app.dice):
            self.transport.write(piece)
        if app.dice.random() < 0.8:
            self.transport.close()
        else:
            self.abort()
