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
from conformance.sessions import Sessions, enter, split

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
    """One mesh: the folder it follows, and where its state is."""

    smi: tuple[str, ...]
    name: str
    folder: Path
    home: Path
    settle: float
    _sessions: Sessions = field(init=False)

    def __post_init__(self) -> None:
        self._sessions = Sessions(self._enter)

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
        return self._sessions.send(caller, order)

    def arrived(self, workload: str) -> int:
        """See ``conformance.mesh.World``."""
        return self._sessions.arrived(workload)

    def address(self, workload: str) -> str:
        """See ``conformance.mesh.World``."""
        namespace, name = split(workload)
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
        self._sessions.close()

    @property
    def _environment(self) -> dict[str, str]:
        """A state folder of its own: nothing is left behind, and no other mesh can have the name."""
        return {**os.environ, "SMI_MESH_HOME": str(self.home)}

    def _enter(self, namespace: str, name: str) -> subprocess.Popen[str]:
        where = ["--name", self.name, "-n", namespace, f"deploy/{name}"]
        script = str(Path(client.__file__).resolve())
        return enter([*self.smi, "local", "exec", *where, "--", "python3", script], self._environment)
