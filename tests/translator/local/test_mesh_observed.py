"""What a running mesh says of its traffic: exactly what was sent, whoever leaves, refuses or restarts meanwhile."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from math import ceil
from typing import Any

import pytest
from localmesh import LocalMesh, deployment, server, service, until

SERVER = """\
import http.server, os, time
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    def do_GET(self):
        _, kind, *more = self.path.split("/")
        time.sleep(float(more[0]) if more else 0)
        self.send_response({"ok": 200, "missing": 404, "broken": 500, "sleep": 200}[kind])
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Answer).serve_forever()
"""

CLIENT = """\
import http.client, json, os, sys, urllib.parse
proxy = urllib.parse.urlsplit(os.environ["HTTP_PROXY"])
connection = http.client.HTTPConnection(proxy.hostname, proxy.port, timeout=30)
statuses = []
for path in json.load(sys.stdin):
    connection.request("GET", "http://web" + path)
    response = connection.getresponse()
    response.read()
    statuses.append(response.status)
print(json.dumps(statuses))
"""

LEAVES = """\
import os, socket, struct, sys, urllib.parse
proxy = urllib.parse.urlsplit(os.environ["HTTP_PROXY"])
client = socket.create_connection((proxy.hostname, proxy.port))
client.sendall(b"GET http://web/sleep/0.5 HTTP/1.1\\r\\nHost: web\\r\\n\\r\\n")
client.settimeout(0.2)
try:
    client.recv(1)
except TimeoutError:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    print("left")
"""

ROUTES = {
    "apiVersion": "specs.smi-spec.io/v1alpha4",
    "kind": "HTTPRouteGroup",
    "metadata": {"name": "paths"},
    "spec": {"matches": [{"name": "fine", "pathRegex": "/ok"}, {"name": "any", "pathRegex": "/"}]},
}
TARGET = {
    "apiVersion": "access.smi-spec.io/v1alpha3",
    "kind": "TrafficTarget",
    "metadata": {"name": "client-to-web"},
    "spec": {
        "destination": {"kind": "ServiceAccount", "name": "web", "namespace": "default"},
        "sources": [{"kind": "ServiceAccount", "name": "client", "namespace": "default"}],
        "rules": [{"kind": "HTTPRouteGroup", "name": "paths"}],
    },
}
LOGGED = {"smi-mesh.io/access-log": "json"}


def account(workload: dict[str, Any], name: str) -> dict[str, Any]:
    workload["spec"]["template"]["spec"]["serviceAccountName"] = name
    return workload


class Shop:
    """A mesh of a client, a stranger that no TrafficTarget lets in, and two web servers.

    ``sent`` and ``came`` are the requests that the client's sidecar and the servers' have had, or should have.
    """

    def __init__(self, mesh: LocalMesh) -> None:
        self.mesh = mesh
        self.sent = self.came = 0

    def sends(self, *paths: str, source: str = "client") -> list[int]:
        """The statuses of requests on one connection."""
        command = self.mesh.command("exec", f"deploy/{source}", "--", sys.executable, "-c", CLIENT)
        done = subprocess.run(
            command, env=self.mesh.environment, input=json.dumps(paths), capture_output=True, text=True, check=False
        )
        statuses = list(json.loads(done.stdout)) if done.returncode == 0 else []
        self.sent += len(statuses) if source == "client" else 0
        self.came += len(statuses) if source == "client" else statuses.count(403)
        return statuses

    def smi(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """``smi stat`` and its kin."""
        command = (sys.executable, "-P", "-m", "translator.cli", *arguments)
        return subprocess.run(command, env=self.mesh.environment, capture_output=True, text=True, check=False)

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        """Of the longest window: everything that was ever sent here; none while the controller is away."""
        done = self.smi(*arguments, "-t", "10m", "-o", "json")
        return list(json.loads(done.stdout)["rows"]) if done.returncode == 0 else []

    def counts(self, *arguments: str) -> tuple[int, int]:
        """Requests and failures of the one row."""
        rows = self.rows(*arguments)
        return (sum(row["stats"]["requests"] for row in rows), sum(row["stats"]["failure"] for row in rows))

    def both(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Requests and failures as the client's sidecar counted them, and as the servers' did; asked of the API."""
        return self.asked("svc/web&from=deploy/client"), self.asked("deploy/web")

    def settled(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """As ``both``, once nothing is on its way any more: sidecars report every few seconds, each when it likes."""
        until(lambda: [requests for requests, _ in self.both()] == [self.sent, self.came], "all of it is counted")
        return self.both()

    def asked(self, resource: str) -> tuple[int, int]:
        port = self.mesh.record()["api_port"]
        url = f"http://127.0.0.1:{port}/debug/traffic?namespace=default&seconds=600&resource={resource}"
        try:
            rows = json.load(urllib.request.urlopen(url, timeout=5))["rows"]
        except OSError:  # the controller is away
            return -1, -1
        return sum(row["stats"]["requests"] for row in rows), sum(row["stats"]["failure"] for row in rows)

    def metrics(self, workload: str) -> str:
        pages = (urllib.request.urlopen(f"{pod['sidecar']['admin']}/metrics") for pod in self.mesh.pods(workload))
        return "".join(page.read().decode() for page in pages)

    def log(self, workload: str) -> list[dict[str, Any]]:
        """The access log of all pods of a workload."""
        lines: list[dict[str, Any]] = []
        for pod in self.mesh.pods(workload):
            printed = self.mesh.smi("logs", pod["name"], "-c", "proxy").stdout.splitlines()
            lines += [json.loads(line) for line in printed if line.startswith("{")]
        return lines


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    mesh = LocalMesh(tmp_path_factory.mktemp("observed"))
    web = server("web", replicas=2, annotations=LOGGED)
    web["spec"]["template"]["spec"]["containers"][0]["command"] = [sys.executable, "-c", SERVER]
    mesh.write("web.yaml", account(web, "web"), service("web"), ROUTES, TARGET)
    mesh.write(
        "clients.yaml",
        account(deployment("client", annotations=LOGGED), "client"),
        account(deployment("stranger"), "stranger"),
    )
    mesh.start()
    yield Shop(mesh)
    mesh.close()


def test_counts_are_the_requests_sent(shop: Shop) -> None:
    """Each side by itself, by every question that may be asked, in the metrics and in the access log."""
    paths = ["/ok"] * 200 + ["/broken"] * 50 + ["/missing"] * 30
    statuses = shop.sends(*paths)
    assert sorted(statuses) == [200] * 200 + [404] * 30 + [500] * 50
    assert shop.sends(*["/ok"] * 12, source="stranger") == [403] * 12

    until(lambda: shop.both() == ((280, 50), (292, 50)), "both sides have counted all of it")
    assert shop.counts("stat", "svc/web", "--from", "deploy/client") == (280, 50)
    assert shop.counts("stat", "deploy/web") == (292, 50)
    assert shop.counts("stat", "svc/web") == (292, 50)
    assert shop.counts("stat", "deploy/client", "--to", "deploy/web") == (280, 50)
    assert shop.counts("stat", "deploy/stranger", "--to", "svc/web") == (12, 0)
    assert shop.counts("stat", "po") == (292, 50)
    assert shop.counts("stat", "ns/default") == (292, 50)
    assert shop.counts("stat", "tt/client-to-web") == (280, 50)
    assert [row["denied"] for row in shop.rows("stat", "deploy/web")] == [12]

    by_route = {row["route"]: row["actual"]["requests"] for row in shop.rows("routes", "svc/web")}
    assert by_route == {"paths/fine": 200, "paths/any": 80, "": 12}

    total = re.findall(r'^response_total\{.*dst_service="web".*\} (\d+)$', shop.metrics("client"), re.MULTILINE)
    assert sum(map(int, total)) == 280
    denied = re.findall(r"^inbound_http_authz_deny_total\{.*\} (\d+)$", shop.metrics("web"), re.MULTILINE)
    assert sum(map(int, denied)) == 12
    until(lambda: len(shop.log("client")) == 280, "the log has a line for each")


def test_percentiles_are_those_of_the_access_log_within_one_percent(shop: Shop) -> None:
    shop.sends(*(f"/sleep/{number / 2000}" for number in range(1, 41)))
    until(lambda: shop.both()[0][0] == len(shop.log("client")), "log and counts are of the same requests")
    [row] = shop.rows("stat", "svc/web", "--from", "deploy/client")
    times = sorted(line["duration_ms"] for line in shop.log("client"))
    assert row["stats"]["requests"] == len(times)
    for name, quantile in (("p50Ms", 0.50), ("p95Ms", 0.95), ("p99Ms", 0.99), ("worstMs", 1.0)):
        exact = times[ceil(quantile * len(times) - 1e-9) - 1]
        assert row["stats"][name] == pytest.approx(exact, rel=0.01), name


def test_edges_have_both_identities(shop: Shop) -> None:
    shop.sends("/ok", source="stranger")
    identity = "spiffe://cluster.local/ns/default/sa/"
    until(lambda: len(shop.rows("edges", "deploy")) == 2, "both callers are seen")
    edges = shop.rows("edges", "deploy")
    assert {(e["source"], e["destination"], e["clientId"], e["serverId"], e["secured"]) for e in edges} == {
        ("client", "web", f"{identity}client", f"{identity}web", True),
        ("stranger", "web", f"{identity}stranger", f"{identity}web", True),
    }


def test_a_client_that_leaves_is_counted_once_on_both_sides(shop: Shop) -> None:
    (client, failed), (web, broken) = shop.settled()
    done = shop.mesh.smi("exec", "deploy/client", "--", sys.executable, "-c", LEAVES)
    assert done.stdout == "left\n"
    shop.sent += 1
    shop.came += 1
    until(lambda: shop.both() == ((client + 1, failed), (web + 1, broken)), "it is counted, and is no failure")
    assert [line["status"] for line in shop.log("client")][-1] == 499


def test_an_unmeshed_caller_is_seen_and_not_secured(shop: Shop) -> None:
    _, (web, _) = shop.settled()
    target = shop.mesh.pods("web")[0]
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"http://{target['ip']}:8080/ok")
    shop.came += 1
    until(lambda: shop.both()[1][0] == web + 1, "it is counted")
    [edge] = [row for row in shop.rows("edges", "deploy") if not row["source"]]
    assert (edge["destination"], edge["clientId"], edge["secured"]) == ("web", "", False)


def test_the_tables(shop: Shop) -> None:
    shop.sends("/ok", "/broken")
    until(lambda: shop.smi("stat", "deploy/web").stdout.count("%") == 1, "there is traffic in the last 30 s")
    table = shop.smi("stat", "deploy").stdout.splitlines()
    assert re.fullmatch(r"NAME +MESHED +SUCCESS +RPS +LATENCY_P50 +LATENCY_P95 +LATENCY_P99", table[0])
    assert re.fullmatch(r"client +1/1 +- +- +- +- +-", table[1])
    assert re.fullmatch(r"web +2/2 +[0-9.]+% +[0-9.]+rps +[0-9.]+ms +[0-9.]+ms +[0-9.]+ms", table[3])
    routes = shop.smi("routes", "svc/web").stdout
    assert re.search(r"^paths/fine +- +- +100.00% ", routes, re.MULTILINE)
    edges = shop.smi("edges").stdout
    assert re.search(r"^client +web +default +default +default/client +default/web +√$", edges, re.MULTILINE)
    top = shop.smi("top", "svc/web").stdout
    assert re.search(r"^default/client-\S+ +default/web +- +\d+ ", top, re.MULTILINE)
    assert "successRate: 0" in shop.smi("stat", "deploy/web", "-o", "yaml").stdout


def test_what_is_not_there(shop: Shop) -> None:
    nobody = shop.smi("stat", "deploy/nobody")
    assert (nobody.returncode, nobody.stdout) == (1, "")
    assert nobody.stderr == 'Error: there is no Deployment "nobody" in namespace "default"\n'
    empty = shop.smi("stat", "sts")
    assert (empty.returncode, empty.stdout, empty.stderr) == (0, "", "No StatefulSets found in default namespace.\n")
    long = shop.smi("stat", "-t", "11m")
    assert long.returncode == 2
    assert "counts are kept for 600 s" in long.stderr


def test_top_ends_with_ctrl_c(shop: Shop) -> None:
    """On a terminal it goes on until then."""
    command = [sys.executable, "-P", "-m", "translator.cli", "top", "svc"]
    main, terminal = os.openpty()
    with subprocess.Popen(command, env=shop.mesh.environment, stdout=terminal, stderr=terminal, stdin=terminal) as live:
        os.close(terminal)
        said = b""
        while b"Ctrl-C ends" not in said:
            said += os.read(main, 65536)
        live.send_signal(signal.SIGINT)
        try:
            while chunk := os.read(main, 65536):
                said += chunk
        except OSError:  # the other end of a terminal that was closed
            pass
        assert live.wait(10) == 0
    os.close(main)
    assert b"Traceback" not in said


def test_the_access_log_has_no_query(shop: Shop) -> None:
    before = len(shop.log("client"))
    shop.sends("/ok/0?token=geheim")
    until(lambda: len(shop.log("client")) == before + 1, "the line is there")
    assert shop.log("client")[-1]["path"] == "/ok/0"
    for pod in shop.mesh.pods():
        assert "geheim" not in shop.mesh.smi("logs", pod["name"], "-c", "proxy").stdout


def test_a_namespace_turns_the_access_log_on(shop: Shop) -> None:
    """For the pods that do not say otherwise; their sidecars start anew."""
    assert shop.log("stranger") == []
    annotated = {"name": "default", "annotations": {"smi-mesh.io/access-log": "json"}}
    shop.mesh.write("namespace.yaml", {"apiVersion": "v1", "kind": "Namespace", "metadata": annotated})

    def logged() -> bool:
        done = shop.sends("/ok", source="stranger")
        return bool(done) and shop.log("stranger") != []

    until(logged, "its requests are in the log")
    assert shop.log("stranger")[-1]["status"] == 403


def test_a_sidecar_that_restarts_loses_and_doubles_nothing(shop: Shop) -> None:
    (client, failed), (web, broken) = shop.settled()
    before = shop.mesh.pods("web")[0]
    assert set(shop.sends(*["/ok"] * 40)) == {200}
    os.kill(before["sidecar"]["pid"], signal.SIGTERM)
    until(lambda: restarted(shop, before), "it runs again")
    assert set(shop.sends(*["/ok"] * 40)) == {200}
    until(lambda: shop.both() == ((client + 80, failed), (web + 80, broken)), "all of it is counted")


def restarted(shop: Shop, before: dict[str, Any]) -> bool:
    now = shop.mesh.record_of(before["name"])
    return now["pod"]["ready"] and now["sidecar_pid"] not in (0, before["sidecar"]["pid"])


def test_a_controller_that_dies_gets_what_it_did_not_acknowledge(shop: Shop) -> None:
    """The last one here: the new controller begins with nothing."""
    (client, failed), (web, broken) = shop.settled()
    shop.sends(*["/ok"] * 10)
    until(lambda: shop.both() == ((client + 10, failed), (web + 10, broken)), "the old controller has counted it all")
    dying = shop.mesh.status()["controller"]["pid"]
    os.kill(dying, signal.SIGSTOP)
    statuses = shop.sends(*["/ok"] * 50, *["/broken"] * 5)
    assert statuses.count(500) == 5
    os.kill(dying, signal.SIGKILL)
    until(lambda: shop.both() == ((55, 5), (55, 5)), "the new one knows what was sent meanwhile, and no more")
    shop.sends(*["/ok"] * 7)
    until(lambda: shop.both() == ((62, 5), (62, 5)), "and what comes now")
