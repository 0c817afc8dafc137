"""Two sidecars in this process with mTLS between them, a caller's and an application's, and peers of our own making."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache

import forge
from forge import TRUST_DOMAIN, Leaf
from wire import HOST, App, End, Playing, playing, to

from proxy.contract.config import Config, Endpoint, Grant, HttpMatch, Inbound, Source
from proxy.preface import encode_preface
from proxy.tls import Contexts, build_contexts

CLIENT = "spiffe://cluster.local/ns/default/sa/client"
SERVER = "spiffe://cluster.local/ns/default/sa/server"
ALLOW = Inbound(default_policy="allow")


@cache
def contexts_of(identity: str, *pods: str) -> Contexts:
    pair = forge.trusted().sign(Leaf(uris=(identity,), dns=pods))
    return build_contexts(pair, forge.trusted().pem, identity, TRUST_DOMAIN, forge.now())


def granting(*matches: HttpMatch, source: str = CLIENT, ports: tuple[int, ...] | None = None) -> Inbound:
    grant = Grant(target="default/t", sources=(Source(identity=source),), http=matches or None, ports=ports)
    return Inbound(named=True, grants=(grant,))


class Peer(End):
    """An end in TLS, where no side can end alone."""

    def eof_received(self) -> bool:
        super().eof_received()
        return False


@dataclass
class Joined:
    """The caller's sidecar and the application's."""

    near: Playing
    far: Playing
    app: App

    async def peer(self, identity: str = CLIENT, port: int = 0) -> End:
        """A connection to the application's sidecar as one of its peers, by hand; nothing checks what it sends."""
        context = contexts_of(identity).client
        loop = asyncio.get_running_loop()
        _, end = await loop.create_connection(Peer, HOST, self.far.mesh, ssl=context, server_hostname="")
        self.far.clients.append(end)
        end.send(encode_preface(port or self.app.port))
        return end


@asynccontextmanager
async def paired(inbound: Inbound, app: App, *, expected: str = SERVER) -> AsyncIterator[Joined]:
    far_contexts = contexts_of(SERVER, "server-0.default.pod")
    near_contexts = contexts_of(CLIENT, "client-0.default.pod")
    async with playing(
        Config(inbound=inbound), pod="server-0", account="server", contexts=far_contexts, app=app
    ) as far:
        endpoint = Endpoint(ip=HOST, port=app.port, mesh=far.mesh, identity=expected, pod="server-0")
        async with playing(to(endpoint), contexts=near_contexts) as near:
            yield Joined(near, far, app)


async def by_hand(port: int, context: ssl.SSLContext, first: bytes) -> bytes:
    """What a peer of our own making is answered, until the connection ends or 200 bytes have come."""
    reader, writer = await asyncio.open_connection(HOST, port, ssl=context, server_hostname="")
    try:
        writer.write(first)
        return await reader.read(200)
    except (ssl.SSLError, ConnectionError):
        return b""
    finally:
        writer.transport.abort()
