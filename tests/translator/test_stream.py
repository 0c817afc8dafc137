"""What a control stream does by itself: deadlines, pings, closing; and what of it is not kept. Over real WebSockets."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from contextlib import AsyncExitStack
from typing import cast

import aiohttp
import pytest
from aiohttp import web
from control import Applied, contexts, sidecar, subscribed, wire
from eventually import eventually
from pushing import Control, config, ports, run

from proxy.contract.config import Cluster, Config, Endpoint
from proxy.contract.messages import Ack, Ask, Hello
from smi.workloads import Pod
from translator.collect import Collector
from translator.compiler import Compiled
from translator.identity.authority import Authority
from translator.push import Publisher
from translator.reconcile import MAX_HOSTS, Reconciler
from translator.stream import MAX_FRAME_BYTES, Stream, Streams
from translator.world import World


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("authority"))


def soon(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> None:
    """Deadlines that a test need not wait for."""
    for name, value in (seconds | {"ROUND_SECONDS": 0.02}).items():
        monkeypatch.setattr(f"translator.stream.{name}", value)


def test_who_says_nothing_is_dropped_also_one_byte_at_a_time(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon(monkeypatch, HELLO_SECONDS=0.2)

    async def scene(control: Control) -> None:
        async with control.serving() as port, wire(port, contexts(authority, "web-0")) as one:
            transport = one.transport
            transport.write(b"\x82\xfe")
            for _ in range(40):
                await asyncio.sleep(0.02)
                if transport.is_closing():
                    break
                transport.write(b"\x00")
            await one.ended()
            assert control.reconciler.subscribers == {}

    run(scene, authority)


def test_the_silent_are_pinged_and_dropped_if_they_are_deaf_too(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon(monkeypatch, HEARTBEAT_SECONDS=0.1)

    async def scene(control: Control) -> None:
        control.want(config(1))
        async with control.serving() as port, wire(port, contexts(authority, "web-1")) as deaf:
            await deaf.say(Hello())
            await deaf.say(Ack(version=(await deaf.pushed()).version))  # from now on nobody reads, so nothing answers
            async with subscribed(sidecar(port), contexts(authority, "web-0"), Applied()) as subscription:
                await eventually(lambda: ports(subscription) == [1])
                since = control.known("web-0").connected_since
                await eventually(lambda: control.known("web-1").connected_since is None)
                await asyncio.sleep(0.3)
                assert control.known("web-0").connected_since == since, "it answers pings"

    run(scene, authority)


def test_who_never_reads_is_dropped(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    soon(monkeypatch, SEND_SECONDS=0.1)

    async def scene(control: Control) -> None:
        huge = {f"shop/s{n}:80": Cluster(endpoints=(Endpoint(ip="10.0.0.1", port=80),) * 50) for n in range(4000)}
        control.want(Config(clusters=huge))
        async with control.serving() as port, wire(port, contexts(authority, "web-1")) as deaf:
            transport = deaf.transport
            transport.pause_reading()
            await deaf.say(Hello())
            await eventually(lambda: control.known("web-1").slot.in_flight)
            await eventually(lambda: control.known("web-1").connected_since is None)
            transport.abort()

    run(scene, authority)


def test_a_ping_is_answered_and_a_close_too(authority: Authority) -> None:
    async def scene(control: Control) -> None:
        control.want(config(1))
        async with control.serving() as port, wire(port, contexts(authority, "web-0")) as one:
            one.socket._autoping = False
            await one.say(Hello())
            await one.pushed()
            await one.socket.ping(b"there?")
            answer = await one.socket.receive(timeout=5)
            assert (answer.type, bytes(answer.data)) == (aiohttp.WSMsgType.PONG, b"there?")
            await one.socket.close(code=1000)
            assert one.socket.close_code == 1000
            await eventually(lambda: control.known("web-0").connected_since is None)

    run(scene, authority)


def test_of_many_pings_the_last_one_is_answered(authority: Authority) -> None:
    async def scene(control: Control) -> None:
        control.want(config(1))
        async with control.serving() as port, wire(port, contexts(authority, "web-0")) as one:
            one.socket._autoping = False
            await one.say(Hello())
            await one.pushed()
            one.transport.write(b"".join(b"\x89\x81\0\0\0\0%d" % number for number in range(10)))
            answer = await one.socket.receive(timeout=5)
            assert (answer.type, bytes(answer.data)) == (aiohttp.WSMsgType.PONG, b"9")

    run(scene, authority)


def test_a_message_that_is_nested_without_end_is_none(authority: Authority) -> None:
    async def scene(control: Control) -> None:
        async with control.serving() as port, wire(port, contexts(authority, "web-0")) as one:
            await one.socket.send_bytes(b'{"type":"Hello","more":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
            message = await one.socket.receive(timeout=5)
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1002)

    run(scene, authority)


def test_who_ends_in_order_and_does_not_go_is_cut_off(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    soon(monkeypatch, SEND_SECONDS=0.1)

    async def scene(control: Control) -> None:
        control.want(config(1))
        async with control.serving() as port, wire(port, contexts(authority, "web-0")) as one:
            await one.say(Hello())
            await one.pushed()
            [stream] = streams()
            one.transport.pause_reading()  # and so it does not hear that the controller's side ends
            one.transport.write(b"\x88\x82\0\0\0\0\x03\xe8")
            await eventually(lambda: stream._over)
            sock = stream._transport.get_extra_info("socket")
            await eventually(lambda: sock.fileno() == -1)
            one.transport.abort()

    run(scene, authority)


def test_deadlines_are_not_late_for_streams_that_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    class Counted:
        def __init__(self, number: int) -> None:
            self.pod, self.number = str(number), number

        def look(self) -> None:
            looked.append(self.number)

    streams = Streams(cast("Reconciler", None), cast("Collector", None))
    monkeypatch.setattr(streams, "_later", lambda: None)
    every = [cast("Stream", Counted(number)) for number in range(200)]
    for one in every:
        streams.opened(one)
    streams._look()
    for one in every[1:]:
        streams.ended(one)
    for _ in range(2):
        streams._look()
    assert 0 in looked


def test_a_message_of_many_reads_and_one_too_large(authority: Authority) -> None:
    async def scene(control: Control) -> None:
        control.want(config(1))
        async with control.serving() as port, wire(port, contexts(authority, "web-0")) as one:
            await one.say(Hello(hosts=tuple(f"h{n}.{'x' * 60}.{'y' * 60}.{'z' * 60}.shop" for n in range(MAX_HOSTS))))
            await eventually(lambda: len(control.known("web-0").hosts) == MAX_HOSTS)
            await one.pushed()
            await one.socket.send_bytes(b"x" * (MAX_FRAME_BYTES + 1))
            message = await one.socket.receive(timeout=5)
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1009)

    run(scene, authority)


def streams() -> list[Stream]:
    return [thing for thing in gc.get_objects() if isinstance(thing, Stream) and not thing._over]


def test_nothing_is_kept_of_the_request(authority: Authority) -> None:
    requests: list[weakref.ref[web.Request]] = []

    async def scene(control: Control) -> None:
        control.want(config(1))
        plain = Publisher.handle

        async def handle(self: Publisher, request: web.Request) -> web.StreamResponse:
            requests.append(weakref.ref(request))
            return await plain(self, request)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Publisher, "handle", handle)
            async with control.serving() as port, wire(port, contexts(authority, "web-0")) as near:
                await near.say(Hello())
                await near.pushed()
                gc.collect()
                assert [request() for request in requests] == [None]
                assert [one._transport.get_extra_info("peercert") for one in streams()] == [{}]

    run(scene, authority)


def test_sidecars_are_told_when_the_controller_goes(authority: Authority) -> None:
    async def scene(control: Control) -> None:
        control.want(config(1))
        async with AsyncExitStack() as stack:
            serving = control.serving()
            port = await serving.__aenter__()
            one = await stack.enter_async_context(wire(port, contexts(authority, "web-0")))
            await one.say(Hello())
            await one.pushed()
            await serving.__aexit__(None, None, None)
            message = await one.socket.receive(timeout=5)
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1001)
            assert control.known("web-0").connected_since is None

    run(scene, authority)


def test_from_one_that_costs_too_much_nothing_is_read_for_a_while(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon(monkeypatch, CREDIT_SECONDS=0.0, SHARE=1e-6, REST_SECONDS=0.4, HEARTBEAT_SECONDS=0.1)

    async def scene(control: Control) -> None:
        control.want(config(1))
        async with control.serving() as port, wire(port, contexts(authority, "web-0")) as one:
            await one.say(Hello(hosts=("a",)))
            await one.say(Ack(version=(await one.pushed()).version))
            began = asyncio.get_running_loop().time()
            await one.say(Ask(hosts=("b",)))
            assert list((await one.pushed()).hosts) == ["b"]
            assert asyncio.get_running_loop().time() - began > 0.3
            assert control.known("web-0").connected_since is not None, "nor is it taken for silent"

    run(scene, authority)


def test_what_it_asked_for_counts_and_so_does_what_an_older_stream_cost(authority: Authority) -> None:
    async def scene(control: Control) -> None:
        control.want(config(1))
        compile_sidecar = control.reconciler._compile

        def slowly(world: World, of: Pod, hosts: frozenset[str]) -> Compiled:
            time.sleep(0.05)
            return compile_sidecar(world, of, hosts)

        control.reconciler._compile = slowly
        async with control.serving() as port:
            for times in (1, 2):
                async with wire(port, contexts(authority, "web-0")) as one:
                    await one.say(Hello(hosts=("a",)))
                    await one.say(Ack(version=(await one.pushed()).version))
                    await eventually(lambda: control.known("web-0").acknowledged is not None)
                await eventually(lambda: control.known("web-0").connected_since is None)
                assert control.known("web-0").cost > times * 0.05 - 0.01

    run(scene, authority)
