"""One server of three is hurt and healed again: what the client sees of it, and who has requests meanwhile."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from localmesh import LocalMesh, deployment, service, under_load, until

SERVER = """\
import http.server, os, pathlib, socket, struct
place, pod, following = pathlib.Path(os.environ["PLACE"]), os.environ["POD_NAME"], os.environ.get("NEXT")
def ask(name):
    import urllib.error, urllib.request
    try:
        return urllib.request.urlopen(f"http://{name}/", timeout=20).status
    except urllib.error.HTTPError as error:
        return error.code
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    def do_GET(self):
        if self.path == "/ready":
            return self.say(200, pod)
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        file = place / f"{pod}.fault"
        fault = file.read_text() if file.exists() else ""
        with (place / f"{pod}.hits").open("a") as hits:
            print(self.command, file=hits)
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.dup2(os.open(os.devnull, os.O_RDWR), self.connection.fileno())
            self.close_connection = True
        elif fault == "half":
            self.say(200, pod, 1000)
            self.close_connection = True
        else:
            self.say(ask(following) if following else 503 if fault == "busy" else 200, pod)
    do_POST = do_GET
    def say(self, status, body, length=0):
        self.send_response(status)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Answer).serve_forever()
"""

ASK = """\
import collections, concurrent.futures, http.client, json, os, sys, urllib.parse
proxy = urllib.parse.urlsplit(os.environ["HTTP_PROXY"])
method, url, times, headers = sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
def ask(number):
    connection = http.client.HTTPConnection(proxy.hostname, proxy.port, timeout=30)
    try:
        connection.request(method, url, headers=headers)
        response = connection.getresponse()
        body, reason = response.read().decode(), response.headers.get("smi-mesh-reason", "").partition(";")[0]
        return body if response.status == 200 else f"{response.status} {reason}".strip()
    except (http.client.IncompleteRead, ConnectionResetError):
        return "broken"
    except Exception as error:
        return repr(error)
    finally:
        connection.close()
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    print(json.dumps(collections.Counter(pool.map(ask, range(times)))))
"""

RETRIES = {
    "retry.smi-mesh.io/on": "5xx,connect-failure,reset",
    "retry.smi-mesh.io/limit": "10",
    "retry.smi-mesh.io/timeout": "1s",
    "retry.smi-mesh.io/backoff": "1ms..50ms",
}
BREAKER = {"breaker.smi-mesh.io/consecutive-failures": "3", "breaker.smi-mesh.io/min-penalty": "300ms"}
SHARE = {"retry.smi-mesh.io/budget": "ratio=0.5,min=0/s,ttl=60s"}


class Mesh(LocalMesh):
    """The mesh, and the place where its servers look for what they should do wrong."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.place = folder / "place"
        self.place.mkdir()

    def servers(self, name: str, replicas: int, following: str = "") -> dict[str, Any]:
        """A Deployment of ``SERVER``."""
        env = [{"name": "PLACE", "value": str(self.place)}]
        if following:
            env.append({"name": "NEXT", "value": following})
        probe = {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1}
        return deployment(
            name,
            replicas=replicas,
            command=(sys.executable, "-c", SERVER),
            env=env,
            ports=[{"containerPort": 8080}],
            readinessProbe=probe,
        )

    def ask(self, times: int, url: str = "http://web/", method: str = "GET", **headers: str) -> Counter[str]:
        """The answers to so many requests from the client: pods, or what went wrong."""
        done = self.smi(
            "exec", "deploy/client", "--", sys.executable, "-c", ASK, method, url, str(times), json.dumps(headers)
        )
        assert done.returncode == 0, done.stderr
        return Counter(json.loads(done.stdout))

    def break_(self, pod: str, fault: str) -> None:
        """From now on this server does something wrong; empty: nothing any more."""
        (self.place / f"{pod}.fault").write_text(fault)

    def hits(self, workload: str) -> int:
        """Requests that came to the servers of a workload so far."""
        return sum(len(file.read_text().splitlines()) for file in self.place.glob(f"{workload}-*.hits"))

    def ready(self, workload: str = "web") -> list[dict[str, Any]]:
        """Its pods, once all of them are ready."""

        def pods() -> list[dict[str, Any]]:
            found = self.pods(workload)
            return found if all(pod["ready"] and pod["app"]["pid"] and pod["sidecar"]["pid"] for pod in found) else []

        return until(pods, "all are ready")

    def is_back(self, pod: str) -> bool:
        """Whether it has requests again."""
        return pod in self.ask(40)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    one = Mesh(tmp_path_factory.mktemp("faults"))
    one.write(
        "web.yaml",
        one.servers("web", 3),
        annotated(service("web"), **RETRIES, **BREAKER),
        one.servers("sticky", 3),
        annotated(service("sticky"), **{"balancer.smi-mesh.io/algorithm": "hash:x-user"}),
    )
    chain = {"a": "b", "b": "c", "c": ""}
    one.write(
        "chain.yaml",
        *(one.servers(name, 1, following) for name, following in chain.items()),
        *(annotated(service(name), **RETRIES, **SHARE) for name in chain),
    )
    one.write("client.yaml", deployment("client"))
    one.start()
    yield one
    one.close()


def annotated(thing: dict[str, Any], **annotations: str) -> dict[str, Any]:
    return {**thing, "metadata": {**thing["metadata"], "annotations": annotations}}


@pytest.mark.parametrize("process", ["app", "sidecar"])
def test_who_is_killed_is_not_noticed(mesh: Mesh, tmp_path: Path, process: str) -> None:
    victim, *others = mesh.ready()

    def kill() -> None:
        os.kill(victim[process]["pid"], signal.SIGKILL)
        until(lambda: mesh.ready()[0][process]["pid"] not in (0, None, victim[process]["pid"]), "it runs again")
        until(lambda: mesh.is_back(victim["name"]), "it has requests again")

    answers = under_load(mesh, tmp_path, kill)

    assert answers.keys() == {f"200 {pod['name']}" for pod in (victim, *others)}


@pytest.mark.parametrize("process", ["app", "sidecar"])
def test_who_hangs_is_not_waited_for(mesh: Mesh, process: str) -> None:
    victim, *others = mesh.ready()

    os.kill(victim[process]["pid"], signal.SIGSTOP)
    try:
        answers = mesh.ask(200)
    finally:
        os.kill(victim[process]["pid"], signal.SIGCONT)

    assert answers.keys() == {pod["name"] for pod in others}
    until(lambda: mesh.is_back(victim["name"]), "it has requests again")


@pytest.mark.parametrize(("fault", "post"), [("busy", "503"), ("reset", "502 reset")])
def test_a_failure_is_seen_by_those_alone_who_may_not_be_repeated(mesh: Mesh, fault: str, post: str) -> None:
    victim, *others = mesh.ready()
    sound = {pod["name"] for pod in others}

    mesh.break_(victim["name"], fault)
    assert mesh.ask(200).keys() == sound
    until(lambda: post in mesh.ask(20, method="POST"), "a POST meets it")
    assert mesh.ask(50, method="POST").keys() <= {*sound, post}
    mesh.break_(victim["name"], "")

    until(lambda: mesh.is_back(victim["name"]), "it has requests again")


def test_an_answer_that_breaks_is_seen_but_not_for_long(mesh: Mesh) -> None:
    victim, *others = mesh.ready()

    mesh.break_(victim["name"], "half")
    until(lambda: mesh.ask(20)["broken"], "a client sees it")
    answers = mesh.ask(300)
    mesh.break_(victim["name"], "")

    assert answers.keys() <= {"broken", *(pod["name"] for pod in others)}
    assert answers["broken"] < 300 // 10, "a third, if nobody had moved away"
    until(lambda: mesh.is_back(victim["name"]), "it has requests again")


def test_a_header_value_keeps_its_endpoint_through_a_fault(mesh: Mesh) -> None:
    mesh.ready("sticky")
    owner = {user: set(mesh.ask(10, "http://sticky/", **{"X-User": user})) for user in "abcdefgh"}
    assert all(len(pods) == 1 for pods in owner.values())
    (name,) = owner["a"]
    victim = next(pod for pod in mesh.ready("sticky") if pod["name"] == name)

    os.kill(victim["app"]["pid"], signal.SIGSTOP)
    try:
        until(lambda: not next(pod for pod in mesh.pods("sticky") if pod["name"] == name)["ready"], "it is missed")
        elsewhere = {user: set(mesh.ask(10, "http://sticky/", **{"X-User": user})) for user in owner}
    finally:
        os.kill(victim["app"]["pid"], signal.SIGCONT)

    assert len(elsewhere["a"]) == 1
    assert all(elsewhere[user] == pods for user, pods in owner.items() if pods != {name})
    until(lambda: set(mesh.ask(10, "http://sticky/", **{"X-User": "a"})) == {name}, "it is where it was", timeout=40)


def test_three_services_in_a_row_multiply_nothing(mesh: Mesh) -> None:
    """With a minimum of 0 the budgets give ratio × requests, exactly; only the lowest caller spends any of it."""
    (last,) = mesh.ready("c")
    mesh.break_(last["name"], "busy")
    before = {name: mesh.hits(name) for name in "abc"}

    assert mesh.ask(60, "http://a/").keys() == {"503"}

    assert {name: mesh.hits(name) - before[name] for name in "abc"} == {"a": 60, "b": 60, "c": 90}
