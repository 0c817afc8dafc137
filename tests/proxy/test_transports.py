"""Connections as the metrics tell of them, over real sockets."""

from __future__ import annotations

from eventually import eventually
from wire import OK, App, Playing, play, playing, to

from proxy.transports import Connections, Kind, Transports, transferred

GET = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"
SRC = Kind("outbound", "src", "no_identity")
DST = Kind("outbound", "dst", "no_identity")


def outbound(mesh: Playing) -> dict[Kind, Connections]:
    transports: Transports = mesh.sidecar._outbound.transports
    return dict(transports.items())


def test_connections_that_stand_and_their_bytes() -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as app, playing(to(app)) as mesh:
            before = outbound(mesh)[SRC]
            client = await mesh.client()
            client.send(GET)
            await client.got(OK)
            await eventually(lambda: outbound(mesh)[SRC].written - before.written >= len(OK))
            now = outbound(mesh)
            assert (now[SRC].opened - before.opened, now[SRC].open) == (1, 1)
            assert now[SRC].read - before.read == len(GET)
            assert (now[DST].opened, now[DST].open) == (1, 1)
            assert now[DST].read == len(OK)

    play(scene())


def test_bytes_are_remembered_when_a_connection_ends() -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as app, playing(to(app)) as mesh:
            before = outbound(mesh)[SRC]
            client = await mesh.client()
            client.send(GET)
            await client.got(OK)
            client.close()
            await eventually(lambda: outbound(mesh)[SRC].open == 0)
            now = outbound(mesh)[SRC]
            assert now.closes[""] == before.closes.get("", 0) + 1
            # The end of a stream counts as a byte to the kernel.
            assert now.read - before.read in (len(GET), len(GET) + 1)

    play(scene())


def test_a_reset_has_a_name() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(GET)
            (await app.accepted()).abort()
            assert (await client.answer()).status == 502
            await eventually(lambda: outbound(mesh)[DST].closes)
            assert outbound(mesh)[DST].closes == {"ECONNRESET": 1}

    play(scene())


def test_an_end_told_twice_counts_once() -> None:
    transports = Transports("inbound")
    one = transports.opened("src", "true", _NoSocket())  # type: ignore[arg-type]
    one.closed(None)
    one.closed(OSError(104, "reset"))
    assert dict(transports.items())[Kind("inbound", "src", "true")].closes == {"": 1}


class _NoSocket:
    def get_extra_info(self, _: str) -> None:
        return None


def test_a_kernel_that_does_not_say() -> None:
    class Short:
        def getsockopt(self, *_: int) -> bytes:
            return b"\0" * 104

    assert transferred(Short()) == (0, 0)
    assert transferred(None) == (0, 0)
