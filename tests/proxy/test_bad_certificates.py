"""Certificates that are no identity, shown to a real sidecar: by callers at its mesh listener, by servers it dials.

None gets a byte of a request through, and a good one beside them does.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import forge
import pytest
from forge import BAD, TRUST_DOMAIN, UNCHAINED, WEB
from wire import HOST, OK, App, play, playing, to

from proxy import listeners
from proxy.contract.config import Config, Endpoint, Inbound
from proxy.preface import encode_preface
from proxy.tls import MESH_ALPN, Contexts, PairRejected, build_contexts, control_context, mesh_context

GET = b"GET /secret HTTP/1.1\r\nHost: web\r\n\r\n"
ANYBODY = Inbound(default_policy="allow")
NOT_LOADED = {"names cut short"}
"""OpenSSL itself does not load them, so nobody can show them."""


def own() -> Contexts:
    return build_contexts(forge.good(), forge.trusted().pem, WEB, TRUST_DOMAIN, forge.now())


def shown(side: ssl._SSLMethod) -> Iterator[tuple[str, ssl.SSLContext]]:
    """Every bad certificate that can be shown, and at the end none at all."""
    for name, make in (BAD | UNCHAINED).items():
        try:
            yield name, mesh_context(side, make(), forge.trusted().pem)
        except PairRejected:
            assert name in NOT_LOADED, name


def without_certificate() -> ssl.SSLContext:
    context = control_context(None, forge.trusted().pem)
    context.set_alpn_protocols([MESH_ALPN])
    return context


def test_they_are_many() -> None:
    assert len(BAD | UNCHAINED) - len(NOT_LOADED) >= 100


# -- as callers --------------------------------------------------------------------------------------


async def knock(port: int, context: ssl.SSLContext, request: bytes) -> bytes:
    """Sends ``request`` as soon as it may; what comes back, up to the end of a head."""
    try:
        reader, writer = await asyncio.open_connection(HOST, port, ssl=context, server_hostname="")
    except OSError:
        return b""
    try:
        writer.write(request)
        async with asyncio.timeout(10):
            return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    except OSError:
        return b""
    finally:
        writer.transport.abort()


def test_no_caller_with_a_bad_certificate_is_heard() -> None:
    async def scene() -> None:
        got_through: dict[str, bytes] = {}
        async with App(lambda _: OK) as app, playing(Config(inbound=ANYBODY), contexts=own(), app=app) as sidecar:
            request = encode_preface(app.port) + GET
            for name, context in [*shown(ssl.PROTOCOL_TLS_CLIENT), ("no certificate", without_certificate())]:
                answer = await knock(sidecar.mesh, context, request)
                if answer or app.ends:
                    got_through[name] = answer
                    app.ends.clear()
            assert got_through == {}
            assert (await knock(sidecar.mesh, own().client, request)).startswith(b"HTTP/1.1 200 OK")
            assert len(app.requests) == 1

    play(scene())


def test_a_handshake_that_never_ends_makes_room_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "HANDSHAKE_TIMEOUT", 0.5)
    monkeypatch.setattr(listeners, "MAX_HANDSHAKES", 3)

    async def scene() -> None:
        async with App(lambda _: OK) as app, playing(Config(inbound=ANYBODY), contexts=own(), app=app) as sidecar:
            request = encode_preface(app.port) + GET
            silent = [await asyncio.open_connection(HOST, sidecar.mesh) for _ in range(3)]
            assert await knock(sidecar.mesh, own().client, request) == b"", "all places are taken"
            async with asyncio.timeout(10):
                while not await knock(sidecar.mesh, own().client, request):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            for _, writer in silent:
                writer.transport.abort()

    play(scene())


# -- as servers --------------------------------------------------------------------------------------


class Impostor:
    """Stands where a server's sidecar should be; answers whatever it is asked, and keeps it."""

    def __init__(self) -> None:
        self.heard = b""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(4096):
                self.heard += data
                writer.write(OK)
        except OSError:
            pass
        finally:
            writer.transport.abort()


@asynccontextmanager
async def impostor(context: ssl.SSLContext) -> AsyncIterator[tuple[Impostor, int]]:
    standing = Impostor()
    server = await asyncio.start_server(standing, HOST, 0, ssl=context)
    try:
        yield standing, server.sockets[0].getsockname()[1]
    finally:
        server.close()


def there(port: int, version: int) -> Config:
    return to(Endpoint(ip=HOST, port=80, mesh=port, identity=WEB), version=version)


def test_no_server_with_a_bad_certificate_is_sent_anything() -> None:
    async def scene() -> None:
        got_something: dict[str, bytes] = {}
        async with playing(Config(), contexts=own()) as sidecar:
            for version, (name, context) in enumerate(shown(ssl.PROTOCOL_TLS_SERVER), 1):
                async with impostor(context) as (server, port):
                    sidecar.sidecar.apply(there(port, version))
                    answer = await sidecar.ask(GET)
                # Not because the name is another than expected: the certificate itself is refused.
                refused = answer.reason == "connect-failure" and "expected" not in answer.headers["smi-mesh-reason"]
                if server.heard or not refused:
                    got_something[name] = server.heard or answer.headers["smi-mesh-reason"].encode()
            assert got_something == {}
            async with impostor(own().server) as (server, port):
                sidecar.sidecar.apply(there(port, 1000))
                assert (await sidecar.ask(GET)).status == 200
                assert server.heard.startswith(encode_preface(80) + b"GET /secret ")

    play(scene())


def test_a_good_certificate_of_somebody_else_is_sent_nothing() -> None:
    api = "spiffe://cluster.local/ns/shop/sa/api"
    other = build_contexts(forge.good(api, "api-0.shop.pod"), forge.trusted().pem, api, TRUST_DOMAIN, forge.now())

    async def scene() -> None:
        async with playing(Config(), contexts=own()) as sidecar, impostor(other.server) as (server, port):
            sidecar.sidecar.apply(there(port, 1))
            answer = await sidecar.ask(GET)
            assert (answer.status, answer.reason) == (502, "connect-failure")
            assert f"expected {WEB}, got {api}" in answer.headers["smi-mesh-reason"]
            assert server.heard == b""

    play(scene())
