"""The sockets the sidecar listens on, and what kind of connection each accepts.

* outbound: the application's HTTP proxy, in the clear,
* mesh: mTLS from peer sidecars; the caller is whom its certificate names,
* clear: one per container port, callers without identity,
* in a pod of Kubernetes: what its kernel redirects, from the application and to it (``proxy.doorway``).

Plain text goes over uvloop's own transports, TLS over aiofastnet's: each is the
cheaper one for its kind (measured per request). The mesh listener accepts plain
sockets and hands each to TLS with the context of the moment, so that a rotated
certificate takes effect at once.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, cast

import aiofastnet

from proxy.authorize import Caller
from proxy.contract.config import EVERYWHERE, LOOPBACK, Listeners
from proxy.contract.spiffe import PeerRejected
from proxy.doorway import AppDoorway, CallDoorway
from proxy.http1.server import ServerConnection
from proxy.inbound import Inbound
from proxy.outbound import Outbound
from proxy.preface import RAW, SIZE, decode_preface
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

    __slots__ = ("_apps", "_early", "_federation", "_named")

    def __init__(self, apps: Inbound, federation: Federation | None) -> None:
        super().__init__(apps.forwarding, trusted=True)
        self._apps = apps
        self._federation = federation
        self._named = False
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing is read from a peer that is not who it must be."""
        try:
            peer = peer_of(transport, self.forwarding.trust_domain, datetime.now(UTC), federation=self._federation)
        except Exception as error:  # nobody who is not known to be let in may be served, whatever went wrong
            if isinstance(error, PeerRejected):
                log.warning("peer refused reason=%s", error)
            else:
                log.exception("peer refused reason=it could not be judged")
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
            self.port, protocol = decode_preface(data)
        except ValueError as error:
            log.warning("peer=%s refused reason=%s", self.caller.identity, error)
            self.lingering = True
            self.transport.abort()
            return
        self._named = True
        self._early = b""
        if protocol == RAW:
            self._apps.relay(self, framed=True)
        if len(data) > SIZE:
            super().data_received(data[SIZE:])


class ListenerSet:
    """All listeners of one sidecar."""

    def __init__(
        self, listeners: Listeners, calls: Outbound, apps: Inbound, contexts: Callable[[], Contexts | None]
    ) -> None:
        self._listeners = listeners
        self._calls = calls
        self._apps = apps
        self._contexts = contexts
        self._loop = calls.forwarding.loop
        self._servers: list[asyncio.Server] = []
        self._mesh: list[socket.socket] = []
        self._handshakes = 0

    async def open(self) -> None:
        """Bind everything. Raises ``OSError`` naming the address that is taken."""
        listeners = self._listeners
        if listeners.outbound:
            await self._serve(
                LOOPBACK if listeners.transparent else (listeners.address,), listeners.outbound, self._call
            )
        for clear in listeners.clear:
            await self._serve((listeners.address,), clear.port, self._clear(clear.target))
        if listeners.redirected:
            await self._serve(EVERYWHERE, listeners.redirected, lambda: AppDoorway(self._apps))
        if listeners.mesh:
            for sock in bound_sockets(listening(listeners), listeners.mesh):
                self._mesh.append(sock)
                self._loop.add_reader(sock.fileno(), self._accept, sock)

    @property
    def _call(self) -> Callable[[], asyncio.Protocol]:
        if not self._listeners.transparent:
            return lambda: _protocol(ServerConnection(self._calls.forwarding))
        return lambda: CallDoorway(self._calls)

    def _clear(self, target: int) -> Callable[[], asyncio.Protocol]:
        return lambda: _protocol(ServerConnection(self._apps.forwarding, port=target))

    async def _serve(self, addresses: tuple[str, ...], port: int, factory: Callable[[], asyncio.Protocol]) -> None:
        for sock in bound_sockets(addresses, port):
            self._servers.append(await self._loop.create_server(factory, sock=sock, backlog=BACKLOG))

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
                self._loop.call_later(ACCEPT_PAUSE, self._accept_again, listener)
                return
            contexts = self._contexts()
            if contexts is None or self._handshakes >= MAX_HANDSHAKES:
                sock.close()
                continue
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._handshakes += 1
            self._apps.forwarding.spawn(self._secure(sock, contexts))

    def _accept_again(self, listener: socket.socket) -> None:
        if listener in self._mesh:
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    async def _secure(self, sock: socket.socket, contexts: Contexts) -> None:
        connection = MeshConnection(self._apps, contexts.federation)
        try:
            # A later deadline of our own: where OpenSSL is built into Python (``proxy.openssl``) aiofastnet goes by the
            # ssl module, and never returns if that cannot decode a name in a certificate.
            async with asyncio.timeout(HANDSHAKE_TIMEOUT + 1):
                await aiofastnet.connect_accepted_socket(
                    self._loop,
                    lambda: _protocol(connection),
                    sock,
                    ssl=contexts.server,
                    ssl_handshake_timeout=HANDSHAKE_TIMEOUT,
                    ssl_incoming_bio_size=INCOMING_BIO_SIZE,
                    ssl_outgoing_bio_size=OUTGOING_BIO_SIZE,
                )
        except OSError as error:  # TimeoutError is one
            # As in ``proxy.http1.client``: whoever has the socket must close it.
            if connection in self._apps.forwarding.connections:
                connection.transport.abort()
            else:
                sock.close()
            log.info("handshake failed error=%s", error.strerror or type(error).__name__)
        finally:
            self._handshakes -= 1

    def close(self) -> None:
        """Accept no more; open connections go on."""
        for sock in self._mesh:
            self._loop.remove_reader(sock.fileno())
            sock.close()
        self._mesh.clear()
        for server in self._servers:
            server.close()
        self._servers.clear()


def _protocol(connection: ServerConnection) -> asyncio.Protocol:
    return cast("asyncio.Protocol", connection)


def listening(listeners: Listeners) -> tuple[str, ...]:
    """Where the ports for callers from outside are bound."""
    return EVERYWHERE if listeners.transparent else (listeners.address,)


def bound_sockets(addresses: tuple[str, ...], port: int) -> list[socket.socket]:
    """A listening socket at each address; IPv6 beside IPv4 only where there is any. Raises ``OSError``."""
    found: list[socket.socket] = []
    for address in addresses:
        try:
            found.append(bound_socket(address, port))
        except OSError as error:
            if not found or error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                raise
            log.info("no listener at [%s]:%d: there is no IPv6 here", address, port)
    return found


def bound_socket(address: str, port: int) -> socket.socket:
    """A listening TCP socket. Raises ``OSError`` that names the address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind((address, port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on {address}:{port}: {error.strerror}") from error
    return sock
