"""Both ends of the control stream on a real socket with real certificates, for tests of either end."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
from aiohttp import WSMsgType, web

from proxy.contract.config import Config, Control, Listeners, Sidecar
from proxy.contract.messages import Ask, Down, Hello, Nack, Push, Up, decode_down, decode_up, encode
from proxy.newkey import new_key_and_request
from proxy.subscribe import STREAM_PATH, Subscription
from proxy.tls import Contexts, Pair, build_contexts
from translator.identity.authority import Authority
from translator.identity.serving import serving_context
from translator.identity.subject import SidecarIdentity
from translator.push import Publisher

NAMESPACE = "shop"
ACCOUNT = "web"


def contexts(authority: Authority, pod: str, account: str = ACCOUNT) -> Contexts:
    """The TLS contexts of the sidecar of ``shop/<pod>``."""
    identity = SidecarIdentity(namespace=NAMESPACE, service_account=account, pod=pod)
    name = identity.spiffe_id(authority.trust_domain)
    key, request = new_key_and_request(name)
    pair = Pair(certificate=authority.issue(request, identity), key=key)
    return build_contexts(pair, authority.bundle, name, authority.trust_domain, datetime.now(UTC))


def sidecar(port: int, pod: str = "web-0", *, state: Path | None = None, identity: str = "") -> Sidecar:
    return Sidecar(
        pod=pod,
        namespace=NAMESPACE,
        service_account=ACCOUNT,
        listeners=Listeners(address="127.0.0.1"),
        control=Control(
            address="127.0.0.1",
            port=port,
            identity=identity or "spiffe://cluster.local/ns/smi-mesh/sa/smi-mesh-controller",
        ),
        state=str(state) if state is not None else "",
    )


@asynccontextmanager
async def listening(
    authority: Authority, serves: Publisher | Callable[[web.Request], Awaitable[web.StreamResponse]], port: int = 0
) -> AsyncIterator[int]:
    """A publisher, or another handler of ``/v1/stream``; yields the port."""
    app = web.Application()
    if isinstance(serves, Publisher):
        serves.add_to(app)
    else:
        app.router.add_get(STREAM_PATH, serves)
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    context: ssl.SSLContext = serving_context(authority)
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=context)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


class ScriptedController:
    """A controller that sends what a test tells it to, and writes down what it hears."""

    def __init__(self) -> None:
        self.hellos: list[Hello] = []
        self.asks: list[Ask] = []
        self.answers: asyncio.Queue[Up] = asyncio.Queue()
        self.sockets: list[web.WebSocketResponse] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        self.sockets.append(socket)
        async for message in socket:
            assert message.type is WSMsgType.BINARY
            match decode_up(message.data):
                case Hello() as hello:
                    self.hellos.append(hello)
                case Ask() as ask:
                    self.asks.append(ask)
                case answer:
                    self.answers.put_nowait(answer)
        return socket

    async def says(self, frame: bytes) -> Up:
        """Sends a frame; returns what the sidecar answers."""
        await self.sockets[-1].send_bytes(frame)
        return await asyncio.wait_for(self.answers.get(), 5)

    async def refused(self, frame: bytes) -> Nack:
        """As ``says``, for a frame that must be refused."""
        answer = await self.says(frame)
        assert isinstance(answer, Nack), answer
        return answer


class Applied:
    """What a sidecar put in force, and whether it stands up to refuse."""

    def __init__(self) -> None:
        self.configs: list[Config] = []
        self.objection: Exception | None = None

    def __call__(self, config: Config) -> None:
        if self.objection is not None:
            raise self.objection
        self.configs.append(config)


@asynccontextmanager
async def subscribed(
    settings: Sidecar, own: Contexts, applied: Applied, initial: Config | None = None
) -> AsyncIterator[Subscription]:
    """A subscription that runs until the block ends; it reconnects as soon as it may."""
    subscription = Subscription(settings, lambda: own, applied, initial or Config(), jitter=lambda: 0.99)
    running = asyncio.create_task(subscription.run())
    try:
        yield subscription
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


class Wire:
    """A sidecar spoken by hand."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    @property
    def transport(self) -> asyncio.Transport:
        """What is below the WebSocket, for bytes that no client of it would send."""
        connection = self.socket._conn
        assert connection is not None
        assert connection.transport is not None
        return connection.transport

    async def say(self, message: Up) -> None:
        await self.socket.send_bytes(encode(message))

    async def hear(self) -> Down:
        return decode_down(await self.socket.receive_bytes(timeout=5))

    async def pushed(self) -> Push:
        push = await self.hear()
        assert isinstance(push, Push)
        return push

    async def ended(self) -> None:
        message = await self.socket.receive(timeout=5)
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING)


@asynccontextmanager
async def wire(port: int, own: Contexts) -> AsyncIterator[Wire]:
    url = f"https://127.0.0.1:{port}{STREAM_PATH}"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, ssl=own.control) as socket:
        yield Wire(socket)
