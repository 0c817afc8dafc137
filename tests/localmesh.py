"""A local mesh run by the commands a user types, in a state folder of its own; for tests from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from translator.local.leftovers import find_marked

ROOT = Path(__file__).parents[1]
T = TypeVar("T")

SERVER = """\
import http.server, os, pathlib, time
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    def do_GET(self):
        mounted = pathlib.Path(os.environ.get("MOUNTED", os.devnull))
        body = (os.environ.get("SAYS", "") + mounted.read_text()).encode()
        time.sleep(float(os.environ.get("PAUSE", "0")))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
print("serving", flush=True)
http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Answer).serve_forever()
"""

LOAD = """\
import collections, http.client, json, os, sys, threading, urllib.parse
proxy = urllib.parse.urlsplit(os.environ["HTTP_PROXY"])
counts = collections.Counter()
def ask():
    connection = http.client.HTTPConnection(proxy.hostname, proxy.port, timeout=10)
    while not os.path.exists(sys.argv[1]):
        try:
            connection.request("GET", "http://web/")
            response = connection.getresponse()
            reason = response.headers.get("smi-mesh-reason", "")
            counts[f"{response.status} {response.read().decode()} {reason}".strip()] += 1
        except Exception as error:
            counts[repr(error)] += 1
            connection.close()
        open(sys.argv[1] + ".begun", "w").close()
asking = [threading.Thread(target=ask) for _ in range(int(sys.argv[2]))]
for one in asking:
    one.start()
for one in asking:
    one.join()
print(json.dumps(counts))
"""


def deployment(name: str, *, replicas: int = 1, command: object = ("sleep", "infinity"), **more: Any) -> dict[str, Any]:
    """A Deployment as JSON data. ``more``: ``kind``, ``annotations``, and fields of its container."""
    kind, annotations = more.pop("kind", "Deployment"), more.pop("annotations", {})
    container = {"name": "c", "image": "none", "command": command, **more}
    if container["command"] is None:
        del container["command"]
    labels = {"app": name}
    template = {"metadata": {"labels": labels, "annotations": annotations}, "spec": {"containers": [container]}}
    if kind == "Pod":
        return {
            "apiVersion": "v1",
            "kind": kind,
            "metadata": {"name": name, **template["metadata"]},
            "spec": template["spec"],
        }
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def server(name: str, *, replicas: int = 1, says: str = "", **more: Any) -> dict[str, Any]:
    """A Deployment of HTTP servers that answer ``says``."""
    command = (sys.executable, "-c", SERVER)
    env = [{"name": "SAYS", "value": says}, *more.pop("env", [])]
    return deployment(name, replicas=replicas, command=command, env=env, ports=[{"containerPort": 8080}], **more)


def service(name: str, app: str = "") -> dict[str, Any]:
    """A Service of port 80 for the pods of ``app``."""
    spec = {"selector": {"app": app or name}, "ports": [{"port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


class LocalMesh:
    """The folder of manifests, the state folder, and ``smi`` with both."""

    def __init__(self, folder: Path) -> None:
        self.manifests = folder / "manifests"
        self.manifests.mkdir()
        self.home = folder / "home"
        self.environment = {**os.environ, "SMI_MESH_HOME": str(self.home), "PYTHONPATH": str(ROOT)}
        self.up: subprocess.Popen[str] | None = None

    def write(self, file: str, *objects: Mapping[str, Any]) -> None:
        """Replaces one manifest; JSON is YAML."""
        self.write_text(file, json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def write_text(self, file: str, text: str) -> None:
        fresh = self.manifests / f".{file}"
        fresh.write_text(text)
        fresh.replace(self.manifests / file)

    def smi(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Runs ``smi local …`` to its end."""
        return subprocess.run(
            self.command(*arguments), env=self.environment, capture_output=True, text=True, timeout=timeout, check=False
        )

    def follow(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts ``smi local …`` for its output to be read."""
        return subprocess.Popen(self.command(*arguments), env=self.environment, stdout=subprocess.PIPE, text=True)

    @staticmethod
    def command(*arguments: str) -> tuple[str, ...]:
        return (sys.executable, "-P", "-m", "translator.cli", "local", *arguments)

    def start(self, *options: str, prefix: tuple[str, ...] = ()) -> str:
        """``smi local up`` in the foreground; returns its ready line. ``prefix`` is a command that runs it."""
        with (self.home.parent / "up.err").open("w") as errors:
            self.up = subprocess.Popen(
                (*prefix, *self.command("up", str(self.manifests), "--port", "0", *options)),
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self.up.stdout is not None
        line = self.up.stdout.readline()
        assert line, self.said()
        return line

    def said(self) -> str:
        """What ``up`` printed on stderr so far."""
        return (self.home.parent / "up.err").read_text()

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Sends ``up`` a signal; its exit code."""
        assert self.up is not None
        assert self.up.stdout is not None
        self.up.send_signal(number)
        self.up.stdout.close()
        return self.up.wait(30)

    def close(self) -> None:
        """Whatever happened: nothing of the mesh is left."""
        if self.up is not None and self.up.poll() is None:
            self.end(signal.SIGTERM)

    def record(self) -> dict[str, Any]:
        """mesh.json."""
        return dict(json.loads((self.home / "mesh" / "mesh.json").read_text()))

    def processes(self) -> tuple[int, ...]:
        """All processes of the mesh but its supervisor."""
        return find_marked(self.record()["instance"])

    def record_of(self, pod: str) -> dict[str, Any]:
        """What the supervisor wrote down of a pod, without asking anybody."""
        records = json.loads((self.home / "mesh" / "pods.json").read_text())["pods"]
        return next(dict(record) for record in records if record["pod"]["meta"]["name"] == pod)

    def status(self) -> dict[str, Any]:
        done = self.smi("status", "-o", "json")
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def pods(self, workload: str = "") -> list[dict[str, Any]]:
        """The pods of a workload in the status."""
        return [pod for pod in self.status()["pods"] if workload in ("", pod["workload"])]

    def pod(self, workload: str) -> dict[str, Any]:
        """The only pod of a workload."""
        (pod,) = self.pods(workload)
        return pod


def under_load(
    mesh: LocalMesh, folder: Path, change: Callable[[], Any], *, client: str = "deploy/client", connections: int = 1
) -> dict[str, int]:
    """What ``client`` heard from http://web/ on kept-alive connections while ``change`` was made: count by answer."""
    enough = folder / "enough"
    command = mesh.command("exec", client, "--", sys.executable, "-c", LOAD, str(enough), str(connections))
    with subprocess.Popen(command, env=mesh.environment, stdout=subprocess.PIPE, text=True) as load:
        try:
            until((folder / "enough.begun").exists, "requests are under way")
            change()
        finally:
            enough.touch()
        answers, _ = load.communicate(timeout=30)
    return dict(json.loads(answers))


def until(condition: Callable[[], T], what: str, timeout: float = 20.0) -> T:
    """The first true value of ``condition()``; after ``timeout`` seconds the test fails, naming ``what``."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
