"""Redirected connections: where they were going, what is spoken on them, and who may.

The kernel's part, the original destination, is told by the test.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop
from pair import contexts_of
from ports import free_port
from wire import HOST

from proxy import doorway
from proxy.contract.config import (
    Cluster,
    Config,
    Endpoint,
    File,
    Host,
    Inbound,
    Listeners,
    Port,
    Service,
    Sidecar,
    spiffe_id,
)
from proxy.doorway import FIRST_BYTES
from proxy.endpoints import EndpointState
from proxy.forwarding import Forwarding
from proxy.http1.client import ClientConnection
from proxy.original import parsed
from proxy.sidecar import Sidecar as Running

VIRTUAL = "10.96.0.9"
SERVER = spiffe_id("cluster.local", "default", "server")
Original = tuple[str, int] | None


class Place:
    """An application: greets first if it is to, answers HTTP, and echoes anything else once the client has said all."""

    def __init__(self, greeting: bytes = b"") -> None:
        self.greeting = greeting
        self.port = 0
        self.heard: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.greeting)
        got = await reader.read(3)
        if got == b"GET" and not self.greeting:
            got += await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        else:
            got += await reader.read()
            writer.write(b"echo " + got)
        if got:
            self.heard.append(got)
        writer.close()


@asynccontextmanager
async def sidecars(
    monkeypatch: pytest.MonkeyPatch,
    place: Place,
    original: Callable[[Place], Original],
    *,
    inbound: Inbound | None = None,
    protocol: str = "",
) -> AsyncIterator[tuple[int, int]]:
    """The ports to which the kernel redirects: what the client's application opens, and what comes to the server's."""
    app = await asyncio.start_server(place.serve, HOST, 0)
    place.port = app.sockets[0].getsockname()[1]
    monkeypatch.setattr(doorway, "original_destination", lambda _: original(place))
    mesh, outbound, redirected = free_port(), free_port(), free_port()
    endpoint = Endpoint(ip=HOST, port=place.port, mesh=mesh, identity=SERVER, pod="default/server")
    calls = Config(
        version=1,
        services={
            "default/web": Service(ports={80: Port(cluster="default/web:80", protocol=protocol)}, cluster_ip=VIRTUAL)
        },
        clusters={"default/web:80": Cluster(endpoints=(endpoint,))},
        hosts={VIRTUAL: Host(service="default/web"), HOST: Host(), "192.0.2.1": Host()},
    )
    client = File(
        sidecar=Sidecar(
            pod="client",
            namespace="default",
            service_account="client",
            listeners=Listeners(address="127.0.0.2", outbound=outbound, mesh=0, admin=0, transparent=True),
            egress=True,
        ),
        config=calls,
    )
    server = File(
        sidecar=Sidecar(
            pod="server",
            namespace="default",
            service_account="server",
            listeners=Listeners(address=HOST, outbound=0, mesh=mesh, admin=0, redirected=redirected),
            app_address=HOST,
        ),
        config=Config(version=1, inbound=inbound or Inbound(default_policy="allow")),
    )
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    running = []
    for file, account in ((client, "client"), (server, "server")):
        sidecar = Running(file, loop)
        sidecar.contexts = contexts_of(spiffe_id("cluster.local", "default", account), f"{account}.default.pod")
        running.append(asyncio.create_task(sidecar.run(stop)))
    try:
        for port in (outbound, redirected, mesh):
            await _listening(port)
        yield outbound, redirected
    finally:
        stop.set()
        await asyncio.gather(*running)
        app.close()


async def _listening(port: int) -> None:
    deadline = asyncio.get_running_loop().time() + 10
    while True:
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return


async def said(port: int, data: bytes, *, first: int = 0) -> bytes:
    """What comes back: ``first`` bytes before anything is sent, then all after ``data`` and the end of it."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        async with asyncio.timeout(10):
            greeting = await reader.readexactly(first)
            writer.write(data)
            writer.write_eof()
            return greeting + await reader.read()
    except OSError:
        return b"reset"
    finally:
        writer.close()


def play(scene: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await scene()

    asyncio.run(whole())


def virtual(_: Place) -> Original:
    return VIRTUAL, 80


def itself(place: Place) -> Original:
    return HOST, place.port


def test_bytes_of_any_kind_go_to_a_pod_of_the_service_and_both_may_end_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        place = Place()
        async with sidecars(monkeypatch, place, virtual) as (outbound, _):
            assert await said(outbound, b"\x00binary" * 50_000) == b"echo " + b"\x00binary" * 50_000
            assert place.heard == [b"\x00binary" * 50_000]

    play(scene)


@pytest.mark.parametrize("protocol", ["", "opaque"])
def test_a_server_may_speak_first(monkeypatch: pytest.MonkeyPatch, protocol: str) -> None:
    async def scene() -> None:
        place = Place(b"220 ready\r\n")
        async with sidecars(monkeypatch, place, virtual, protocol=protocol) as (outbound, _):
            for _ in range(2):
                assert await said(outbound, b"QUIT", first=11) == b"220 ready\r\necho QUIT"

    play(scene)


@pytest.mark.parametrize("ends", [False, True])
def test_what_a_server_says_before_anybody_listens_is_not_lost(monkeypatch: pytest.MonkeyPatch, ends: bool) -> None:
    real = Forwarding.open

    async def late(self: Forwarding, target: EndpointState, *, relayed: bool = False) -> ClientConnection:
        connection = await real(self, target, relayed=relayed)
        for _ in range(2000):  # the loop goes round, and what has come is delivered
            await asyncio.sleep(0)
        return connection

    class Hasty(Place):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if ends:
                writer.write(self.greeting)
                writer.close()
            else:
                await super().serve(reader, writer)

    async def scene() -> None:
        place = Hasty(b"220 ready\r\n")
        async with sidecars(monkeypatch, place, itself) as (outbound, _):
            monkeypatch.setattr(Forwarding, "open", late)
            expected = b"220 ready\r\n" if ends else b"220 ready\r\necho QUIT"
            assert await said(outbound, b"QUIT", first=11) == expected

    play(scene)


def test_http_is_told_by_its_first_bytes_and_goes_by_its_destination_not_by_its_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene() -> None:
        place = Place()
        async with sidecars(monkeypatch, place, virtual) as (outbound, _):
            answer = await said(outbound, b"GET /x HTTP/1.1\r\nHost: elsewhere\r\nConnection: close\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200")
            assert place.heard[0].startswith(b"GET /x HTTP/1.1\r\nhost: elsewhere\r\n")

    play(scene)


def test_http_is_still_http_when_the_sidecar_comes_late_to_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait runs out while the loop is busy, and the bytes are in the kernel all the while."""

    async def scene() -> None:
        place = Place()
        async with sidecars(monkeypatch, place, virtual) as (outbound, _):
            reader, writer = await asyncio.open_connection(HOST, outbound)
            for _ in range(50):
                await asyncio.sleep(0)  # the sidecar has accepted, and waits
            writer.write(b"GET /x HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
            time.sleep(3 * FIRST_BYTES)  # noqa: ASYNC251 - nobody gets a turn
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
            assert place.heard[0].startswith(b"GET /x HTTP/1.1\r\nhost: web\r\n"), "rewritten, not relayed"
            writer.close()

    uvloop.run(scene())


def test_where_clients_have_spoken_http_a_silent_one_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        place = Place()
        async with sidecars(monkeypatch, place, virtual) as (outbound, _):
            request = b"GET /x HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"
            assert (await said(outbound, request)).startswith(b"HTTP/1.1 200")
            monkeypatch.setattr(doorway, "FIRST_BYTES", 0.0)
            reader, writer = await asyncio.open_connection(HOST, outbound)
            for _ in range(1000):
                await asyncio.sleep(0)  # the sidecar has accepted, and waits
            writer.write(request)
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
            assert all(heard.startswith(b"GET /x HTTP/1.1\r\nhost: web\r\n") for heard in place.heard), "not relayed"
            writer.close()

    play(scene)


def test_what_is_not_of_the_mesh_is_passed_through(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        place = Place(b"hello ")
        async with sidecars(monkeypatch, place, itself) as (outbound, _):
            assert await said(outbound, b"GET / HTTP/1.1\r\n\r\n", first=6) == b"hello echo GET / HTTP/1.1\r\n\r\n"

    play(scene)


def test_who_is_not_let_in_is_closed_before_the_application_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        place = Place()
        async with sidecars(monkeypatch, place, virtual, inbound=Inbound(default_policy="deny")) as (outbound, _):
            assert await said(outbound, b"\x00\x01\x02") in (b"", b"reset")
            assert place.heard == []

    play(scene)


@pytest.mark.parametrize(
    ("inbound", "heard"),
    [
        (Inbound(default_policy="same-identity"), False),
        (Inbound(default_policy="same-identity", unmeshed=True), True),
        (Inbound(default_policy="allow"), True),
        (Inbound(default_policy="allow", named=True), False),
    ],
    ids=("same-identity", "unmeshed", "allow", "named"),
)
def test_callers_in_the_clear_have_no_identity(monkeypatch: pytest.MonkeyPatch, inbound: Inbound, heard: bool) -> None:
    async def scene() -> None:
        place = Place()
        async with sidecars(monkeypatch, place, itself, inbound=inbound) as (_, redirected):
            raw = await said(redirected, b"\x00\x01")
            assert (raw == b"echo \x00\x01") is heard
            answer = await said(redirected, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200" if heard else b"HTTP/1.1 403")
            assert len(place.heard) == (2 if heard else 0)

    play(scene)


@pytest.mark.parametrize("port", [0, 4143])
def test_our_own_ports_are_no_destination(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    async def scene() -> None:
        place = Place()
        own: Original = (HOST, port) if port else None
        async with sidecars(monkeypatch, place, lambda _: own) as (_, redirected):
            answer = await said(redirected, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert not answer.startswith(b"HTTP/1.1 200")
            assert place.heard == []

    play(scene)


def test_an_explicit_proxy_it_is_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        place = Place()
        async with sidecars(monkeypatch, place, lambda _: None) as (outbound, _):
            await said(outbound, b"GET http://web/ HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
            assert place.heard[0].startswith(b"GET / HTTP/1.1\r\nhost: web\r\n")

    play(scene)


def test_the_kernels_answer_is_read() -> None:
    v4 = b"\x02\x00\x1f\x90\x0a\x60\x00\x09" + bytes(8)
    assert parsed(v4, ("10.1.0.1", 4144)) == ("10.96.0.9", 8080)
    assert parsed(v4, ("10.96.0.9", 8080)) is None
    v6 = b"\x0a\x00\x1f\x90" + bytes(4) + bytes(15) + b"\x01" + bytes(4)
    assert parsed(v6, ("fd00::1", 4144, 0, 0)) == ("::1", 8080)
