"""The sockets the sidecar listens on, and what kind of connection each accepts.

* outbound: the application's HTTP proxy, in the clear,
* mesh: mTLS from peer sidecars; the caller is whom its certificate names,
* clear: one per container port, callers without identity.

Plain text goes over uvloop's own transports, TLS over aiofastnet's: each is the
cheaper one for its kind (measured per request). The mesh listener accepts plain
sockets and hands each to TLS with the context of the moment, so that a rotated
certificate takes effect at once.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, cast

import aiofastnet

from proxy.authorize import Caller
from proxy.contract.config import Listeners
from proxy.contract.spiffe import PeerRejected
from proxy.forwarding import Forwarding
from proxy.http1.server import ServerConnection
from proxy.preface import SIZE, decode_preface
from proxy.tls import INCOMING_BIO_SIZE, OUTGOING_BIO_SIZE, Contexts, Federation, peer_of

# Connections the kernel may hold for us; the usual ceiling (net.core.somaxconn).
BACKLOG: Final = 4096
# Connections taken from a listener in one go, so that a flood of them does not starve the rest.
ACCEPTS_AT_ONCE: Final = 64
# Seconds until the next try when the process is out of descriptors (asyncio's own pause).
ACCEPT_PAUSE: Final = 1.0
# Handshakes under way at once: each costs about a millisecond of CPU, so this is a second's worth and some.
MAX_HANDSHAKES: Final = 1024
HANDSHAKE_TIMEOUT: Final = 10.0

log = logging.getLogger("proxy.listeners")


class MeshConnection(ServerConnection):
    """A connection from a peer sidecar: its certificate says who calls, its preface which port is meant."""

    __slots__ = ("_early", "_federation", "_named")

    def __init__(self, forwarding: Forwarding, federation: Federation | None) -> None:
        super().__init__(forwarding, trusted=True)
        self._federation = federation
        self._named = False
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing is read from a peer that is not who it must be."""
        try:
            peer = peer_of(transport, self.forwarding.trust_domain, datetime.now(UTC), federation=self._federation)
        except PeerRejected as error:
            log.warning("peer refused reason=%s", error)
            self.lingering = True
            super().connection_made(transport)
            self.transport.abort()
            return
        self.caller = Caller(peer.identity, peer.pods)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """The preface first, requests after it."""
        if self._named or self.lingering:
            super().data_received(data)
            return
        data = self._early + data
        if len(data) < SIZE:
            self._early = data
            return
        try:
            self.port = decode_preface(data)
        except ValueError as error:
            log.warning("peer=%s refused reason=%s", self.caller.identity, error)
            self.lingering = True
            self.transport.abort()
            return
        self._named = True
        self._early = b""
        if len(data) > SIZE:
            super().data_received(data[SIZE:])


class ListenerSet:
    """All listeners of one sidecar."""

    def __init__(
        self, listeners: Listeners, outbound: Forwarding, inbound: Forwarding, contexts: Callable[[], Contexts | None]
    ) -> None:
        self._listeners = listeners
        self._outbound = outbound
        self._inbound = inbound
        self._contexts = contexts
        self._loop = outbound.loop
        self._servers: list[asyncio.Server] = []
        self._mesh: socket.socket | None = None
        self._handshakes = 0

    async def open(self) -> None:
        """Bind everything. Raises ``OSError`` naming the address that is taken."""
        address = self._listeners.address
        if self._listeners.outbound:
            await self._serve(address, self._listeners.outbound, lambda: ServerConnection(self._outbound))
        for clear in self._listeners.clear:
            await self._serve(address, clear.port, self._clear(clear.target))
        if self._listeners.mesh:
            self._mesh = bound_socket(address, self._listeners.mesh)
            self._loop.add_reader(self._mesh.fileno(), self._accept, self._mesh)

    def _clear(self, target: int) -> Callable[[], ServerConnection]:
        return lambda: ServerConnection(self._inbound, port=target)

    async def _serve(self, address: str, port: int, factory: Callable[[], ServerConnection]) -> None:
        sock = bound_socket(address, port)
        self._servers.append(await self._loop.create_server(lambda: _protocol(factory()), sock=sock, backlog=BACKLOG))

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                sock, _address = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                # Out of descriptors: the connection stays in the backlog until there are some again.
                log.error("accept failed error=%s", error)
                self._loop.remove_reader(listener.fileno())
                self._loop.call_later(ACCEPT_PAUSE, self._accept_again)
                return
            contexts = self._contexts()
            if contexts is None or self._handshakes >= MAX_HANDSHAKES:
                sock.close()
                continue
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._handshakes += 1
            self._inbound.spawn(self._secure(sock, contexts))

    def _accept_again(self) -> None:
        if self._mesh is not None:
            self._loop.add_reader(self._mesh.fileno(), self._accept, self._mesh)

    async def _secure(self, sock: socket.socket, contexts: Contexts) -> None:
        try:
            # A later deadline of our own: aiofastnet never returns if it cannot decode a name in a certificate.
            async with asyncio.timeout(HANDSHAKE_TIMEOUT + 1):
                await aiofastnet.connect_accepted_socket(
                    self._loop,
                    lambda: _protocol(MeshConnection(self._inbound, contexts.federation)),
                    sock,
                    ssl=contexts.server,
                    ssl_handshake_timeout=HANDSHAKE_TIMEOUT,
                    ssl_incoming_bio_size=INCOMING_BIO_SIZE,
                    ssl_outgoing_bio_size=OUTGOING_BIO_SIZE,
                )
        except OSError as error:  # TimeoutError is one
            sock.close()
            log.info("handshake failed error=%s", error.strerror or type(error).__name__)
        finally:
            self._handshakes -= 1

    def close(self) -> None:
        """Accept no more; open connections go on."""
        if self._mesh is not None:
            self._loop.remove_reader(self._mesh.fileno())
            self._mesh.close()
            self._mesh = None
        for server in self._servers:
            server.close()
        self._servers.clear()


def _protocol(connection: ServerConnection) -> asyncio.Protocol:
    return cast("asyncio.Protocol", connection)


def bound_socket(address: str, port: int) -> socket.socket:
    """A listening TCP socket. Raises ``OSError`` that names the address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        sock.bind((address, port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on {address}:{port}: {error.strerror}") from error
    return sock
