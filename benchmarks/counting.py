"""What ``smi stat`` says of 10,000 requests, against what was sent and against the sidecars' own access logs.

A local mesh with two servers that take 0 to 80 ms and fail one request in twenty. Counts have to be exact on both
sides, percentiles within 1 % of the logs' durations. Usage: ``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from load import SERVE, Load, Mesh, deployment, running, service

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
# How far a percentile may be from the logs', and how long the last report may take.
ERROR, REPORTED = 0.01, 30.0


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


def log_of(mesh: Mesh, workload: str, direction: str) -> list[dict[str, Any]]:
    """The access logs of a workload's sidecars."""
    lines = [line for pod in mesh.pods(workload) for line in mesh.smi("logs", pod["name"], "-c", "proxy").splitlines()]
    entries = [json.loads(line) for line in lines if line.startswith("{")]
    return [entry for entry in entries if entry.get("direction") == direction]


def settled(row: Callable[[], dict[str, Any]], requests: int) -> dict[str, Any]:
    """The row once all requests are in it."""
    deadline = time.monotonic() + REPORTED
    while (found := row())["requests"] < requests and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def compared(row: dict[str, Any], log: list[dict[str, Any]]) -> dict[str, Any]:
    """One side: counts, and for each percentile how far ``smi stat`` is off the log."""
    durations = sorted(float(entry["duration_ms"]) for entry in log)
    figures: dict[str, Any] = {
        "requests": row["requests"],
        "failures": row["failure"],
        "logged": len(log),
        "logged_failures": sum(int(entry["status"]) >= 500 for entry in log),
    }
    for percentile in PERCENTILES:
        exact = durations[math.ceil(percentile / 100 * len(durations)) - 1]
        said = float(row[f"p{percentile}Ms"])
        figures[f"p{percentile}"] = {"log_ms": exact, "stat_ms": round(said, 3), "error": round(said / exact - 1, 4)}
    return figures


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
        for side, arguments, workload, direction in (
            ("server", ("deploy/web",), "web", "inbound"),
            ("client", ("deploy/web", "--from", "deploy/client"), "client", "outbound"),
        ):
            row = settled(lambda arguments=arguments: stat(mesh, *arguments), sent)
            figures = compared(row, log_of(mesh, workload, direction))
            print(json.dumps({"side": side, **figures}), flush=True)
            counts = [figures[name] for name in ("requests", "logged", "failures", "logged_failures")]
            fine &= counts == [sent, sent, failures, failures]
            fine &= all(abs(figures[f"p{percentile}"]["error"]) <= ERROR for percentile in PERCENTILES)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
