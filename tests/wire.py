"""Sidecars in this process and the two ends they stand between, so that a test reads as a transcript of bytes.

``playing`` runs one sidecar and, when the test is over, holds it to account:
nothing in the log, no exchange left, no request still counted as pending.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self, cast

import uvloop
from eventually import eventually
from msgspec.structs import replace
from ports import free_port

from proxy.contract.config import (
    Backend,
    ClearListener,
    Cluster,
    Config,
    Endpoint,
    File,
    HttpMatch,
    Inbound,
    Listeners,
    Policy,
    Port,
    Retry,
    Rule,
    Service,
)
from proxy.contract.config import Sidecar as Settings
from proxy.endpoints import EndpointState
from proxy.sidecar import Sidecar
from proxy.tls import Contexts

HOST = "127.0.0.1"
PATIENCE = 10.0
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
"""What an application answers when a test does not care."""


def play(scene: Coroutine[Any, Any, None]) -> None:
    """Run a test on the loop the sidecar runs on."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene)


class End(asyncio.Protocol):
    """One end of a connection: a client's, or an application's. ``received`` is what has not been looked at yet."""

    def __init__(self, arrived: Callable[[End], None] | None = None) -> None:
        self.received = bytearray()
        self.total = 0
        self.eof = False
        self.lost = False
        self.error: Exception | None = None
        self.transport: asyncio.Transport
        self._arrived = arrived
        self._news = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if self._arrived is not None:
            self._arrived(self)

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.total += len(data)
        self._news.set()

    def eof_received(self) -> bool:
        self.eof = True
        self._news.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.error = exc
        self._news.set()

    @property
    def ended(self) -> bool:
        """Whether the other side says no more."""
        return self.eof or self.lost

    def send(self, *pieces: bytes) -> None:
        self.transport.write(b"".join(pieces))

    def half_close(self) -> None:
        self.transport.write_eof()

    def close(self) -> None:
        self.transport.close()

    def abort(self) -> None:
        """Ends in a reset, as a killed process's connections do."""
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.transport.abort()

    async def wait(self, condition: Callable[[], object], what: str) -> None:
        """Waits for ``condition``, looked at whenever something arrives."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"waited for {what}; there is {bytes(self.received[:300])!r}") from None

    async def got(self, expected: bytes) -> None:
        """The next bytes are exactly these."""
        await self.wait(lambda: len(self.received) >= len(expected) or self.ended, repr(expected[:200]))
        found = bytes(self.received[: len(expected)])
        assert found == expected
        del self.received[: len(expected)]

    async def until(self, mark: bytes) -> bytes:
        """Everything up to and with ``mark``."""
        await self.wait(lambda: mark in self.received or self.ended, repr(mark))
        end = self.received.find(mark)
        assert end >= 0, f"ended without {mark!r}: {bytes(self.received[:2000])!r}"
        found = bytes(self.received[: end + len(mark)])
        del self.received[: end + len(mark)]
        return found

    async def rest(self) -> bytes:
        """Everything up to the end."""
        await self.wait(lambda: self.ended, "the end")
        return bytes(self.received)

    async def answer(self, *, bodyless: bool = False) -> Answered:
        """One answer, read by its own framing."""
        head = await self.until(b"\r\n\r\n")
        line, *fields = head[:-4].split(b"\r\n")
        headers = {name.lower().decode(): value.strip().decode("latin-1") for name, _, value in map(_colon, fields)}
        status = int(line.split(b" ")[1])
        body = b""
        if bodyless or status in (204, 304) or status < 200:
            pass
        elif headers.get("transfer-encoding") == "chunked":
            body = await self._chunks()
        elif "content-length" in headers:
            size = int(headers["content-length"])
            await self.wait(lambda: len(self.received) >= size or self.ended, f"{size} bytes of body")
            body = bytes(self.received[:size])
            assert len(body) == size, "the body is cut short"
            del self.received[:size]
        else:
            body = await self.rest()
        return Answered(status=status, headers=headers, body=body)

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self.until(b"\r\n"), 16):
            await self.wait(lambda size=size: len(self.received) >= size + 2 or self.ended, "a chunk")  # type: ignore[misc]
            body += bytes(self.received[:size])
            assert self.received[size : size + 2] == b"\r\n"
            del self.received[: size + 2]
        while await self.until(b"\r\n") != b"\r\n":
            pass
        return body


def _colon(field: bytes) -> tuple[bytes, bytes, bytes]:
    return field.partition(b":")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An answer as a client sees it; ``reason`` is the sidecar's own, empty for an application's."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def reason(self) -> str:
        return self.headers.get("smi-mesh-reason", "").partition(";")[0]


class App:
    """An application. Its connections wait in ``accepted`` to be played by the test.

    Unless there is ``answers``: called with each request head (no bodies), it gives the bytes to send.
    """

    def __init__(self, answers: Callable[[bytes], bytes] | None = None, *, narrow: bool = False) -> None:
        """``narrow``: the kernel takes next to nothing that is not read."""
        self.answers = answers
        self.port = 0
        self._narrow = narrow
        self.requests: list[bytes] = []
        self.ends: list[End] = []
        self._queue: asyncio.Queue[End] = asyncio.Queue()
        self._server: asyncio.AbstractServer | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        sock = socket.create_server((HOST, 0))
        if self._narrow:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._server = await loop.create_server(self._end, sock=sock)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()
        await gone(self.ends)

    def stop(self) -> None:
        """Takes no more connections."""
        if self._server is not None:
            self._server.close()

    def _end(self) -> End:
        if self.answers is None:
            return End(self._arrived)
        return Answering(self)

    def _arrived(self, end: End) -> None:
        self.ends.append(end)
        self._queue.put_nowait(end)

    async def accepted(self) -> End:
        """The next connection."""
        try:
            return await asyncio.wait_for(self._queue.get(), PATIENCE)
        except TimeoutError:
            raise AssertionError("no connection came") from None

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(ip=HOST, port=self.port)


class Answering(End):
    """An application's end that answers by itself."""

    def __init__(self, app: App) -> None:
        super().__init__(app.ends.append)
        self._app = app

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.received[: end + 4])
            del self.received[: end + 4]
            self._app.requests.append(head)
            assert self._app.answers is not None
            self.transport.write(self._app.answers(head))

    def eof_received(self) -> bool:
        super().eof_received()
        return False


def endpoints(*apps: App | Endpoint) -> tuple[Endpoint, ...]:
    return tuple(app.endpoint if isinstance(app, App) else app for app in apps)


def to(*apps: App | Endpoint, version: int = 1, inbound: Inbound | None = None) -> Config:
    """A mesh with one Service ``web``, port 80, of these endpoints."""
    return Config(
        version=version,
        services={"default/web": Service(ports={80: Port(cluster="default/web:80")})},
        clusters={"default/web:80": Cluster(endpoints=endpoints(*apps))},
        inbound=inbound or Inbound(),
    )


def under(config: Config, retry: Retry | None = None, **times: float) -> Config:
    """``config`` with a policy at ``web``."""
    policy = Policy(retry=retry, **times)
    return replace(config, services={"default/web": replace(config.services["default/web"], policy=policy)})


def split(
    *shares: tuple[int, Sequence[App | Endpoint]], version: int = 1, matches: tuple[HttpMatch, ...] | None = None
) -> Config:
    """As ``to``, with a split of ``web`` over backends ``v0``, ``v1``…; the root itself has no endpoint."""
    backends = tuple(
        Backend(service=f"default/v{index}", cluster=f"default/v{index}:80", weight=weight)
        for index, (weight, _) in enumerate(shares)
    )
    clusters = {f"default/v{i}:80": Cluster(endpoints=endpoints(*apps)) for i, (_, apps) in enumerate(shares)}
    rule = Rule(split="default/canary", backends=backends, matches=matches)
    return Config(
        version=version,
        services={"default/web": Service(ports={80: Port(cluster="default/web:80", rules=(rule,))})},
        clusters={"default/web:80": Cluster(), **clusters},
    )


@dataclass
class Playing:
    """A sidecar under test. ``logged``: records of level error and above; ``failures``: what the loop complained of."""

    sidecar: Sidecar
    outbound: int
    clear: int
    mesh: int
    stop: asyncio.Event
    logged: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    clients: list[End] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def client(self, port: int = 0) -> End:
        """A connection to the outbound listener, or to ``port``."""
        _, end = await asyncio.get_running_loop().create_connection(End, HOST, port or self.outbound)
        self.clients.append(end)
        return end

    async def ask(self, request: bytes, port: int = 0) -> Answered:
        """One request on a connection of its own."""
        client = await self.client(port)
        client.send(request)
        try:
            return await client.answer(bodyless=request.startswith(b"HEAD"))
        finally:
            client.transport.abort()

    def states(self) -> list[EndpointState]:
        """Every endpoint the sidecar knows."""
        inbound = cast(Any, self.sidecar)._inbound.router
        known = [*cast(Any, self.sidecar)._lasting.endpoints._states.values(), *inbound._apps._states.values()]
        return cast("list[EndpointState]", known)

    def downstreams(self) -> list[Any]:
        """The connections of clients and callers, to look inside."""
        return [*cast(Any, self.sidecar)._outbound.connections, *cast(Any, self.sidecar)._inbound.connections]

    def open_exchanges(self) -> int:
        return sum(connection.exchange is not None for connection in self.downstreams())

    async def listening(self, running: asyncio.Task[None]) -> None:
        """Waits for the listeners, and leaves no trace of having looked."""
        probe: list[socket.socket] = []
        await eventually(lambda: running.done() or _connects(self.outbound, probe))
        await eventually(lambda: running.done() or self.downstreams())
        for sock in probe:
            sock.close()
        await eventually(lambda: not self.downstreams())

    async def settled(self) -> None:
        """Nothing is under way and nothing was forgotten."""
        await eventually(lambda: self.open_exchanges() == 0, PATIENCE)
        await eventually(lambda: all(state.load.pending == 0 for state in self.states()), PATIENCE)


@asynccontextmanager
async def playing(
    config: Config,
    *,
    pod: str = "client-0",
    account: str = "client",
    contexts: Contexts | None = None,
    app: App | None = None,
    egress: bool = False,
) -> AsyncIterator[Playing]:
    """One sidecar with all its listeners. ``app`` is the application behind its inbound side."""
    outbound, clear, mesh = free_port(), free_port(), free_port()
    target = app.port if app is not None else 1
    settings = Settings(
        pod=pod,
        namespace="default",
        service_account=account,
        listeners=Listeners(
            address=HOST,
            outbound=outbound,
            mesh=mesh if contexts is not None else 0,
            admin=0,
            clear=(ClearListener(port=clear, target=target),),
        ),
        egress=egress,
    )
    loop = asyncio.get_running_loop()
    sidecar = Sidecar(File(sidecar=settings, config=config), loop)
    sidecar.contexts = contexts
    now = Playing(sidecar, outbound, clear, mesh, asyncio.Event())
    watch = _Watch(now.logged)
    logging.getLogger().addHandler(watch)
    previous = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: now.failures.append(str(context)))
    running = asyncio.create_task(sidecar.run(now.stop))
    running.add_done_callback(lambda _: now.ended.set())
    try:
        await now.listening(running)
        yield now
        await now.settled()
        assert now.failures == [], now.failures
        assert now.logged == [], now.logged
    finally:
        loop.set_exception_handler(previous)
        logging.getLogger().removeHandler(watch)
        now.stop.set()
        await gone(now.clients)
        for connection in now.downstreams():
            connection.transport.abort()
        await running


async def gone(ends: Sequence[End]) -> None:
    """Ends these connections."""
    for end in ends:
        end.transport.abort()
    for end in ends:
        await end.wait(lambda end=end: end.lost, "the end of a connection")  # type: ignore[misc]


class _Watch(logging.Handler):
    def __init__(self, kept: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        self._kept.append(record.getMessage() + (f" {record.exc_info[1]!r}" if record.exc_info else ""))


def _connects(port: int, made: list[socket.socket]) -> bool:
    sock = socket.socket()
    if sock.connect_ex((HOST, port)) == 0:
        made.append(sock)
        return True
    sock.close()
    return False
