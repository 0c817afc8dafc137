"""What is said of 10,000 requests, against what was sent and against the sidecars' own access logs.

A local mesh with two servers that take 0 to 80 ms and fail one request in twenty. Counts have to be exact on both
sides, percentiles within 1 % of the durations in the log of the sidecar that counted: as ``smi stat`` says of the
workloads, and as TrafficMetrics do of each pod and of both sides of each edge. When the window has passed there is
nothing left, and no error either. Usage: ``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from benchmarks.load import SERVE, Load, Mesh, deployment, running, service

SERVER = """\
import asyncio, os, random
async def serve(reader, writer):
    try:
        while True:
            await reader.readuntil(b"\\r\\n\\r\\n")
            await asyncio.sleep(random.random() ** 2 * 0.08)
            status = "500 Broken" if random.random() < 0.05 else "200 OK"
            writer.write(f"HTTP/1.1 {status}\\r\\ncontent-length: 0\\r\\n\\r\\n".encode())
    except (OSError, EOFError):
        pass
    finally:
        writer.close()
"""

PERCENTILES = (50, 95, 99)
METRICS_PERCENTILES = (50, 90, 99)
NAMESPACE = "default"
PODS = f"/apis/metrics.smi-spec.io/v1alpha2/namespaces/{NAMESPACE}/pods"
QUIET = 3
# Seconds of a window that has nothing in it any more, some seconds later.
# How far a percentile may be from the logs', and how long the last report may take.
ERROR, REPORTED = 0.01, 30.0


Compared = tuple[str, dict[str, Any]]
"""Who is said to have counted, and how that compares."""


def logged(workload: dict[str, Any]) -> dict[str, Any]:
    """With an access log, a pod's only container being named by nobody."""
    workload["spec"]["template"]["metadata"]["annotations"] = {"smi-mesh.io/access-log": "json"}
    return workload


def stat(mesh: Mesh, *arguments: str) -> dict[str, Any]:
    """The figures of the one row that ``smi stat`` has."""
    command = [sys.executable, "-P", "-m", "translator.cli", "stat", *arguments, "-t", "10m", "-o", "json"]
    done = subprocess.run(command, env=mesh.environment, capture_output=True, text=True, check=True)
    (row,) = json.loads(done.stdout)["rows"]
    return dict(row["stats"])


def metrics(mesh: Mesh, pod: str, window: str, *, edges: bool = False) -> list[dict[str, Any]]:
    """The TrafficMetrics of a pod, one, or of its edges. Raises ``OSError`` when the answer is not 200."""
    url = json.loads(mesh.smi("status", "-o", "json"))["controller"]["url"]
    with urllib.request.urlopen(f"{url}{PODS}/{pod}{'/edges' if edges else ''}?t={window}") as answer:
        body = json.load(answer)
    return list(body["items"]) if edges else [body]


def row_of(found: dict[str, Any]) -> dict[str, Any]:
    """TrafficMetrics as a row of ``smi stat``: Quantities as numbers."""
    said = {one["name"]: number(one["value"]) for one in found["metrics"]}
    row = {f"p{one}Ms": said[f"p{one}_response_latency"] for one in METRICS_PERCENTILES}
    return row | {"requests": said["success_count"] + said["failure_count"], "failure": said["failure_count"]}


def number(quantity: str) -> float:
    """Of a Quantity."""
    return float(quantity[:-1]) * {"m": 1e-3, "u": 1e-6}[quantity[-1]] if quantity[-1:] in ("m", "u") else int(quantity)


def of_edges(mesh: Mesh, pod: str, direction: str) -> dict[str, dict[str, Any]]:
    """The rows of a pod's edges in a direction, by the peer's name."""
    side = {"from": "server", "to": "client"}[direction]
    return {
        found["edge"]["resource"]["name"]: row_of(found)
        for found in metrics(mesh, pod, "10m", edges=True)
        if (found["edge"]["direction"], found["edge"]["side"]) == (direction, side)
    }


def pods_compared(mesh: Mesh, inbound: list[dict[str, Any]], outbound: list[dict[str, Any]]) -> Iterator[Compared]:
    """Each server by itself, and both sides of its edge with the client."""
    (client,) = (pod["name"] for pod in mesh.pods("client"))
    sent = of_edges(mesh, client, "to")
    for pod in (pod["name"] for pod in mesh.pods("web")):
        own = [entry for entry in inbound if entry["by"] == pod]
        (received,) = of_edges(mesh, pod, "from").values()
        towards = [entry for entry in outbound if entry["pod"] == f"{NAMESPACE}/{pod}"]
        (alone,) = metrics(mesh, pod, "10m")
        for side, row, log in (
            (f"pods/{pod}", row_of(alone), own),
            (f"pods/{pod}/edges, from", received, own),
            (f"pods/{client}/edges, to {pod}", sent[pod], towards),
        ):
            yield side, compared(row, log, METRICS_PERCENTILES)


def left(mesh: Mesh) -> int:
    """Requests that are still counted when the window has passed."""
    names = [pod["name"] for workload in ("web", "client") for pod in mesh.pods(workload)]
    found = [one for name in names for edges in (False, True) for one in metrics(mesh, name, f"{QUIET}s", edges=edges)]
    return sum(int(row_of(one)["requests"]) for one in found)


def log_of(mesh: Mesh, workload: str, direction: str) -> list[dict[str, Any]]:
    """The access logs of a workload's sidecars; ``by`` is the pod."""
    names = [pod["name"] for pod in mesh.pods(workload)]
    lines = [(name, line) for name in names for line in mesh.smi("logs", name, "-c", "proxy").splitlines()]
    entries = [json.loads(line) | {"by": name} for name, line in lines if line.startswith("{")]
    return [entry for entry in entries if entry.get("direction") == direction]


def settled(row: Callable[[], dict[str, Any]], requests: int) -> dict[str, Any]:
    """The row once all requests are in it."""
    deadline = time.monotonic() + REPORTED
    while (found := row())["requests"] < requests and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def compared(
    row: dict[str, Any], log: list[dict[str, Any]], percentiles: Sequence[int] = PERCENTILES
) -> dict[str, Any]:
    """One side: counts, and for each percentile how far what is said is off the log."""
    durations = sorted(float(entry["duration_ms"]) for entry in log)
    figures: dict[str, Any] = {
        "requests": row["requests"],
        "failures": row["failure"],
        "logged": len(log),
        "logged_failures": sum(int(entry["status"]) >= 500 for entry in log),
    }
    for percentile in percentiles:
        exact = durations[math.ceil(percentile / 100 * len(durations)) - 1]
        said = float(row[f"p{percentile}Ms"])
        figures[f"p{percentile}"] = {"log_ms": exact, "said_ms": round(said, 3), "error": round(said / exact - 1, 4)}
    return figures


def is_due(figures: dict[str, Any]) -> bool:
    """Counts as in the log, percentiles within ``ERROR`` of it."""
    counts = figures["requests"] == figures["logged"] and figures["failures"] == figures["logged_failures"]
    return counts and all(abs(one["error"]) <= ERROR for one in figures.values() if isinstance(one, dict))


def main() -> int:
    """Prints a line of JSON for each side; 1 when something is not as due."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000, help="how many (default 10000)")
    parser.add_argument("--rate", type=float, default=250.0, help="how many a second (default 250)")
    options = parser.parse_args()
    web = logged(deployment("web", 2, [sys.executable, "-c", SERVER + SERVE]))
    client = logged(deployment("client", 1, ["sleep", "infinity"]))
    fine = True
    with running(web, client, service("web", "web")) as mesh:
        load = Load(host=mesh.pods("client")[0]["ip"], service="web", rate=options.rate)
        asyncio.run(load.run(options.requests / options.rate))
        sent, kinds = len(load.answers), load.kinds()
        failures = sum(count for kind, count in kinds.items() if not kind.endswith(" 200"))
        print(json.dumps({"sent": sent, "answers": kinds}), flush=True)
        logs: dict[str, list[dict[str, Any]]] = {}
        for side, arguments, workload, direction in (
            ("server", ("deploy/web",), "web", "inbound"),
            ("client", ("deploy/web", "--from", "deploy/client"), "client", "outbound"),
        ):
            row = settled(partial(stat, mesh, *arguments), sent)
            logs[side] = log_of(mesh, workload, direction)
            figures = compared(row, logs[side])
            print(json.dumps({"side": side, **figures}), flush=True)
            fine &= is_due(figures) and (figures["requests"], figures["failures"]) == (sent, failures)
        received = 0
        for side, figures in pods_compared(mesh, logs["server"], logs["client"]):
            print(json.dumps({"side": side, **figures}), flush=True)
            fine &= is_due(figures)
            received += figures["requests"]
        fine &= received == 3 * sent
        time.sleep(QUIET + 2)
        rest = left(mesh)
        print(json.dumps({"requests after the window": rest}), flush=True)
        fine &= rest == 0
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
