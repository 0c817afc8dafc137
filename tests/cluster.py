"""What the end-to-end tests do with a cluster, by the commands a user types."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
DEMOS = ROOT / "manifests" / "demos"
SCRIPTS = ROOT / "tests" / "inpod"

IMAGE = os.environ.get("SMI_MESH_IMAGE", "localhost/smi-mesh:dev")
"""The mesh's own image, on every node already."""

APP_IMAGE = os.environ.get("SMI_MESH_APP_IMAGE", "localhost/python:slim")
"""Python 3 and curl, on every node already: it stands for all applications' images."""

MESH = "smi-mesh"
"""The mesh's namespace."""

COMMAND_TIMEOUT = 300.0
ROLLOUT = "180s"


def run(*command: str, text: str | None = None, timeout: float = COMMAND_TIMEOUT) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end, whatever that is."""
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=timeout)


def done(*command: str, text: str | None = None, timeout: float = COMMAND_TIMEOUT) -> str:
    """Standard output of a command that succeeds; any other is an ``AssertionError`` that shows what it said."""
    ended = run(*command, text=text, timeout=timeout)
    assert ended.returncode == 0, f"{' '.join(command)}: exit {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


def kubectl(*arguments: str, text: str | None = None) -> str:
    """``kubectl`` in the current context."""
    return done("kubectl", *arguments, text=text)


def smi(*arguments: str, text: str | None = None) -> str:
    """The ``smi`` command of this environment."""
    return done(str(Path(sys.executable).with_name("smi")), *arguments, text=text)


def got(*arguments: str) -> Any:
    """``kubectl get … -o json``."""
    return json.loads(kubectl("get", *arguments, "-o", "json"))


def eventually(what: str, holds: Callable[[], object], seconds: float = 60.0) -> None:
    """Polls until something holds. Raises ``AssertionError`` with the last thing that was seen."""
    deadline = time.monotonic() + seconds
    while not (seen := holds()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what} (last seen: {seen!r})"
        time.sleep(0.2)


HOSTNAME = "kubernetes.io/hostname"
"""The label that says which node a node is."""


def nodes_for_pods() -> list[str]:
    """The ``HOSTNAME`` of each node that takes any pod."""
    found = []
    for node in got("nodes")["items"]:
        taints = node["spec"].get("taints") or ()
        if not any(taint["effect"] != "PreferNoSchedule" for taint in taints):
            found.append(node["metadata"]["labels"][HOSTNAME])
    return sorted(found)


def adapted(text: str, nodes: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Manifests as written, but for images: those that the nodes have. Pods end at once, not after their grace.

    Each Deployment's pods are on one of ``nodes``, by its name, wherever one of another name is that comes next to it.
    """
    objects = [thing for thing in yaml.safe_load_all(text) if thing]
    for thing in objects:
        pod = thing.get("spec", {}).get("template", {}).get("spec")
        if pod is not None:
            pod.setdefault("terminationGracePeriodSeconds", 5)
            for container in pod["containers"]:
                container |= {"image": APP_IMAGE, "imagePullPolicy": "IfNotPresent"}
            if nodes:
                pod["nodeSelector"] = {HOSTNAME: nodes[sum(thing["metadata"]["name"].encode()) % len(nodes)]}
    return objects


class Place:
    """A namespace of a test's own. Its Deployments are shared out among ``nodes``, where some are named."""

    def __init__(self, name: str, nodes: Sequence[str] = ()) -> None:
        self.name = name
        self.nodes = nodes

    def apply(self, *sources: Path | str | Mapping[str, Any]) -> None:
        """Applies manifests: files, text or objects. Where they name the default namespace this one is meant."""
        objects: list[Mapping[str, Any]] = []
        for source in sources:
            if isinstance(source, Mapping):
                objects.append(source)
            else:
                text = source.read_text("utf-8") if isinstance(source, Path) else source
                objects += adapted(text.replace("namespace: default", f"namespace: {self.name}"), self.nodes)
        kubectl("apply", "-n", self.name, "-f", "-", text=yaml.safe_dump_all(objects, sort_keys=False))

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """``kubectl`` in this namespace."""
        return kubectl("-n", self.name, *arguments, text=text)

    def got(self, *arguments: str) -> Any:
        """``kubectl get … -o json`` in this namespace."""
        return got("-n", self.name, *arguments)

    def settled(self) -> None:
        """Returns when every Deployment here has rolled out and what it had before is gone."""
        for name in self.kubectl("get", "deployments", "-o", "name").split():
            self.kubectl("rollout", "status", name, "--timeout", ROLLOUT)
        eventually("old pods are gone", lambda: not self._terminating())

    def exec(self, workload: str, *command: str, text: str | None = None, container: str = "") -> str:
        """Runs a command in the first pod of ``deploy/NAME`` or in a pod, in its application's container."""
        chosen = ("-c", container) if container else ()
        return self.kubectl("exec", "-i", workload, *chosen, "--", *command, text=text)

    def python(self, workload: str, script: str, *arguments: str) -> Any:
        """Runs a script of ``tests/inpod`` in a pod; returns the JSON that it prints."""
        return json.loads(
            self.exec(workload, "python3", "-c", (SCRIPTS / f"{script}.py").read_text("utf-8"), *arguments)
        )

    def _terminating(self) -> list[str]:
        pods = self.got("pods")["items"]
        return [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" in pod["metadata"]]


@contextmanager
def place(
    name: str,
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    nodes: Sequence[str] = (),
) -> Iterator[Place]:
    """A namespace, gone afterwards with all that was in it."""
    meta = {"name": name, "annotations": dict(annotations or {}), "labels": dict(labels or {})}
    kubectl("apply", "-f", "-", text=yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": meta}))
    try:
        yield Place(name, nodes)
    finally:
        kubectl("delete", "namespace", name, "--wait=true")
