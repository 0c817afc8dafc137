"""The access log: what a line says and what it never says, and readers that do not read."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from eventually import eventually
from wire import OK, App, Playing, play, playing, to

from proxy.accesslog import MAX_WAITING, AccessLog
from proxy.contract.config import AccessLog as Kind

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


class Paper:
    """What was written."""

    def __init__(self) -> None:
        self.data = b""

    def __call__(self, data: bytes) -> None:
        self.data += data

    @property
    def lines(self) -> list[str]:
        return self.data.decode().splitlines()


def log_of(mesh: Playing, kind: Kind, write: Callable[[bytes], None]) -> AccessLog:
    """Gives the sidecar's outbound side an access log."""
    log = AccessLog(kind, asyncio.get_running_loop(), write, lambda: NOON)
    cast(Any, mesh.sidecar)._outbound.access_log = log
    return log


def test_a_line_of_json() -> None:
    async def scene() -> None:
        paper = Paper()
        async with App(lambda _: OK) as app, playing(to(app)) as mesh:
            log_of(mesh, "json", paper)
            await mesh.ask(
                b"POST /a/b?token=geheim HTTP/1.1\r\nHost: web\r\nAuthorization: geheim\r\nContent-Length: 3\r\n\r\nabc"
            )
            await eventually(lambda: paper.lines)
            [said] = [json.loads(line) for line in paper.lines]
            took = said.pop("duration_ms")
            began = said.pop("time")
            assert 0 < took < 10_000
            assert took == round(took, 3)
            assert "2024-05-01T11:59:5" in began
            assert began.endswith("Z")
            assert said == {
                "direction": "outbound",
                "method": "POST",
                "authority": "web",
                "path": "/a/b",
                "status": 200,
                "reason": None,
                "request_bytes": 3,
                "response_bytes": 2,
                "destination": "default/web:80",
                "split": None,
                "backend": None,
                "match": None,
                "pod": f"127.0.0.1:{app.port}",
                "target": None,
                "peer": None,
                "tls": "no_identity",
            }

    play(scene())


def test_a_line_of_text() -> None:
    async def scene() -> None:
        paper = Paper()
        async with playing(to()) as mesh:
            log_of(mesh, "text", paper)
            await mesh.ask(b'GET /caf\xc3\xa9"=x?geheim HTTP/1.1\r\nHost: web\r\n\r\n')
            await eventually(lambda: paper.lines)
            [line] = paper.lines
            assert (
                dict(pair.split("=", 1) for pair in line.split(" ")).items()
                >= {
                    "direction": "outbound",
                    "path": '/caf\\xc3\\xa9"=x',
                    "status": "503",
                    "reason": "no-endpoint",
                    "destination": "default/web:80",
                    "pod": "-",
                }.items()
            )
            assert "geheim" not in line

    play(scene())


def test_one_line_for_each_request_that_is_counted() -> None:
    async def scene() -> None:
        paper = Paper()
        async with App(lambda _: OK) as app, playing(to(app)) as mesh:
            log = log_of(mesh, "json", paper)
            for host in (b"web", b"web", b"example.com"):
                await mesh.ask(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host)
            await mesh.ask(b"nonsense\r\n\r\n")
            log.close()
            assert [json.loads(line)["status"] for line in paper.lines] == [200, 200, 502]

    play(scene())


def test_a_reader_that_does_not_read_holds_nothing_up() -> None:
    async def scene() -> None:
        stuck, let_go = threading.Event(), threading.Event()

        def write(data: bytes) -> None:
            stuck.set()
            let_go.wait(60)

        async with App(lambda _: OK) as app, playing(to(app)) as mesh:
            log = log_of(mesh, "text", write)
            await mesh.ask(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
            await eventually(stuck.is_set)
            long = b"GET /%b HTTP/1.1\r\nHost: web\r\n\r\n" % (b"a" * 15_000)
            for _ in range(MAX_WAITING // 15_000 + 10):
                assert (await mesh.ask(long)).status == 200
                log.flush()
            assert log.dropped > 0
            let_go.set()
            log.close()

    play(scene())


def test_nobody_reads_any_more() -> None:
    async def scene() -> None:
        def write(data: bytes) -> None:
            raise BrokenPipeError

        async with playing(to()) as mesh:
            log = log_of(mesh, "text", write)
            await mesh.ask(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
            log.close()
            assert log.dropped == 1

    play(scene())


def test_off_is_off() -> None:
    async def scene() -> None:
        async with playing(to()) as mesh:
            assert cast(Any, mesh.sidecar)._outbound.access_log is None
            assert cast(Any, mesh.sidecar)._inbound.access_log is None

    play(scene())


@pytest.mark.parametrize("number", [1, 2])
def test_to_stdout(number: int, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    from proxy.accesslog import to_stdout

    to_stdout(b"line\n" * number)
    assert capfdbinary.readouterr().out == b"line\n" * number
