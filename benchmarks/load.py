"""A local mesh to be put to the test, and requests at a steady rate through the sidecar of one of its pods.

The rate does not wait for answers, up to a number that are waited for at once:
who is slow gets as many requests as who is quick. ``faults.py`` and ``amplification.py`` use it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OUTBOUND = 4140
# Seconds after which nobody waits for an answer any more.
PATIENCE = 30.0

SERVE = """\
async def main():
    async with await asyncio.start_server(serve, os.environ["HOST"], int(os.environ["PORT"])) as server:
        await server.serve_forever()
asyncio.run(main())
"""
# The end of a server's script: ``serve`` answers on a connection.


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``at``: when it was asked, in seconds of the monotonic clock; ``body`` is the pod's name if it was a 200."""

    at: float
    seconds: float
    method: str
    kind: str
    body: str


@dataclass(slots=True, kw_only=True)
class Load:
    """``service`` is asked ``rate`` times a second at ``host``; every ``posts``-th request is a POST (0: none).

    While ``at_once`` answers are waited for, the next request is put off.
    """

    host: str
    service: str
    rate: float
    posts: int = 0
    at_once: int = 512
    answers: list[Answer] = field(default_factory=list)
    _idle: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=deque)

    async def run(self, seconds: float) -> None:
        """Sends for so long, then waits for the last answer."""
        begin = time.monotonic()
        room = asyncio.Semaphore(self.at_once)
        async with asyncio.TaskGroup() as tasks:
            for number in range(int(self.rate * seconds)):
                await asyncio.sleep(max(0.0, begin + number / self.rate - time.monotonic()))
                method = "POST" if self.posts and number % self.posts == 0 else "GET"
                await room.acquire()
                asking = tasks.create_task(self._ask(method, f"{begin:.6f}-{number}"))
                asking.add_done_callback(lambda _: room.release())
        while self._idle:
            self._idle.pop()[1].close()

    def kinds(self) -> Counter[str]:
        """How many answers there were of each kind."""
        return Counter(f"{answer.method} {answer.kind}" for answer in self.answers)

    async def _ask(self, method: str, name: str) -> None:
        at = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                kind, body = await self._exchange(method, name)
        except TimeoutError:
            kind, body = "silence", ""
        except (OSError, EOFError):
            kind, body = "broken", ""
        self.answers.append(Answer(at=at, seconds=time.monotonic() - at, method=method, kind=kind, body=body))

    async def _exchange(self, method: str, name: str) -> tuple[str, str]:
        pair = self._idle.pop() if self._idle else await asyncio.open_connection(self.host, OUTBOUND)
        reader, writer = pair
        try:
            writer.write(f"{method} / HTTP/1.1\r\nHost: {self.service}\r\nX-Name: {name}\r\n".encode())
            writer.write(b"Content-Length: 0\r\n\r\n" if method == "POST" else b"\r\n")
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = re.search(r"(?i)\r\ncontent-length: *(\d+)", head)
            body = await reader.readexactly(int(length[1]) if length else 0)
        except BaseException:
            writer.transport.abort()
            raise
        self._idle.append(pair)
        reason = re.search(r"(?i)\r\nsmi-mesh-reason: *([a-z-]+)", head)
        return f"{head[9:12]} {reason[1] if reason else ''}".strip(), body.decode() if head[9:12] == "200" else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """A running mesh: its state's folder, and the environment of ``smi``."""

    home: Path
    environment: Mapping[str, str]

    def smi(self, *arguments: str) -> str:
        """Runs ``smi local``; ends the benchmark if it fails."""
        command = [sys.executable, "-P", "-m", "translator.cli", "local", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"smi local {arguments[0]}: {done.stderr}")
        return done.stdout

    def pods(self, workload: str) -> list[dict[str, Any]]:
        """The pods of a workload, as ``smi local status`` shows them."""
        pods = json.loads(self.smi("status", "-o", "json"))["pods"]
        return [pod for pod in pods if pod["workload"] == workload]


@contextmanager
def running(*items: Mapping[str, Any]) -> Iterator[Mesh]:
    """A mesh of these objects for as long as the block lasts."""
    with tempfile.TemporaryDirectory() as place:
        manifests, home = Path(place, "manifests"), Path(place, "home")
        manifests.mkdir()
        (manifests / "all.yaml").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        mesh = Mesh(home=home, environment={**os.environ, "SMI_MESH_HOME": str(home), "PYTHONPATH": str(ROOT)})
        mesh.smi("up", str(manifests), "--detach", "--port", "0")
        try:
            yield mesh
        finally:
            mesh.smi("down")


def deployment(
    name: str, replicas: int, command: Sequence[str], environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """A Deployment of one container; one that sleeps has no port."""
    container = {
        "name": "c",
        "image": "none",
        "command": list(command),
        "env": [{"name": key, "value": value} for key, value in (environment or {}).items()],
    }
    if command[0] != "sleep":
        container["ports"] = [{"containerPort": 8080}]
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def service(name: str, app: str, **annotations: str) -> dict[str, Any]:
    """A Service of the pods of ``app``; ``retry__limit`` among the annotations is ``retry.smi-mesh.io/limit``."""
    written = {key.replace("__", ".smi-mesh.io/").replace("_", "-"): value for key, value in annotations.items()}
    spec = {"selector": {"app": app}, "ports": [{"port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "annotations": written}, "spec": spec}
