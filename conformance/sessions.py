"""Sessions with callers: ``conformance.client`` running in pods, spoken to by lines of JSON. Adapters share them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from conformance.mesh import Heard, MeshError


class Sessions:
    """One session for each workload that was spoken to. ``start`` runs the client in the first pod of a workload.

    ``start`` gets (namespace, name) and returns a process with standard input and output piped as text.
    """

    def __init__(self, start: Callable[[str, str], subprocess.Popen[str]]) -> None:
        self._start = start
        self._running: dict[str, subprocess.Popen[str]] = {}

    def send(self, workload: str, order: Mapping[str, Any]) -> Heard:
        """Has an order carried out. Raises ``MeshError``."""
        said = self._tell(workload, order)
        return Heard(answers=said["answers"], heard=said["heard"], failure=said["failure"])

    def arrived(self, workload: str) -> int:
        """What came to the application. Raises ``MeshError``."""
        return int(self._tell(workload, {"count": True})["arrived"])

    def close(self) -> None:
        """Ends all sessions."""
        for process in self._running.values():
            process.communicate()

    def _tell(self, workload: str, order: Mapping[str, Any]) -> dict[str, Any]:
        process = self._running.get(workload)
        if process is None:
            process = self._running[workload] = self._start(*split(workload))
        if process.stdin is None or process.stdout is None:
            raise MeshError(f"{workload} has no standard input and output")
        try:
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            del self._running[workload]
            raise MeshError(f"the caller in {workload} ended with {process.wait()}")
        return dict(json.loads(line))


def enter(command: Sequence[str], environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """A process for ``Sessions``."""
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def split(workload: str) -> tuple[str, str]:
    """(namespace, name) of ``[namespace/]name``."""
    namespace, _, name = workload.rpartition("/")
    return namespace or "default", name
