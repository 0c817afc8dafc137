"""Requests go on while the mesh changes under them: none may fail."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from localmesh import LocalMesh, deployment, server, service, under_load, until


def slow_web(says: str, replicas: int) -> tuple[dict[str, Any], ...]:
    """Servers that hold each request long enough for their pod to be told to go meanwhile."""
    pause = {"name": "PAUSE", "value": "0.2"}
    return server("web", says=says, replicas=replicas, env=[pause]), service("web")


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    one = LocalMesh(tmp_path_factory.mktemp("load"))
    one.write("web.yaml", *slow_web("v1", 2))
    one.write("client.yaml", deployment("client"))
    one.start()
    yield one
    one.close()


def test_a_rollover_loses_no_request(mesh: LocalMesh, tmp_path: Path) -> None:
    old = {pod["name"] for pod in mesh.pods("web")}

    def roll_over() -> None:
        mesh.write("web.yaml", *slow_web("v2", 2))
        until(lambda: not old & {pod["name"] for pod in mesh.pods("web")}, "the old pods have gone")

    assert under_load(mesh, tmp_path, roll_over).keys() == {"200 v1", "200 v2"}


def test_scaling_loses_no_request(mesh: LocalMesh, tmp_path: Path) -> None:
    def scale(replicas: int) -> None:
        mesh.write("web.yaml", *slow_web("v2", replicas))
        until(lambda: [pod["ready"] for pod in mesh.pods("web")] == [True] * replicas, f"{replicas} are ready")

    def up_and_down() -> None:
        scale(3)
        scale(1)

    assert under_load(mesh, tmp_path, up_and_down).keys() == {"200 v2"}


def test_a_killed_controller_loses_no_request(mesh: LocalMesh, tmp_path: Path) -> None:
    def kill() -> None:
        before = mesh.status()["controller"]["pid"]
        os.kill(before, signal.SIGKILL)
        until(lambda: mesh.status()["controller"]["pid"] not in (None, before), "it runs again")
        versions = {pod["name"]: pod["sidecar"]["configVersion"] for pod in mesh.pods("client")}
        mesh.write("web.yaml", *slow_web("v2", 2))
        until(lambda: len([pod for pod in mesh.pods("web") if pod["ready"]]) == 2, "it obeys the folder again")
        until(
            lambda: versions != {pod["name"]: pod["sidecar"]["configVersion"] for pod in mesh.pods("client")},
            "and the sidecars obey the controller",
        )

    assert under_load(mesh, tmp_path, kill).keys() == {"200 v2"}


def test_a_killed_sidecar_serves_again_while_the_controller_is_silent(mesh: LocalMesh) -> None:
    mesh.write("web.yaml", *slow_web("v2", 1))
    until(lambda: [pod["ready"] for pod in mesh.pods("web")] == [True], "one is left")
    before, controller = mesh.pod("web"), mesh.status()["controller"]["pid"]
    os.kill(controller, signal.SIGSTOP)
    try:
        os.kill(before["sidecar"]["pid"], signal.SIGKILL)
        until(
            lambda: mesh.record_of(before["name"])["sidecar_pid"] not in (0, before["sidecar"]["pid"]), "it runs again"
        )
        until(lambda: mesh.record_of(before["name"])["pod"]["ready"], "and is ready")
        ask = "import urllib.request as r; print(r.urlopen('http://web/', timeout=5).read().decode())"
        answer = mesh.smi("exec", "deploy/client", "--", sys.executable, "-c", ask)
    finally:
        os.kill(controller, signal.SIGCONT)
    assert (answer.stdout, answer.stderr) == ("v2\n", "")
