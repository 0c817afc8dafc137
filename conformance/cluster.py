"""The adapter for a mesh on Kubernetes: everything through ``kubectl`` and the current context (``KUBECONFIG``).

The mesh is installed already and injects the pods that ask for it. A world's objects go into the namespaces they
name; namespaces that are not there are made. All of it is deleted again in the end.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from conformance import client
from conformance.mesh import Heard, MeshError, World
from conformance.sessions import Sessions, enter, split

SETTLE = 1.0
"""Seconds a change is given from the moment the API server has taken it. A mesh needs milliseconds; the rest is for
a busy machine."""

ROLLOUT = "180s"
"""How long pods may take to become ready."""

WORKLOADS = ("Deployment", "StatefulSet")

Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterMesh:
    """``kubectl`` is the command line to use, ``image`` stands for every container's image (empty: as written)."""

    kubectl: tuple[str, ...] = ("kubectl",)
    image: str = ""
    settle: float = SETTLE

    @contextlib.contextmanager
    def world(self, name: str, manifests: Sequence[Path]) -> Iterator[World]:
        """See ``conformance.mesh.Mesh``. ``name`` plays no part: objects have names of their own."""
        objects = [self._adapted(thing) for file in manifests for thing in yaml.safe_load_all(file.read_text("utf-8"))]
        running = ClusterWorld(kubectl=self.kubectl, settle=self.settle)
        try:
            running.bring(objects)
            running.wait_for([thing for thing in objects if thing["kind"] in WORKLOADS])
            yield running
        finally:
            running.close()

    def _adapted(self, thing: dict[str, Any]) -> dict[str, Any]:
        if self.image and thing["kind"] in WORKLOADS:
            pod = thing["spec"]["template"]["spec"]
            for container in pod["containers"]:
                container |= {"image": self.image, "imagePullPolicy": "IfNotPresent"}
            pod["terminationGracePeriodSeconds"] = 1
        return thing


@dataclass(slots=True, kw_only=True)
class ClusterWorld:
    """Pods of one world, and the case's objects that are applied now."""

    kubectl: tuple[str, ...]
    settle: float
    _brought: list[Manifest] = field(default_factory=list)
    _applied: dict[tuple[str, str, str], Manifest] = field(default_factory=dict)
    _sessions: Sessions = field(init=False)

    def __post_init__(self) -> None:
        self._sessions = Sessions(self._enter)

    def bring(self, objects: Sequence[Manifest]) -> None:
        """The world's own objects, and the namespaces they are in."""
        self._provide(objects)
        self._brought += objects
        self._put(objects)

    def _provide(self, objects: Sequence[Manifest]) -> None:
        """The namespaces that objects are in."""
        for namespace in sorted({_namespace(thing) for thing in objects if not _is_namespace(thing)}):
            if not self._run("get", "namespace", namespace, "--ignore-not-found", "-o", "name"):
                made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
                self._put([made])
                self._brought.append(made)

    def wait_for(self, workloads: Sequence[Manifest]) -> None:
        """Returns when all their pods are ready."""
        for thing in workloads:
            where = (f"{thing['kind'].lower()}/{thing['metadata']['name']}", "-n", _namespace(thing))
            self._run("rollout", "status", *where, "--timeout", ROLLOUT)

    def apply(self, objects: Sequence[Manifest]) -> None:
        """See ``conformance.mesh.World``."""
        wanted = {_key(thing): thing for thing in objects}
        gone = [thing for key, thing in self._applied.items() if key not in wanted]
        self._take_back(gone)
        if objects:
            self._provide(objects)
            self._put(objects)
        self._applied = wanted
        time.sleep(self.settle)

    def send(self, caller: str, order: Mapping[str, Any]) -> Heard:
        """See ``conformance.mesh.World``."""
        return self._sessions.send(caller, order)

    def arrived(self, workload: str) -> int:
        """See ``conformance.mesh.World``."""
        return self._sessions.arrived(workload)

    def address(self, workload: str) -> str:
        """See ``conformance.mesh.World``."""
        return str(self._first_pod(*split(workload))["status"]["podIP"])

    def close(self) -> None:
        """Ends the sessions in the pods and takes everything away."""
        self._sessions.close()
        self._take_back(list(self._applied.values()))
        self._delete(self._brought)

    def _put(self, objects: Sequence[Manifest]) -> None:
        self._run("apply", "-f", "-", text=yaml.safe_dump_all(objects, sort_keys=False))

    def _delete(self, objects: Sequence[Manifest]) -> None:
        if objects:
            self._run("delete", "--ignore-not-found", "-f", "-", text=yaml.safe_dump_all(objects))

    def _take_back(self, objects: Sequence[Manifest]) -> None:
        """Of a Namespace, which was there before, only what the case put on it goes."""
        bare = [{**thing, "metadata": {"name": thing["metadata"]["name"]}} for thing in objects if _is_namespace(thing)]
        if bare:
            self._put(bare)
        self._delete([thing for thing in objects if not _is_namespace(thing)])

    def _first_pod(self, namespace: str, name: str) -> Any:
        found = json.loads(self._run("get", ",".join(WORKLOADS), "-n", namespace, "-o", "json"))["items"]
        selectors = [one["spec"]["selector"]["matchLabels"] for one in found if one["metadata"]["name"] == name]
        if not selectors:
            raise MeshError(f"there is no workload {namespace}/{name}")
        labels = ",".join(f"{key}={value}" for key, value in selectors[0].items())
        pods = json.loads(self._run("get", "pods", "-n", namespace, "-l", labels, "-o", "json"))["items"]
        serving = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        if not serving:
            raise MeshError(f"there is no pod of {namespace}/{name}")
        return min(serving, key=lambda pod: pod["metadata"]["name"])

    def _run(self, *arguments: str, text: str | None = None) -> str:
        command = [*self.kubectl, *arguments]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise MeshError(f"{' '.join(command)} failed with {done.returncode}:\n{done.stderr}")
        return done.stdout

    def _enter(self, namespace: str, name: str) -> subprocess.Popen[str]:
        pod = self._first_pod(namespace, name)
        (container, *_) = pod["spec"]["containers"]
        ports = [str(port["containerPort"]) for port in container.get("ports") or ()]
        place = ("-n", namespace, pod["metadata"]["name"], "-c", container["name"])
        script = ("env", f"PORT={(ports or ['8080'])[0]}", "python3", "-c", Path(client.__file__).read_text("utf-8"))
        return enter([*self.kubectl, "exec", "-i", *place, "--", *script])


def _namespace(thing: Manifest) -> str:
    return str(thing["metadata"].get("namespace", "default"))


def _is_namespace(thing: Manifest) -> bool:
    return bool(thing["kind"] == "Namespace")


def _key(thing: Manifest) -> tuple[str, str, str]:
    return thing["kind"], "" if _is_namespace(thing) else _namespace(thing), thing["metadata"]["name"]
