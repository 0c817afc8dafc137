"""What several controllers' sidecars counted, put together; and how the API is started."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from apiserver import FakeApiServer, serving
from metricsworld import entry, shops

from translator.identity.rotation import Rotation
from translator.identity.wanted import IdentityOptions
from translator.kube import __main__ as process
from translator.kube.controller import TRAFFIC_PATH, Controller
from translator.kube.settings import Options
from translator.observed import totals


def scene(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    answers: list[bytes | None],
    play: Callable[[Controller], Awaitable[None]],
) -> None:
    async def run() -> None:
        async with serving(FakeApiServer()) as api:
            rotation = Rotation(folder, IdentityOptions(), "cluster.local")
            controller = Controller(api, Options(folder=folder), rotation)

            async def ask(path: str, parameters: Any = None) -> list[bytes | None]:
                assert (path, parameters) == (TRAFFIC_PATH, {"seconds": "30.0"})
                return answers

            monkeypatch.setattr(controller.peers, "ask", ask)
            await play(controller)

    asyncio.run(run())


def packed(ok: int) -> bytes:
    return msgspec.msgpack.encode([entry({"by": "shop/web-1", "from": "", "ok": ok})])


@pytest.mark.parametrize(
    ("answers", "requests", "partial"),
    [
        ([], 0, ""),
        ([packed(3)], 3, ""),
        ([packed(3), packed(4)], 7, ""),
        ([packed(3), None], 3, "1 of 3 replicas did not answer"),
        ([None, None], 0, "2 of 3 replicas did not answer"),
        ([b"", packed(3), b"\xc1", msgspec.msgpack.encode([["a", {}]])], 3, "3 of 5 replicas did not answer"),
    ],
)
def test_all_controllers_counts_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: list[bytes | None], requests: int, partial: str
) -> None:
    async def play(controller: Controller) -> None:
        assert await controller.seen(30.0) is None
        controller.reconciler.world_changed(shops().world)
        seen = await controller.seen(30.0)
        assert seen is not None
        assert (totals(seen.observed.entries).requests, seen.partial) == (requests, partial)

    scene(tmp_path, monkeypatch, answers, play)


def started(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Options], Callable[[list[str]], int]]:
    """Starts the controller's process up to where it would run; the options with which it would, and its exit code."""
    found: list[Options] = []

    async def run(api: Any, options: Options) -> None:
        del api
        found.append(options)

    monkeypatch.setattr(process, "run", run)
    kubeconfig = folder / "config"
    kubeconfig.write_text(
        "{apiVersion: v1, kind: Config, current-context: a, clusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}],"
        " users: [{name: a, user: {}}], contexts: [{name: a, context: {cluster: a, user: a}}]}"
    )
    return found, lambda arguments: process.main(["--kubeconfig", str(kubeconfig), *arguments])


@pytest.mark.parametrize(("arguments", "exact"), [([], False), (["--spec-exact-discovery"], True)])
def test_discovery_to_the_letter_is_an_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], exact: bool
) -> None:
    found, start = started(tmp_path, monkeypatch)
    assert start(arguments) == 0
    assert [options.spec_exact_discovery for options in found] == [exact]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--metrics-backend=memory", "--prometheus-url="], 0, ""),
        (["--metrics-backend=prometheus", "--prometheus-url=http://prometheus:9090/"], 0, "http://prometheus:9090"),
        (["--metrics-backend=prometheus", "--prometheus-url="], 2, "needs --prometheus-url too"),
        (["--metrics-backend=prometheus", "--prometheus-url=prometheus:9090"], 2, "no http:// or https:// address"),
        (["--metrics-backend=prometheus", "--prometheus-url=http://a:b@c"], 2, "a user or a password"),
        (["--metrics-backend=influx"], 2, "invalid choice"),
    ],
)
def test_a_prometheus_is_an_option(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    found, start = started(tmp_path, monkeypatch)
    if code == 0:
        assert start(arguments) == 0
        assert [options.prometheus for options in found] == [said]
    else:
        with pytest.raises(SystemExit, match="2"):
            start(arguments)
        assert said in capsys.readouterr().err
        assert found == []
