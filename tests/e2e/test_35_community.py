"""The community's SMI conformance suite on a cluster with a mesh: 24 steps with plain names, 24 with its own.

Its image is not one that every cluster has (``make community-image``); without it, or without a mesh, all is skipped.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import pytest
from cluster import APP_IMAGE, MESH, Place, got, kubectl, place, run
from communitysteps import IMAGE, OWN, PLAIN, STEPS, Form, Play, Step, reach

CASES = tuple(dict.fromkeys(step.case for step in STEPS))
RUNS = [(form, step) for form, step in itertools.product((PLAIN, OWN), STEPS)]

RUNNER = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "runner"},
    "spec": {
        "selector": {"matchLabels": {"app": "runner"}},
        "template": {
            "metadata": {"labels": {"app": "runner"}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [
                    {
                        "name": "runner",
                        "image": APP_IMAGE,
                        "imagePullPolicy": "IfNotPresent",
                        "command": ["sleep", "infinity"],
                    }
                ],
            },
        },
    },
}


def lacking_image() -> list[str]:
    """Nodes without the sample application's image, if it is one that no registry has."""
    if not IMAGE.startswith("localhost/"):
        return []
    nodes = got("nodes")["items"]
    held = {
        node["metadata"]["name"]: {name for image in node["status"]["images"] for name in image.get("names") or ()}
        for node in nodes
    }
    return [node for node, names in held.items() if IMAGE not in names]


@pytest.fixture(scope="module")
def runner() -> Iterator[Place]:
    """Where the calls are made from: a pod without a sidecar."""
    if run("kubectl", "get", "namespace", MESH).returncode != 0:
        pytest.skip(f"there is no namespace {MESH}: install the mesh first")
    if nodes := lacking_image():
        pytest.skip(f"{', '.join(nodes)}: no image {IMAGE}. make community-image builds it")
    kubectl("-n", MESH, "rollout", "status", "deployment/smi-mesh-controller", "--timeout=90s")
    with place("community-runner") as where:
        where.apply(RUNNER)
        where.settled()
        yield where


class Stage:
    """The namespace of one case at a time: it takes ten seconds to go, which is while the next case is played."""

    def __init__(self, runner: Place) -> None:
        self._runner = runner
        self._namespaces: list[str] = []
        self._play: Play | None = None

    def set(self, form: Form, case: str) -> Play:
        """The play of a case, with all that its earlier steps have left."""
        name = f"community-{form}-{case}"
        if self._play is None or self._play.where.name != name:
            self.strike("--wait=false")
            annotations = {"smi-mesh.io/inject": "enabled", "smi-mesh.io/unmeshed": "allow"}
            if form == OWN:
                annotations["smi-mesh.io/http-proxy"] = "enabled"
            namespace = {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": name, "annotations": annotations},
            }
            # One may be left of a run that was broken off.
            kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=true")
            self._namespaces.append(name)
            kubectl("create", "-f", "-", text=json.dumps(namespace))
            self._play = Play(form=form, where=Place(name), runner=self._runner)
        return self._play

    def strike(self, wait: str) -> None:
        """Deletes all the namespaces that there were."""
        if self._namespaces:
            kubectl("delete", "namespace", *self._namespaces, "--ignore-not-found", wait)


@pytest.fixture(scope="module")
def stage(runner: Place) -> Iterator[Stage]:
    stage = Stage(runner)
    try:
        yield stage
    finally:
        stage.strike("--wait=true")


@pytest.mark.parametrize(("form", "step"), RUNS, ids=[f"{form} names, {step}" for form, step in RUNS])
def test_step(stage: Stage, form: Form, step: Step) -> None:
    reach(stage.set(form, step.case), step)
