"""A mesh for one demo, started, asked and ended by the commands a user types.

``smi local up`` runs in a session of its own: Ctrl-C reaches the demo alone,
which then ends the mesh in order.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from translator.demo.scenario import Edit
from translator.rows import short

PROPAGATION_TIMEOUT = 10.0
"""Seconds a saved change may take to be acknowledged; it takes some 50 ms."""

UP_TIMEOUT = 60.0
"""Seconds a demo's mesh has to become ready on a slow machine."""


READY_TIMEOUT = 60.0
"""Seconds until all pods of a workload are ready again; a crashed one needs some 3 s."""


class DemoError(Exception):
    """The demo could not be carried out; the text says why, for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """A running mesh: its ``--name``, the folder of manifests it follows, and where its state is (None: as usual)."""

    name: str
    folder: Path
    home: Path | None = None

    def address(self, workload: str) -> str:
        """The IP address of the first pod of ``workload``."""
        for pod in self._pods():
            if pod["workload"] == workload:
                return str(pod["ip"])
        raise DemoError(f"the mesh has no pod of {workload}")

    def versions(self, workload: str) -> dict[str, int]:
        """The config version that each sidecar of ``workload`` has acknowledged, by pod."""
        return {
            pod["name"]: int(pod["sidecar"]["configVersion"]) for pod in self._pods() if pod["workload"] == workload
        }

    def wait_for_change(self, workload: str, before: dict[str, int]) -> None:
        """Returns when all sidecars of ``workload`` run on another config than ``before``."""
        deadline = time.monotonic() + PROPAGATION_TIMEOUT
        while any(before.get(pod) == version for pod, version in self.versions(workload).items()):
            if time.monotonic() > deadline:
                raise DemoError(f"the change did not reach {workload} within {PROPAGATION_TIMEOUT:.0f} s")

    def wait_until_ready(self, workload: str) -> None:
        """Returns when all pods of ``workload`` are ready."""
        deadline = time.monotonic() + READY_TIMEOUT
        while not all(pod["ready"] for pod in self._pods() if pod["workload"] == workload):
            if time.monotonic() > deadline:
                raise DemoError(f"not all pods of {workload} became ready within {READY_TIMEOUT:.0f} s")

    def edges(self) -> dict[str, int]:
        """Requests so far, as ``smi edges`` shows them: ``CLIENT_ID → SERVER_ID SECURED``."""
        done = _run(self, "edges", "--all-namespaces", "--time-window", "10m", "--output", "json")
        if done.returncode != 0:
            raise DemoError(f"smi edges failed:\n{done.stderr}")
        return {_edge(row): int(row["stats"]["requests"]) for row in json.loads(done.stdout)["rows"]}

    def _pods(self) -> list[dict[str, Any]]:
        done = _run(self, "local", "status", "-o", "json")
        if done.returncode != 0:
            raise DemoError(f"smi local status failed:\n{done.stderr}")
        pods: list[dict[str, Any]] = json.loads(done.stdout)["pods"]
        return pods


@contextmanager
def running(demo: str, manifests: Path, prepare: Edit | None, *, keep: bool) -> Iterator[Mesh]:
    """A mesh that follows a copy of ``manifests``, edited by ``prepare``; both are gone afterwards, unless ``keep``.

    One that is kept has its state where ``smi local`` looks for it; the others
    keep theirs to themselves, so that a demo may run several times at once.
    """
    place = Path(tempfile.mkdtemp(prefix=f"smi-demo-{demo}-"))
    mesh = Mesh(name=f"demo-{demo}", folder=place / "manifests", home=None if keep else place / "state")
    kept = False
    try:
        shutil.copytree(manifests, mesh.folder)
        if prepare is not None:
            prepare(mesh.folder)
        _up(mesh)
        yield mesh
        kept = keep
    finally:
        if not kept:
            _run(mesh, "local", "down")
            shutil.rmtree(place, ignore_errors=True)


def _up(mesh: Mesh) -> None:
    arguments = _command(
        mesh.name, "local", "up", str(mesh.folder), "--detach", "--port", "0", "--timeout", f"{UP_TIMEOUT:.0f}s"
    )
    with subprocess.Popen(
        arguments,
        env=_environment(mesh),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            _, errors = process.communicate()
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        raise DemoError(f"smi local up failed:\n{errors}")


def _edge(row: dict[str, Any]) -> str:
    client, server = (short(row[side]) or "-" for side in ("clientId", "serverId"))
    return f"{client} → {server} {'√' if row['secured'] else '×'}"


def _run(mesh: Mesh, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(mesh.name, *command),
        env=_environment(mesh),
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )


def _environment(mesh: Mesh) -> dict[str, str]:
    return {**os.environ, **({"SMI_MESH_HOME": str(mesh.home)} if mesh.home else {})}


def _command(name: str, *command: str) -> list[str]:
    return [sys.executable, "-P", "-m", "translator.cli", *command, "--name", name]
