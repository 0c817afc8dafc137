"""Requests go on while everything is exchanged under them: the application, the sidecars, the controller."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml
from cluster import DEMOS, MESH, SCRIPTS, Place, kubectl, place

pytestmark = pytest.mark.usefixtures("mesh")

RATE = 300


@pytest.fixture(scope="module")
def shop() -> Iterator[Place]:
    with place("e2e-life") as where:
        where.apply(*sorted((DEMOS / "canary").glob("*.yaml")))
        where.settled()
        yield where


@dataclass
class Load:
    """What became of the requests, once the load has ended."""

    kinds: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)


@contextmanager
def load(where: Place, method: str = "GET", rate: int = RATE) -> Iterator[Load]:
    """Requests to the root Service while the block runs."""
    found = Load()
    script = (SCRIPTS / "load.py").read_text("utf-8")
    end = f"/tmp/end-{method}"
    where.exec("deploy/client", "rm", "-f", end)
    command = ["kubectl", "-n", where.name, "exec", "deploy/client", "-c", "client", "--", "python3", "-c", script]
    process = subprocess.Popen(
        [*command, "http://myweb-service/", str(rate), method, end], stdout=subprocess.PIPE, text=True
    )
    try:
        yield found
    finally:
        where.exec("deploy/client", "touch", end)
        said, _ = process.communicate(timeout=120)
    answer: dict[str, Any] = json.loads(said)
    found.kinds, found.first = answer["kinds"], answer["first"]


def restart_application(where: Place) -> None:
    for name in ("myweb-deployment-v1", "myweb-deployment-v2"):
        where.kubectl("rollout", "restart", f"deployment/{name}")
    for name in ("myweb-deployment-v1", "myweb-deployment-v2"):
        where.kubectl("rollout", "status", f"deployment/{name}", "--timeout=180s")


def restart_controller(_: Place) -> None:
    kubectl("-n", MESH, "rollout", "restart", "deployment/smi-mesh-controller")
    kubectl("-n", MESH, "rollout", "status", "deployment/smi-mesh-controller", "--timeout=180s")


def kill_controller(_: Place) -> None:
    kubectl("-n", MESH, "delete", "pod", "-l", "app.kubernetes.io/component=controller", "--force", "--grace-period=0")
    kubectl("-n", MESH, "rollout", "status", "deployment/smi-mesh-controller", "--timeout=180s")


def scale(where: Place) -> None:
    for replicas in ("6", "1", "3"):
        where.kubectl("scale", "deployment/myweb-deployment-v1", f"--replicas={replicas}")
        where.kubectl("rollout", "status", "deployment/myweb-deployment-v1", "--timeout=180s")


EVENTS: dict[str, Callable[[Place], None]] = {
    "the application's pods, and with them their sidecars": restart_application,
    "the controller, in order": restart_controller,
    "the controller, at once": kill_controller,
    "the number of pods": scale,
}


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_no_get_fails_while_something_is_exchanged(shop: Place, event: Callable[[Place], None]) -> None:
    with load(shop) as gets:
        event(shop)
    assert set(gets.kinds) == {"200"}, (gets.kinds, gets.first)


def test_a_job_ends(shop: Place) -> None:
    container = {
        "name": "job",
        "image": "localhost/python:slim",
        "command": [
            "python3",
            "-c",
            (SCRIPTS / "ask.py").read_text("utf-8"),
            "http://myweb-service-v1/",
            "5",
            "GET",
            "{}",
        ],
    }
    template = {
        "metadata": {"annotations": {"smi-mesh.io/inject": "enabled"}},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}, "spec": {"template": template}}
    shop.kubectl("apply", "-f", "-", text=yaml.safe_dump(job))
    shop.kubectl("wait", "job/once", "--for=condition=Complete", "--timeout=60s")
    assert json.loads(shop.kubectl("logs", "job/once", "-c", "job")) == {"Version 1": 5}
