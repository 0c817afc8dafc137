"""A real Prometheus reads a local mesh, and answers Flagger's queries and the dashboard's rightly."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode

import pytest
import yaml
from flagger import DURATION, SUCCESS_RATE, asked
from localmesh import LocalMesh, deployment, service, until
from wire import free_port

from manifests import installation

PROMETHEUS = shutil.which("prometheus")

pytestmark = pytest.mark.skipif(PROMETHEUS is None, reason="there is no prometheus: none was asked what it makes of it")

SERVER = """\
import http.server, os, time
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    def do_GET(self):
        self.send_response(503 if self.path == "/broken" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Answer).serve_forever()
"""

CLIENT = """\
import http.client, os, sys, urllib.parse
proxy = urllib.parse.urlsplit(os.environ["HTTP_PROXY"])
connection = http.client.HTTPConnection(proxy.hostname, proxy.port, timeout=30)
for number in range(int(sys.argv[1])):
    connection.request("GET", "http://web" + ("/broken" if number % 4 == 0 else "/"))
    connection.getresponse().read()
"""


SPLIT = {
    "apiVersion": "split.smi-spec.io/v1alpha4",
    "kind": "TrafficSplit",
    "metadata": {"name": "canary"},
    "spec": {"service": "web", "backends": [{"service": "web-v1", "weight": 3}, {"service": "web", "weight": 1}]},
}


class Prometheus:
    """Asks one that runs."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer."""
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urlencode(parameters)}", timeout=10) as answer:
            return json.load(answer)["data"]

    def value(self, query: str) -> float | None:
        """Of a query that has one; None while it has none."""
        found = self.get("query", query=query)["result"]
        value = float(found[0]["value"][1]) if found else None
        return None if value is None or math.isnan(value) else value

    def healthy(self, targets: int) -> bool:
        """Whether so many pages have been read."""
        try:
            active = self.get("targets", state="active")["activeTargets"]
        except (URLError, ConnectionError):
            return False
        return [one["health"] for one in active] == ["up"] * targets


@contextmanager
def prometheus(folder: Path, targets: list[str]) -> Iterator[Prometheus]:
    """One that reads the pages of sidecars each second, by the shipped job, as far as it is not about Kubernetes."""
    config = yaml.safe_load((installation("observability") / "prometheus" / "prometheus.yaml").read_text())
    job = next(one for one in config["scrape_configs"] if one["job_name"] == "smi-mesh-proxy")
    del job["kubernetes_sd_configs"], job["relabel_configs"]
    job |= {"static_configs": [{"targets": targets}], "scrape_interval": "1s"}
    (folder / "prometheus.yaml").write_text(yaml.safe_dump({"scrape_configs": [job]}))
    port = free_port()
    command = [str(PROMETHEUS), "--config.file=prometheus.yaml", "--storage.tsdb.path=data"]
    with (folder / "prometheus.log").open("w") as log:
        running = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"], cwd=folder, stdout=log, stderr=log
        )
    try:
        found = Prometheus(f"http://127.0.0.1:{port}")
        until(lambda: found.healthy(len(targets)), "every sidecar's page is read", 60)
        yield found
    finally:
        running.terminate()
        running.wait(timeout=30)


def test_flaggers_queries_and_the_dashboards(tmp_path: Path) -> None:
    mesh = LocalMesh(tmp_path)
    web = deployment("web", replicas=2, command=(sys.executable, "-c", SERVER), ports=[{"containerPort": 8080}])
    mesh.write("shop.yaml", web, service("web"), service("web-v1", "web"), SPLIT, deployment("client"))
    mesh.start()
    try:
        pods = mesh.pods("web") + mesh.pods("client")
        targets = [pod["sidecar"]["admin"].removeprefix("http://") for pod in pods]
        with prometheus(tmp_path, targets) as server:
            answers = 'sum(response_total{direction="inbound",deployment="web"})'
            send(mesh, 40)  # the first value of a counter is no increase
            until(lambda: server.value(answers) == 40, "the first requests are read")
            send(mesh, 400)
            until(lambda: server.value(answers) == 440, "all requests are read")

            success = server.value(asked(SUCCESS_RATE, "default", "web"))
            assert success == pytest.approx(75.0, abs=1.5)
            duration = server.value(asked(DURATION, "default", "web"))
            assert duration is not None
            assert 0 < duration < 10_000
            assert server.value(asked(SUCCESS_RATE, "default", "web-primary")) is None
            panels_answer(server)
            (share,) = [query for query in panels("TrafficSplits") if "group_left" in query]
            shares = server.get("query", query=share)["result"]
            found = {one["metric"]["dst_service"]: float(one["value"][1]) for one in shares}
            assert found == {"web": pytest.approx(0.25, abs=0.02), "web-v1": pytest.approx(0.75, abs=0.02)}
    finally:
        mesh.end()


def send(mesh: LocalMesh, requests: int) -> None:
    """From the client; every fourth fails."""
    done = mesh.smi("exec", "deploy/client", "--", sys.executable, "-c", CLIENT, str(requests))
    assert done.returncode == 0, done.stderr


def panels(row: str) -> list[str]:
    """The queries of a row of the dashboard, about everything and the last minute."""
    dashboard = json.loads((installation("observability") / "grafana" / "smi-mesh.json").read_text())
    found, at = [], ""
    for panel in dashboard["panels"]:
        at = panel["title"].partition(":")[0] if panel["type"] == "row" else at
        if at == row:
            found += [target["expr"] for target in panel.get("targets", ())]
    texts = (re.sub(r"\$__rate_interval", "1m", query) for query in found)
    return [re.sub(r"\$(namespace|deployment)", ".*", query) for query in texts]


def panels_answer(server: Prometheus) -> None:
    """All are understood, and those about what happened here have a line."""
    empty = {
        (row, query)
        for row in ("Workloads", "TrafficSplits", "Edges", "Retries", "The mesh itself")
        for query in panels(row)
        if server.value(query) is None
    }
    assert [query for row, query in empty if row == "Workloads" and "authz_deny" not in query] == []
    assert [query for row, query in empty if row in ("TrafficSplits", "Edges")] == []
    assert [query for _, query in empty if "cert_expiration" in query] == []
