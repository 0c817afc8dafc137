"""A ClientHello in pieces: what reads only the first of them (to find a name there, say) can be led past. Here all of
it is TLS's business: pieces are put together, or the connection ends, and the sidecar serves on."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import pytest
from pair import ALLOW, CLIENT, Joined, contexts_of, paired
from wire import HOST, OK, App, play

from proxy.preface import encode_preface

GET = b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"
_HEADER = 5  # bytes of a record's header: type, version, length (RFC 8446 §5.1)


def segments(size: int) -> Callable[[bytes], list[bytes]]:
    """Cut on the way, as TCP may."""
    return lambda hello: [hello[start : start + size] for start in range(0, len(hello), size)]


def record(payload: bytes) -> bytes:
    return b"\x16\x03\x01" + len(payload).to_bytes(2, "big") + payload


def records(size: int) -> Callable[[bytes], list[bytes]]:
    """The message itself spread over several records."""
    return lambda hello: [record(piece) for piece in segments(size)(hello[_HEADER:])]


async def greeted(mesh: Joined, cut: Callable[[bytes], list[bytes]]) -> bytes:
    """What a peer with a good certificate is answered when its ClientHello comes in such pieces."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    end = contexts_of(CLIENT).client.wrap_bio(incoming, outgoing)
    reader, writer = await asyncio.open_connection(HOST, mesh.far.mesh)
    try:
        with pytest.raises(ssl.SSLWantReadError):
            end.do_handshake()
        for piece in cut(outgoing.read()):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        sent = False
        while data := await reader.read(65536):
            incoming.write(data)
            try:
                if not sent:
                    end.do_handshake()
                    end.write(encode_preface(mesh.app.port) + GET)
                    sent = True
                writer.write(outgoing.read())
                return end.read(65536)
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
        return b""
    except (ssl.SSLError, ConnectionError):
        return b""
    finally:
        writer.transport.abort()


@pytest.mark.parametrize(
    "cut",
    [
        segments(1),
        segments(5),
        segments(6),
        segments(100),
        records(1),
        records(10),
        records(100),
        lambda hello: [record(b""), hello],
    ],
)
def test_a_hello_in_pieces_is_a_hello(cut: Callable[[bytes], list[bytes]]) -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as app, paired(ALLOW, app) as mesh:
            assert (await greeted(mesh, cut)).startswith(b"HTTP/1.1 200 OK\r\n")

    play(scene())


@pytest.mark.parametrize(
    "cut",
    [
        lambda hello: [hello[:20], record(b"") + hello[20:]],
        lambda hello: [hello, hello],
        lambda hello: [record(hello[_HEADER:30]), b"\x17\x03\x03\x00\x05hello", record(hello[30:])],
        lambda hello: [record(hello[_HEADER:30]), b"\x15\x03\x03\x00\x02\x02\x00"],
        lambda hello: [hello[:3] + b"\x00\x20" + hello[_HEADER:]],
        lambda hello: [hello[:3] + b"\x7f\xff" + hello[_HEADER:], bytes(0x7FFF)],
        lambda hello: [record(b"\x01\xff\xff\xff" + bytes(1000))] * 20,
        lambda hello: [b"GET / HTTP/1.1\r\nHost: web\r\n\r\n", hello],
    ],
    ids=[
        "empty within",
        "twice",
        "data within",
        "alert within",
        "shorter",
        "longer",
        "endless",
        "HTTP first",
    ],
)
def test_what_is_no_hello_ends_the_connection_and_nothing_else(cut: Callable[[bytes], list[bytes]]) -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as app, paired(ALLOW, app) as mesh:
            assert await greeted(mesh, cut) == b""
            assert app.requests == []
            assert (await mesh.near.ask(GET)).status == 200

    play(scene())
