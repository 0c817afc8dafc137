"""Names this sidecar has never seen: what it asks the controller, and what it does not even ask."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import msgspec
import pytest
from eventually import eventually
from wire import OK, App, Playing, play, playing, split, to

from proxy.contract.config import Cluster, Config, Host
from proxy.errors import Reason, Unavailable

GET = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"


class Controller:
    """Answers when it is told to, with a config that is then in force."""

    def __init__(self, mesh: Playing) -> None:
        self.asked: list[str] = []
        self.answers: asyncio.Queue[Config | Unavailable] = asyncio.Queue()
        self._mesh = mesh
        cast(Any, mesh.sidecar)._subscription = self

    async def resolve(self, host: str, seconds: float) -> Host:
        self.asked.append(host)
        answer = await self.answers.get()
        if isinstance(answer, Unavailable):
            raise answer
        self._mesh.sidecar.apply(answer)
        return answer.hosts.get(host, Host())


def nowhere(host: str) -> Config:
    return Config(version=2, hosts={host: Host()})


def test_a_name_never_seen_is_asked_for_and_the_request_waits() -> None:
    async def scene() -> None:
        async with App() as app, playing(Config()) as mesh:
            controller = Controller(mesh)
            client = await mesh.client()
            client.send(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\n\r\nab")
            await eventually(lambda: controller.asked == ["web.default"])
            client.send(b"cd")
            controller.answers.put_nowait(to(app, version=2))
            upstream = await app.accepted()
            await upstream.got(b"POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 4\r\n\r\nabcd")
            upstream.send(OK)
            await client.got(OK)
            client.send(GET)
            await upstream.until(b"\r\n\r\n")
            upstream.send(OK)
            await client.got(OK)
            assert controller.asked == ["web.default"]

    play(scene())


def test_a_body_too_large_to_keep_waits_at_the_client() -> None:
    async def scene() -> None:
        async with App() as app, playing(Config()) as mesh:
            controller = Controller(mesh)
            body = b"x" * 10_000_000
            client = await mesh.client()
            client.send(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: %d\r\n\r\n" % len(body), body)
            await eventually(lambda: mesh.downstreams() and mesh.downstreams()[0]._held)
            assert mesh.downstreams()[0].exchange._outgoing.size < 1_000_000
            controller.answers.put_nowait(to(app, version=2))
            upstream = await app.accepted()
            await upstream.until(b"\r\n\r\n")
            await upstream.got(body)
            upstream.send(OK)
            await client.got(OK)

    play(scene())


@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [
        (nowhere("web.default"), 502, "egress"),
        (Unavailable(503, Reason.NO_SERVICE, "no answer"), 503, "no-service"),
        (to(), 503, "no-endpoint"),
    ],
)
def test_what_the_controller_says_is_what_the_client_hears(
    answer: Config | Unavailable, status: int, reason: str
) -> None:
    async def scene() -> None:
        async with playing(Config()) as mesh:
            controller = Controller(mesh)
            controller.answers.put_nowait(answer)
            heard = await mesh.ask(GET)
            assert (heard.status, heard.reason) == (status, reason)

    play(scene())


def test_connect_waits_for_the_answer_too() -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as app, playing(Config()) as mesh:
            controller = Controller(mesh)
            client = await mesh.client()
            client.send(b"CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\n\r\n", GET)
            await eventually(lambda: controller.asked)
            controller.answers.put_nowait(to(app, version=2))
            await client.got(b"HTTP/1.1 200 OK\r\n\r\n" + OK)

    play(scene())


def test_a_client_that_goes_away_while_its_name_is_asked_for() -> None:
    async def scene() -> None:
        async with App() as app, playing(Config()) as mesh:
            controller = Controller(mesh)
            client = await mesh.client()
            client.send(GET)
            await eventually(lambda: controller.asked)
            client.abort()
            await mesh.settled()
            controller.answers.put_nowait(to(app, version=2))
            await eventually(lambda: mesh.sidecar.table.config.version == 2)
            assert app.ends == []

    play(scene())


@pytest.mark.parametrize("host", [b"[::1]", b"..", b"a" * 300, b"web~x"])
def test_what_is_no_name_is_not_asked_for(host: bytes) -> None:
    """The controller would not take it, and asking on and on would be all this sidecar does."""

    async def scene() -> None:
        async with playing(Config()) as mesh:
            controller = Controller(mesh)
            controller.answers.put_nowait(Config(version=2))
            answer = await mesh.ask(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host)
            assert (answer.status, answer.reason) == (502, "egress")
            assert controller.asked == []

    play(scene())


@pytest.mark.parametrize(
    ("host", "share"),
    [(b"web", 5), (b"web.default.svc.cluster.local:8080", 5), (b"10.9.9.9:8080", 0), (b"other", 0), (b"web:80", 0)],
)
def test_at_the_address_of_a_pod_its_headless_service_is_split_if_the_request_names_it(host: bytes, share: int) -> None:
    """Within CONNECT it is as where the kernel redirects: the connection says where it goes, each request its Host."""
    pod, key = "10.9.9.9", "pod:10.9.9.9:8080"

    async def scene() -> None:
        async with App(lambda _: OK) as own, App(lambda _: OK) as first, App(lambda _: OK) as second:
            config = split((1, [first]), (1, [second]))
            answer = Host(pod={8080: key}, headless={8080: ("default/web:80",)})
            clusters = {**config.clusters, key: Cluster(endpoints=(own.endpoint,))}
            config = msgspec.structs.replace(config, hosts={pod: answer}, clusters=clusters)
            async with playing(config) as mesh:
                client = await mesh.client()
                client.send(b"CONNECT 10.9.9.9:8080 HTTP/1.1\r\nHost: 10.9.9.9:8080\r\n\r\n")
                await client.got(b"HTTP/1.1 200 OK\r\n\r\n")
                for _ in range(10):
                    client.send(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host)
                    await client.got(OK)
                heard = [len(app.requests) for app in (own, first, second)]
                assert heard == [10 - 2 * share, share, share]

    play(scene())


def test_configs_are_as_the_contract_says() -> None:
    """The helper's configs pass the contract's own encoding: tests speak of what is really pushed."""
    config = to(version=3)

    assert msgspec.json.decode(msgspec.json.encode(config), type=Config) == config
