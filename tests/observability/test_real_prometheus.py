"""A real Prometheus reads a local mesh, and answers Flagger's queries and the dashboard's rightly."""

from __future__ import annotations

import asyncio
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
from metricsworld import V2, counts, served, status_of
from ports import free_port

from manifests import installation
from proxy.prometheus import BOUNDS as BUCKETS
from smi.decode import decode_text
from translator.local.records import decode_pods
from translator.metricsapi.bodies import PARTIAL
from translator.metricsapi.prometheus.backend import backend
from translator.metricsapi.prometheus.client import Prometheus as Client
from translator.observed import Observed
from translator.world import World

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


FIRST, MORE = 40, 400
"""Multiples of 8, after which split, pods and failures come in the same order again: both sends have the same
requests, so the second begins no series of its own."""

EVENLY = {"balancer.smi-mesh.io/algorithm": "round-robin"}

ANSWERS = "sum(response_total)"


@contextmanager
def shop(folder: Path) -> Iterator[LocalMesh]:
    """A mesh whose sidecars have every series already: to Prometheus the first value of one is no growth.

    So pods take turns: with ``ewma`` one of them may get its first failing request when all are counted.
    """
    mesh = LocalMesh(folder)
    mesh.write("shop.yaml", *OBJECTS)
    mesh.start()
    try:
        send(mesh, FIRST)
        until(lambda: reported(mesh, FIRST), "the first requests are reported")
        yield mesh
    finally:
        mesh.end()


def evenly(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "metadata": {**body["metadata"], "annotations": EVENLY}}


OBJECTS = (
    deployment("web", replicas=2, command=(sys.executable, "-c", SERVER), ports=[{"containerPort": 8080}]),
    evenly(service("web")),
    evenly(service("web-v1", "web")),
    SPLIT,
    deployment("client"),
)


def targets(mesh: LocalMesh) -> list[str]:
    pods = [*mesh.pods("web"), *mesh.pods("client")]
    return [pod["sidecar"]["admin"].removeprefix("http://") for pod in pods]


def send_more(mesh: LocalMesh, server: Prometheus) -> None:
    """``MORE`` requests, all of which grow a series that Prometheus has read; returns when it has read all of them."""
    until(lambda: server.value(ANSWERS) == 2 * FIRST, "the first requests are read")
    series = server.value("count(response_total)")
    send(mesh, MORE)
    until(lambda: server.value(ANSWERS) == 2 * (FIRST + MORE), "all requests are read, of callers and of servers")
    assert server.value("count(response_total)") == series


def test_flaggers_queries_and_the_dashboards(tmp_path: Path) -> None:
    with shop(tmp_path) as mesh, prometheus(tmp_path, targets(mesh)) as server:
        send_more(mesh, server)
        success = server.value(asked(SUCCESS_RATE, "default", "web"))
        assert success == pytest.approx(75.0, abs=0.1)
        duration = server.value(asked(DURATION, "default", "web"))
        assert duration is not None
        assert 0 < duration < 10_000
        assert server.value(asked(SUCCESS_RATE, "default", "web-primary")) is None
        panels_answer(server)
        (share,) = [query for query in panels("TrafficSplits") if "group_left" in query]
        shares = server.get("query", query=share)["result"]
        found = {one["metric"]["dst_service"]: float(one["value"][1]) for one in shares}
        assert found == {"web": pytest.approx(0.25, abs=0.001), "web-v1": pytest.approx(0.75, abs=0.001)}


BOUNDS = (0.0, *BUCKETS)
PATHS = (
    "deployments", "deployments/web", "deployments/web/edges", "deployments/client/edges", "pods",
    "services", "services/web/edges", "trafficsplits", "trafficsplits/canary", "trafficmetrics",
)  # fmt: skip

READ = 12
"""How often each series is read. ``increase`` takes what grew between its first and its last value to have grown on for
half the time between two before, and for up to 1.1 of it after: of n values, for 1.6 / (n - 1) of what grew."""

GROWN_ON = 1 + 1.6 / (READ - 1)


def test_traffic_metrics_out_of_prometheus_are_those_out_of_memory(tmp_path: Path) -> None:
    """What differs is what it cannot know: exact counts, and times within a bucket."""
    with shop(tmp_path) as mesh:
        before = {path: memory(mesh, path) for path in PATHS}
        pods = [record.pod for record in decode_pods((mesh.home / "mesh" / "pods.json").read_bytes())]
        decoded = decode_text(yaml.safe_dump_all(OBJECTS), "shop")
        observed = Observed(
            entries=[], seconds=1.0, pods={pod.meta.key: pod for pod in pods}, world=World.of(decoded.objects, pods)
        )
        with prometheus(tmp_path, targets(mesh)) as server:
            send_more(mesh, server)
            often = "min(count_over_time(response_total[10m]))"
            until(lambda: (server.value(often) or 0) >= READ, "every series is read often", 60)
            until(lambda: reported(mesh, FIRST + MORE), "all requests are reported")
            asyncio.run(compared(mesh, server, observed, before))


async def compared(mesh: LocalMesh, server: Prometheus, observed: Observed, before: dict[str, Any]) -> None:
    client = Client(server.url)
    asked = backend(client, lambda: (observed.world, observed.pods))
    async with served(observed, backend=asked, opened=client.opened) as api:
        for path in PATHS:
            body = memory(mesh, path)
            found = await api.get(f"{V2}/namespaces/default/{path}?t=10m")
            assert PARTIAL not in found["metadata"].get("annotations", {}), path
            first, right, found = (body.get("items", [body]) for body in (before[path], body, found))
            assert [told(item) for item in found] == [told(item) for item in right], path
            for earlier, exact, said in zip(first, right, found, strict=True):
                alike(earlier, exact, said)
            if path == "deployments/web":
                percentiles(server, found[0])
        # A question that it refuses is a Status.
        status_of(await api.ask(f"{V2}/namespaces/default/pods?t=25h"), 400)


def memory(mesh: LocalMesh, path: str) -> Any:
    url = f"http://127.0.0.1:{mesh.record()['api_port']}{V2}/namespaces/default/{path}?t=10m"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def reported(mesh: LocalMesh, requests: int) -> bool:
    """Whether the servers' sidecars and the caller's have reported so many; each reports by itself."""
    return all(sum(counts(memory(mesh, path))) == requests for path in ("deployments/web", "services/web"))


def told(item: Any) -> Any:
    return item["metadata"]["name"], item["metadata"].get("labels"), item["resource"], item["edge"], item["backend"]


def alike(earlier: Any, exact: Any, said: Any) -> None:
    """What was counted before Prometheus began is no growth to it; of each of two series what grew is rounded."""
    for first, last, found in zip(counts(earlier), counts(exact), counts(said), strict=True):
        assert last - first - 1 <= found <= (last - first) * GROWN_ON + 1, (earlier, exact, said)


def percentiles(server: Prometheus, said: Any) -> None:
    """Those that ``histogram_quantile`` has for about the same share, but for where in a bucket they are."""
    received = 'sum by (le) (increase(response_latency_ms_bucket{direction="inbound",deployment="web"}[10m]))'
    for metric, share in zip(said["metrics"], (0.99, 0.9, 0.5), strict=False):
        # Counts are rounded, which may move a rank by one.
        low, high = (server.value(f"histogram_quantile({share + off:g}, {received})") for off in (-0.01, 0.01))
        assert low is not None
        assert high is not None
        below = max(bound for bound in BOUNDS if bound < low)
        above = min(bound for bound in BOUNDS if bound >= high)
        assert below * 0.98 <= ms(metric) <= above * 1.02, (metric, low, high)


def ms(metric: Any) -> float:
    units = {"m": 1e-3, "u": 1e-6}
    text = metric["value"]
    return float(text.rstrip("mu")) * units.get(text[-1], 1.0)


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
