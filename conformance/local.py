"""The adapter for this project's local mode: everything through the ``smi local`` command line."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from conformance import client
from conformance.mesh import Heard, MeshError, World

SETTLE = 0.5
"""Seconds a saved change is given. Local mode promises 100 ms; the rest is for a busy machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalMesh:
    """``smi`` is the command line to test, ``settle`` the pause after each change in seconds."""

    smi: tuple[str, ...]
    settle: float = SETTLE

    @contextlib.contextmanager
    def world(self, name: str, manifests: Sequence[Path]) -> Iterator[World]:
        """See ``conformance.mesh.Mesh``."""
        with tempfile.TemporaryDirectory(prefix="smi-conformance-") as place:
            folder = Path(place, "manifests")
            folder.mkdir()
            for file in manifests:
                shutil.copy(file, folder)
            running = LocalWorld(smi=self.smi, name=name, folder=folder, home=Path(place, "state"), settle=self.settle)
            try:
                running.smi_local("up", str(folder), "--detach", "--port", "0", "--timeout", "120s")
                yield running
            finally:
                running.close()
                with contextlib.suppress(MeshError):
                    running.smi_local("down")


@dataclass(slots=True, kw_only=True)
class LocalWorld:
    """One mesh: the folder it follows, where its state is, and a session in each pod that has been called from."""

    smi: tuple[str, ...]
    name: str
    folder: Path
    home: Path
    settle: float
    _callers: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    def apply(self, objects: Sequence[Mapping[str, Any]]) -> None:
        """See ``conformance.mesh.World``."""
        path = self.folder / "zz-case.yaml"
        if objects:
            draft = path.with_suffix(".draft")
            draft.write_text(yaml.safe_dump_all(objects, sort_keys=False), encoding="utf-8")
            draft.replace(path)
        else:
            path.unlink(missing_ok=True)
        time.sleep(self.settle)

    def send(self, caller: str, order: Mapping[str, Any]) -> Heard:
        """See ``conformance.mesh.World``."""
        said = self._tell(caller, order)
        return Heard(answers=said["answers"], heard=said["heard"], failure=said["failure"])

    def arrived(self, workload: str) -> int:
        """See ``conformance.mesh.World``."""
        return int(self._tell(workload, {"count": True})["arrived"])

    def address(self, workload: str) -> str:
        """See ``conformance.mesh.World``."""
        namespace, name = _split(workload)
        for pod in json.loads(self.smi_local("status", "-o", "json"))["pods"]:
            if (pod["namespace"], pod["workload"]) == (namespace, name):
                return str(pod["ip"])
        raise MeshError(f"there is no pod of {workload}")

    def smi_local(self, verb: str, *arguments: str) -> str:
        """Runs ``smi local VERB`` and returns its standard output. Raises ``MeshError`` if it fails."""
        command = [*self.smi, "local", verb, *arguments, "--name", self.name]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise MeshError(f"{' '.join(command)} failed with {done.returncode}:\n{done.stderr}")
        return done.stdout

    def close(self) -> None:
        """Ends the sessions in the pods."""
        for process in self._callers.values():
            process.communicate()

    @property
    def _environment(self) -> dict[str, str]:
        """A state folder of its own: nothing is left behind, and no other mesh can have the name."""
        return {**os.environ, "SMI_MESH_HOME": str(self.home)}

    def _tell(self, caller: str, order: Mapping[str, Any]) -> dict[str, Any]:
        process = self._callers.get(caller) or self._enter(caller)
        if process.stdin is None or process.stdout is None:
            raise MeshError(f"{caller} has no standard input and output")
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise MeshError(f"the caller in {caller} ended with {process.wait()}")
        return dict(json.loads(line))

    def _enter(self, caller: str) -> subprocess.Popen[str]:
        namespace, name = _split(caller)
        where = ["--name", self.name, "-n", namespace, f"deploy/{name}"]
        process = subprocess.Popen(
            [*self.smi, "local", "exec", *where, "--", "python3", str(Path(client.__file__).resolve())],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._callers[caller] = process
        return process


def _split(workload: str) -> tuple[str, str]:
    namespace, _, name = workload.rpartition("/")
    return namespace or "default", name
