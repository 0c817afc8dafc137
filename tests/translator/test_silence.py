"""Connections to the controller that ask nothing, and those that do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from translator import silence
from translator.control import set_up

HEAD = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"


async def slow(_: web.Request) -> web.Response:
    await asyncio.sleep(0.2)
    return web.Response(text="done")


@asynccontextmanager
async def told(app: web.Application, said: bytes) -> AsyncIterator[asyncio.StreamReader]:
    """A connection to ``app`` on which ``said`` was said."""
    (runner,) = await set_up(app)
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        reader, writer = await asyncio.open_connection(*runner.addresses[0])
        writer.write(said)
        async with asyncio.timeout(10):
            yield reader
        writer.close()
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("said", [b"", b"GET /sl", HEAD, HEAD + b"GET", b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n"])
def test_a_connection_is_closed_when_it_asks_nothing_and_not_before(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "HEAD_SECONDS", 0.02)
    monkeypatch.setattr(silence, "IDLE_SECONDS", 0.05)

    async def scene() -> None:
        app = web.Application()
        app.router.add_get("/slow", slow)
        async with told(app, said) as reader:
            answered = await reader.read()
        assert answered.endswith(b"done" if b"/slow " in said else b"Not Found" if b"/none" in said else b"")
        assert bool(answered) == (b"Host" in said)

    asyncio.run(scene())


@pytest.mark.parametrize(
    "said",
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", b"\x16\x03\x01\x00\x05hello\r\n\r\n"],
)
def test_what_is_no_request_leaves_no_traceback(said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        async with told(web.Application(), said) as reader:
            assert b" 400 " in await reader.readline()

    asyncio.run(scene())

    assert not caplog.records
