from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from smi.workloads import Container, ContainerPort, Probe
from translator.local.listening import Listening
from translator.local.probes import PROOF_OF_LIFE, Pace, Target, http_check, pace_of, readiness_check, watch
from translator.local.processes import Command


class Enough(Exception):
    """The script is over."""


def told(answers: Iterable[str], pace: Pace) -> list[str]:
    """What ``watch`` tells while a check gives these answers, one after the other."""
    script, said = iter(answers), list[str]()

    async def check() -> str:
        try:
            return next(script)
        except StopIteration:
            raise Enough from None

    with pytest.raises(Enough):
        asyncio.run(watch(check, pace, said.append))
    return said


QUICK = Pace(period=0.001)


def test_every_change_is_told_once() -> None:
    assert told(["a", "a", "b", "", "", "c", "c", ""], QUICK) == ["a", "b", "", "c", ""]


def test_one_failure_of_three_is_none() -> None:
    pace = Pace(period=0.001, failure_threshold=3)
    assert told(["", "x", "x", "", "x", "x", "x"], pace) == ["", "x"]


def test_success_must_be_repeated_where_the_probe_says_so() -> None:
    pace = Pace(period=0.001, success_threshold=2)
    almost = "readiness probe succeeds, but not often enough yet"
    assert told(["", "x", "", ""], pace) == [almost, "x", almost, ""]


def test_paces() -> None:
    probe = Probe(kind="exec", period=3.0, initial_delay=2.0, failure_threshold=4, success_threshold=5)
    assert pace_of(Container(name="c", readiness=probe)) == Pace(
        initial_delay=2.0, period=3.0, failure_threshold=4, success_threshold=5
    )
    assert pace_of(Container(name="c", ports=(ContainerPort(port=1),))) == Pace()
    assert pace_of(Container(name="c")).initial_delay == PROOF_OF_LIFE


def target(container: Container, first_unprivileged: int = 0) -> Target:
    def command(argv: tuple[str, ...]) -> Command:
        raise AssertionError(argv)

    return Target(address="127.0.0.1", container=container, first_unprivileged=first_unprivileged, command=command)


def test_kinds_of_checks() -> None:
    async def main() -> None:
        app = web.Application()
        app.router.add_get("/ok", ok)
        app.router.add_get("/moved", moved)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        async with aiohttp.ClientSession() as http:
            await ask_all(port, http)
        await runner.cleanup()

    async def ok(request: web.Request) -> web.Response:
        return web.Response(status=200 if request.headers.get("X") == "y" else 500)

    async def moved(_: web.Request) -> web.Response:
        return web.Response(status=302)

    async def ask_all(port: int, http: aiohttp.ClientSession) -> None:
        async def ask(readiness: Probe | None, *ports: ContainerPort) -> str:
            one = Container(name="c", ports=ports, readiness=readiness)
            return await readiness_check(target(one), http, listening)()

        listening = Listening()
        closed = ContainerPort(port=1)
        named = ContainerPort(port=port, name="web")
        headers = (("X", "y"),)
        assert await ask(None) == ""
        assert await ask(None, closed, named) == ""
        assert await ask(None, closed) == "nothing listens on 127.0.0.1:1 (HOST and PORT)"
        assert await ask(Probe(kind="httpGet", port="web", path="/ok", headers=headers), named) == ""
        assert await ask(Probe(kind="httpGet", port=port, path="/moved")) == ""
        assert "answers 500" in await ask(Probe(kind="httpGet", port=port, path="ok"))
        assert "answers 404" in await ask(Probe(kind="httpGet", port=port, path="/none"))
        assert "Cannot connect" in await ask(Probe(kind="httpGet", port=1))
        assert await ask(Probe(kind="tcpSocket", port="web"), named) == ""
        assert await ask(Probe(kind="tcpSocket", port=1)) == "nothing listens on 127.0.0.1:1"
        assert 'names port "gone"' in await ask(Probe(kind="tcpSocket", port="gone"), named)

    asyncio.run(main())


def test_a_command_that_cannot_be_started_is_a_no(tmp_path: Path) -> None:
    def command(argv: tuple[str, ...]) -> Command:
        return Command(argv=argv, variables={}, folder=str(tmp_path / "gone"), log=tmp_path / "log")

    async def main() -> None:
        container = Container(name="c", readiness=Probe(kind="exec", command=("true",)))
        asked = Target(address="127.0.0.1", container=container, first_unprivileged=0, command=command)
        async with aiohttp.ClientSession() as http:
            said = await readiness_check(asked, http, Listening())()
        assert said == f"readiness command: {tmp_path}/gone: No such file or directory"

    asyncio.run(main())


def test_a_server_that_does_not_answer_in_time() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            async with aiohttp.ClientSession() as http:
                assert "no answer in 0.05 s" in await http_check(http, f"http://127.0.0.1:{port}/", 0.05)()

    asyncio.run(main())
