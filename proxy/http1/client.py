"""Connections to upstreams: opening them, and the bytes that come back.

A connection serves one exchange at a time; what an answer means is the
exchange's business (``proxy.forward``). Connections to a peer sidecar begin with
the preface that names the container port, in the same write as the first request.
"""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, cast

import aiofastnet

from proxy.contract.config import dialled
from proxy.contract.spiffe import PeerRejected
from proxy.errors import connect_failure
from proxy.http1.response import ResponseHeads
from proxy.preface import RAW, encode_preface
from proxy.tls import INCOMING_BIO_SIZE, OUTGOING_BIO_SIZE, Contexts, peer_of

if TYPE_CHECKING:
    from proxy.contract.report import Tls
    from proxy.endpoints import EndpointState
    from proxy.forward import Exchange
    from proxy.forwarding import Forwarding
    from proxy.relay import Relay
    from proxy.transports import OpenTransport
    from proxy.tunnel import Tunnel

# Seconds to open a connection, handshake included. Linkerd's default is 1 s too: a pod that is
# there answers in milliseconds, and one that is not must not hold the request.
CONNECT_TIMEOUT: Final = 1.0
HANDSHAKE_TIMEOUT: Final = 5.0
# Bytes kept of a server that speaks before anybody listens.
MAX_EARLY: Final = 64 * 1024


class ClientConnection:
    """One upstream connection; an ``asyncio.Protocol`` by its methods alone (see ``ServerConnection``).

    ``usable`` turns false as soon as it must not carry another request;
    ``blocked``: the upstream reads slower than we write.
    """

    __slots__ = (
        "_counted",
        "_early",
        "_early_end",
        "_forwarding",
        "_preface",
        "_secured",
        "blocked",
        "endpoint",
        "exchange",
        "fileno",
        "fresh",
        "heads",
        "idle_since",
        "opened",
        "transport",
        "usable",
    )

    def __init__(self, forwarding: Forwarding, endpoint: EndpointState, *, relayed: bool = False) -> None:
        loop = forwarding.loop
        self._forwarding = forwarding
        self._counted: OpenTransport | None = None
        self.endpoint = endpoint
        self.heads = ResponseHeads()
        self.exchange: Exchange | Tunnel | Relay | None = None
        self.transport: asyncio.Transport
        self.fileno = -1
        self.fresh = True
        self.usable = False
        self.blocked = False
        self.opened = self.idle_since = loop.time()
        self._early: bytes | None = b"" if relayed else None
        self._early_end = False
        self._secured = endpoint.endpoint.mesh != 0
        self._preface = encode_preface(endpoint.endpoint.port) if endpoint.endpoint.mesh else b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of ``asyncio.Protocol``."""
        self.transport = transport  # type: ignore[assignment]
        self.fileno = transport.get_extra_info("socket").fileno()
        self.usable = True
        tls: Tls = "true" if self.endpoint.endpoint.mesh else "no_identity"
        self._counted = self._forwarding.transports.opened("dst", tls, transport)

    @property
    def peer(self) -> tuple[str, int]:
        """Address and port at the other end, IPv4 in its own form."""
        address, port = (self.transport.get_extra_info("peername") or ("", 0))[:2]
        return address.removeprefix("::ffff:"), port

    def relay(self) -> None:
        """To a peer sidecar: what follows is not HTTP. Said at once, for it may be the other end that speaks first."""
        self.transport.write(encode_preface(self.endpoint.endpoint.port, RAW))
        self._preface = b""

    def take(self, relay: Relay | Tunnel) -> None:
        """All that comes is ``relay``'s, and so is what has come since the connection was opened."""
        self.exchange = relay
        early, self._early = self._early, None
        if early:
            relay.response_received(early)
            if len(early) > MAX_EARLY and self.exchange is relay:
                self.transport.resume_reading()
        if self._early_end and self.exchange is relay and not relay.response_ended():
            self.transport.close()

    def write(self, data: bytes) -> None:
        """Send bytes of the request."""
        if self._preface:
            data = self._preface + data
            self._preface = b""
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Part of ``asyncio.Protocol``."""
        exchange = self.exchange
        if exchange is None:
            if self._early is not None:
                self._early += data
                if len(self._early) > MAX_EARLY:
                    self.transport.pause_reading()
                return
            # Bytes nobody asked for would be taken for the next request's answer.
            self.endpoint.forget(self)
            self.close()
            return
        exchange.response_received(data)
        # Asked anew: with its answer whole the exchange has let go of the connection.
        if self._secured and self.exchange is not None and self._was_reset():
            self.transport.abort()

    def _was_reset(self) -> bool:
        """Whether the peer has reset the connection behind the bytes that were just read.

        libuv polls a socket with an error no more, and aiofastnet reads once for
        each time that it is told: nobody else would ever notice.
        """
        sock = self.transport.get_extra_info("socket")
        return sock is not None and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0

    def eof_received(self) -> bool:
        """Part of ``asyncio.Protocol``."""
        if self._early is not None:
            self._early_end = True
            return True
        self.usable = False
        if self.exchange is None:
            self.endpoint.forget(self)
            return False
        return self.exchange.response_ended()

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of ``asyncio.Protocol``."""
        self.usable = False
        self.fileno = -1
        if self._counted is not None:
            self._counted.closed(exc)
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.upstream_lost(self)
        else:
            self.endpoint.forget(self)

    def pause_writing(self) -> None:
        """Part of ``asyncio.Protocol``: the upstream reads slower than the client sends."""
        self.blocked = True
        if self.exchange is not None:
            self.exchange.down.hold_reading()

    def resume_writing(self) -> None:
        """Part of ``asyncio.Protocol``."""
        self.blocked = False
        if self.exchange is not None:
            self.exchange.down.continue_reading()

    def finished(self, now: float, *, whole: bool, reusable: bool, held: bool) -> None:
        """Its answer is whole: keep the connection for others if it may carry another request.

        ``whole``: the request is too; ``held``: reading is paused.
        """
        self.exchange = None
        if not whole:
            self.abort()
        elif reusable and not self.blocked:
            if held:
                self.transport.resume_reading()
            self.endpoint.release(self, now)
        else:
            self.close()

    def close(self) -> None:
        """Flush what is written and close; nothing more is delivered to an exchange."""
        self.usable = False
        self.exchange = None
        self.transport.close()

    def abort(self) -> None:
        """Close at once, dropping what is not sent."""
        self.usable = False
        self.exchange = None
        self.transport.abort()


async def open_connection(
    forwarding: Forwarding, endpoint: EndpointState, *, relayed: bool = False
) -> ClientConnection:
    """Open a connection to ``endpoint``; to a peer sidecar by mTLS, its identity checked before any byte is sent.

    ``relayed``: see ``Forwarding.open``. Raises ``Unavailable`` (connect-failure): nothing of a request was delivered.
    """
    target = endpoint.endpoint
    loop = forwarding.loop
    current = forwarding.contexts() if target.mesh else None
    if target.mesh and current is None:
        raise connect_failure("this sidecar has no certificate yet")
    address = dialled(target)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT if current is None else HANDSHAKE_TIMEOUT):
            sock = await _dial(loop, address)
            if current is None:
                connection = ClientConnection(forwarding, endpoint, relayed=relayed)
                await loop.create_connection(lambda: cast("asyncio.Protocol", connection), sock=sock)
                return connection
            return await _secure(forwarding, endpoint, sock, current)
    except TimeoutError:
        raise connect_failure(f"{endpoint.name}: no connection in time") from None
    except PeerRejected as error:
        raise connect_failure(f"{endpoint.name}: {error}") from error
    except OSError as error:
        raise connect_failure(f"{endpoint.name}: {error.strerror or type(error).__name__}") from error


async def _dial(loop: asyncio.AbstractEventLoop, address: tuple[str, int]) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await loop.sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


async def _secure(
    forwarding: Forwarding, endpoint: EndpointState, sock: socket.socket, contexts: Contexts
) -> ClientConnection:
    """Shake hands and check that it is the peer we mean, before any byte is sent."""
    connection = ClientConnection(forwarding, endpoint)
    try:
        transport, _ = await aiofastnet.create_connection(
            forwarding.loop,
            lambda: cast("asyncio.Protocol", connection),
            sock=sock,
            ssl=contexts.client,
            server_hostname=endpoint.endpoint.ip,
            ssl_incoming_bio_size=INCOMING_BIO_SIZE,
            ssl_outgoing_bio_size=OUTGOING_BIO_SIZE,
        )
    except BaseException:
        # Time may run out at the very moment the handshake ends: the transport has the socket then, and goes on polling
        # it. Closed under it, its number would soon be another connection's.
        if connection.fileno >= 0:
            connection.transport.abort()
        else:
            sock.close()
        raise
    try:
        peer = peer_of(transport, forwarding.trust_domain, datetime.now(UTC), federation=contexts.federation)
        if peer.identity != endpoint.endpoint.identity:
            raise PeerRejected(f"expected {endpoint.endpoint.identity}, got {peer.identity}")
    except Exception:  # whatever went wrong, nothing is sent to who is not known
        connection.abort()
        raise
    return connection
