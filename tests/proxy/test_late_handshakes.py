"""A handshake that ends at the very moment when its time has run out: its socket belongs to one only, who closes it.

The other way round the number of a closed socket, still polled by its transport, becomes another connection's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiofastnet
import forge
import pytest
from eventually import eventually
from wire import OK, App, play, playing, to

from proxy.contract.config import Config, Endpoint, Inbound
from proxy.preface import encode_preface
from proxy.tls import Contexts, build_contexts

ANYBODY = Config(inbound=Inbound(default_policy="allow"))
GET = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"


def own() -> Contexts:
    return build_contexts(forge.good(), forge.trusted().pem, forge.WEB, forge.TRUST_DOMAIN, forge.now())


def late(open_one: Callable[..., Awaitable[Any]], transports: list[asyncio.Transport]) -> Callable[..., Awaitable[Any]]:
    """As ``open_one``, but the time runs out when all is done: what a cancelled aiofastnet does then."""

    async def opened(*given: Any, **named: Any) -> Any:
        transport, _ = await open_one(*given, **named)
        transports.append(transport)
        transport.close()  # begins to say goodbye, and polls until the peer has
        raise TimeoutError

    return opened


async def all_closed(transports: list[asyncio.Transport]) -> None:
    """Aborted, not only closed: a peer that says nothing does not keep them."""
    await eventually(lambda: all(transport.get_extra_info("socket").fileno() < 0 for transport in transports))
    for transport in transports:
        assert "closed" in repr(transport), "its socket was taken away, and it does not know"


def test_as_a_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    transports: list[asyncio.Transport] = []

    async def scene() -> None:
        async with (
            App(lambda _: OK) as app,
            playing(ANYBODY, contexts=own(), app=app) as server,
        ):
            there = Endpoint(ip="127.0.0.1", port=app.port, mesh=server.mesh, identity=forge.WEB)
            async with playing(to(there), contexts=own()) as sidecar:
                with monkeypatch.context() as patch:
                    patch.setattr(aiofastnet, "create_connection", late(aiofastnet.create_connection, transports))
                    answer = await sidecar.ask(GET)
                assert (answer.status, answer.reason) == (502, "connect-failure")
                await all_closed(transports)
                assert (await sidecar.ask(GET)).status == 200

    play(scene())
    assert transports


def test_as_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    transports: list[asyncio.Transport] = []

    async def scene() -> None:
        async with (
            App(lambda _: OK) as app,
            playing(ANYBODY, contexts=own(), app=app) as server,
        ):
            with monkeypatch.context() as patch:
                original = aiofastnet.connect_accepted_socket
                patch.setattr(aiofastnet, "connect_accepted_socket", late(original, transports))
                _, writer = await asyncio.open_connection(
                    "127.0.0.1", server.mesh, ssl=own().client, server_hostname=""
                )
                writer.write(encode_preface(app.port) + GET)
                await eventually(lambda: transports)
                await all_closed(transports)
                writer.transport.abort()

    play(scene())
    assert transports
