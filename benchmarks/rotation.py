"""Certificates exchanged under load: so many renewals of leaves, so many new roots, and every request counted.

A local mesh with certificates that live five seconds, a client that sends GET and POST without pause, and in between
`smi local rotate-root`. Usage: ``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LIFETIME = "5s"

SERVER = """\
import http.server, os
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version, wbufsize = "HTTP/1.1", -1
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    do_POST = do_GET
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Answer).serve_forever()
"""

CLIENT = """\
import collections, http.client, json, os, sys, threading, time, urllib.parse
proxy = urllib.parse.urlsplit(os.environ["HTTP_PROXY"])
stop, pause = sys.argv[1], float(sys.argv[2])
answers, taken = collections.Counter(), []
def ask(method):
    connection, sent = http.client.HTTPConnection(proxy.hostname, proxy.port, timeout=30), 0
    while not os.path.exists(stop):
        began = time.perf_counter()
        try:
            connection.request(method, "http://web/", b"x" * 100 if method == "POST" else None)
            answer = connection.getresponse()
            answer.read()
            answers[f"{method} {answer.status} {answer.headers.get('smi-mesh-reason', '')}".strip()] += 1
        except Exception as error:
            answers[f"{method} {error!r}"] += 1
            connection.close()
        taken.append(time.perf_counter() - began)
        sent += 1
        if sent % 20 == 0:
            connection.close()
        time.sleep(pause)
threads = [threading.Thread(target=ask, args=(method,)) for method in ("GET", "POST") * 4]
for one in threads:
    one.start()
for one in threads:
    one.join()
taken.sort()
print(json.dumps({"answers": answers, "ms": {p: round(taken[int(len(taken) * p / 100)] * 1e3, 1) for p in (50, 99)},
                  "max": round(taken[-1] * 1e3, 1)}))
"""


@dataclass(slots=True, kw_only=True)
class Figures:
    """What came of it. Memory is the resident size of all sidecars together, in MB."""

    sidecars: int
    leaf_rotations: int = 0
    root_rotations: int = 0
    seconds: float = 0.0
    seconds_per_root: list[float] = field(default_factory=list)
    memory_before: float = 0.0
    memory_after: float = 0.0
    answers: dict[str, int] = field(default_factory=dict)
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0

    @property
    def failed(self) -> int:
        """Requests that were not answered with 200."""
        return sum(count for answer, count in self.answers.items() if answer not in ("GET 200", "POST 200"))


class Mesh:
    """The mesh under test, by its commands."""

    def __init__(self, folder: Path, replicas: int) -> None:
        self.folder = folder
        self.manifests = folder / "manifests"
        self.manifests.mkdir()
        self.environment = {**os.environ, "SMI_MESH_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)}
        items = [
            deployment("web", replicas, [sys.executable, "-c", SERVER]),
            deployment("client", 1, ["sleep", "infinity"]),
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "web"},
                "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
            },
        ]
        (self.manifests / "all.yaml").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))

    def smi(self, *arguments: str) -> str:
        """Runs ``smi local``; ends the benchmark if it fails."""
        done = subprocess.run(
            self.command(*arguments), env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"smi local {arguments[0]}: {done.stderr}")
        return done.stdout

    @staticmethod
    def command(*arguments: str) -> list[str]:
        """The command line."""
        return [sys.executable, "-P", "-m", "translator.cli", "local", *arguments]

    def sidecars(self) -> list[dict[str, Any]]:
        """What the supervisor wrote down of them."""
        return list(json.loads((self.folder / "home/mesh/pods.json").read_text())["pods"])

    def issued(self) -> int:
        """Certificates that the controller has signed so far."""
        return (self.folder / "home/mesh/controller.log").read_text().count("certificate issued to")

    def memory(self) -> float:
        """Resident MB of all sidecars."""
        pages = sum(int(Path(f"/proc/{pod['sidecar_pid']}/statm").read_text().split()[1]) for pod in self.sidecars())
        return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def deployment(name: str, replicas: int, command: list[str]) -> dict[str, Any]:
    """A Deployment of one container."""
    container = {"name": "c", "image": "none", "command": command, "ports": [{"containerPort": 8080}]}
    if name == "client":
        del container["ports"]
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


@contextmanager
def load(mesh: Mesh, figures: Figures, pause: float) -> Iterator[None]:
    """Eight connections of requests while the block lasts."""
    enough = mesh.folder / "enough"
    command = mesh.command("exec", "deploy/client", "--", sys.executable, "-c", CLIENT, str(enough), str(pause))
    with subprocess.Popen(command, env=mesh.environment, stdout=subprocess.PIPE, text=True) as client:
        try:
            yield
        finally:
            enough.touch()
            said, _ = client.communicate()
    heard = json.loads(said)
    figures.answers = heard["answers"]
    figures.p50_ms, figures.p99_ms, figures.max_ms = heard["ms"]["50"], heard["ms"]["99"], heard["max"]


def rotate(mesh: Mesh, figures: Figures, leaves: int, roots: int) -> None:
    """Counts renewals until there were enough, with the new roots spread among them."""
    began, first = time.monotonic(), mesh.issued()
    while figures.leaf_rotations < leaves or figures.root_rotations < roots:
        if figures.leaf_rotations >= leaves * figures.root_rotations / max(roots, 1) and figures.root_rotations < roots:
            started = time.monotonic()
            mesh.smi("rotate-root")
            figures.seconds_per_root.append(round(time.monotonic() - started, 1))
            figures.root_rotations += 1
        else:
            time.sleep(0.5)
        figures.leaf_rotations = mesh.issued() - first
        progress = f"{time.monotonic() - began:6.0f} s  {figures.leaf_rotations} leaves  {figures.root_rotations} roots"
        print(f"\r{progress}", end="", file=sys.stderr, flush=True)
    figures.seconds = round(time.monotonic() - began, 1)
    print(file=sys.stderr)


def main() -> int:
    """Prints the figures as JSON; 1 if a request failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leaves", type=int, default=1000, help="renewals of leaf certificates (default 1000)")
    parser.add_argument("--roots", type=int, default=10, help="new roots (default 10)")
    parser.add_argument("--replicas", type=int, default=5, help="servers beside the one client (default 5)")
    parser.add_argument("--pause", type=float, default=0.04, help="seconds between a connection's requests")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        mesh = Mesh(Path(folder), options.replicas)
        mesh.smi("up", str(mesh.manifests), "--detach", "--port", "0", "--issuance-lifetime", LIFETIME)
        try:
            figures = Figures(sidecars=options.replicas + 1)
            with load(mesh, figures, options.pause):
                time.sleep(10)  # warm
                figures.memory_before = mesh.memory()
                rotate(mesh, figures, options.leaves, options.roots)
                figures.memory_after = mesh.memory()
        finally:
            mesh.smi("down")
    print(json.dumps({**asdict(figures), "failed": figures.failed}, indent=2))
    return 1 if figures.failed else 0


if __name__ == "__main__":
    sys.exit(main())
