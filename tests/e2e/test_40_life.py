"""Requests go on while everything is exchanged under them: the application, the sidecars, the controller."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
import yaml
from cluster import DEMOS, SCRIPTS, Place, place
from underload import (
    MIX,
    kill_controller,
    load,
    restart_application,
    restart_controller,
    restart_sidecars,
    scale,
)

pytestmark = pytest.mark.usefixtures("mesh")

RATE = 100
"""A second. What a whole cluster on two cores carries while pods start; ``benchmarks/life.py`` asks for more."""


@pytest.fixture(scope="module")
def shop() -> Iterator[Place]:
    with place("e2e-life") as where:
        where.apply(*sorted((DEMOS / "canary").glob("*.yaml")))
        where.settled()
        yield where


EVENTS: dict[str, Callable[[Place], None]] = {
    "the application's pods, and with them their sidecars": restart_application,
    "the controller, in order": restart_controller,
    "the controller, at once": kill_controller,
    "the sidecars alone": restart_sidecars,
    "the number of pods": scale,
}


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_what_may_be_sent_again_never_fails_while_something_is_exchanged(
    shop: Place, event: Callable[[Place], None]
) -> None:
    with load(shop, RATE) as found:
        event(shop)
    assert found.unexplained() == [], found.counted()
    assert {method for method, kinds in found.methods.items() if kinds.get("200", 0) > 0} == set(MIX)


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
