"""A kubelet's side of probes: a sidecar's ``/probe/…`` on a port of its own, and applications of any kind to ask."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
from eventually import eventually

from proxy.admin import Pages
from proxy.contract.config import Probe
from proxy.listeners import bound_socket
from proxy.probehttp import once
from proxy.probes import PROBE, Probes

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Ask = Callable[..., Awaitable[tuple[int, str]]]

HERE = "127.0.0.1"


@asynccontextmanager
async def application(serve: Serve, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Somebody who listens, and does with each connection what ``serve`` says; gives the port."""

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(served, HERE, 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def says(*pieces: bytes, stays: bool = False) -> Serve:
    """Sends that once it is asked. ``stays``: until the other side goes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        while stays and await reader.read(65536):
            pass

    return serve


@asynccontextmanager
async def kubelet(*probes: Probe, address: str = HERE) -> AsyncIterator[Ask]:
    """Asks probes by name: status and text. Nothing of them may be left in the end: no task, no connection, no log."""
    logged: list[str] = []
    listening = _Listening(logged)
    logging.getLogger().addHandler(listening)
    pages = Pages({("GET", PROBE): Probes(probes, address).handle})
    sock = bound_socket(HERE, 0)
    port = sock.getsockname()[1]
    await pages.open([sock])

    async def ask(name: str = "it", **headers: str) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True), middlewares=(once,)) as session,
            session.get(f"http://{HERE}:{port}/probe/{name}", headers=headers) as answer,
        ):
            return answer.status, (await answer.text()).strip()

    # A loop opens files of its own for its first connection.
    assert (await ask("nobody"))[0] == 404
    await asyncio.sleep(0.02)
    tasks, files = len(asyncio.all_tasks()), _open_files()

    def nothing_is_left_of_a_probe() -> bool:
        return len(asyncio.all_tasks()) <= tasks and _open_files() <= files

    try:
        yield ask
        await eventually(nothing_is_left_of_a_probe)
        assert logged == []
    finally:
        logging.getLogger().removeHandler(listening)
        await pages.close()


class _Listening(logging.Handler):
    def __init__(self, logged: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._logged = logged

    def emit(self, record: logging.LogRecord) -> None:
        self._logged.append(record.getMessage())


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))
