"""Memory of sidecars at rest: five of one mesh, on one machine, where they share what pages they can.

The mesh is a local one with all that is on in it: certificates, control streams, policies in force. Its controller
runs on the same machine, so a few pages of libraries are shared with it, too. Envoy's are five servers' sides of pairs.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack

from benchmarks.gauges import pss
from benchmarks.load import deployment, running, service
from benchmarks.peers.contenders import Arena, entered

PODS = 5
READY_TIMEOUT = 60.0
REST = 3.0
"""Seconds after the last pod is ready: what starting needed has been given back, reports have begun."""

SERVER = "import http.server, os; http.server.HTTPServer((os.environ['HOST'], int(os.environ['PORT'])), "
SERVER += "http.server.BaseHTTPRequestHandler).serve_forever()"


def of_a_mesh() -> list[float]:
    """Proportional set size of each sidecar in MB."""
    with running(deployment("web", PODS, [sys.executable, "-c", SERVER]), service("web", "web")) as mesh:
        deadline = time.monotonic() + READY_TIMEOUT
        while len(pods := [pod for pod in mesh.pods("web") if pod["ready"]]) < PODS:
            if time.monotonic() > deadline:
                raise SystemExit(f"the {PODS} pods of the local mesh are not ready")
            time.sleep(0.2)
        time.sleep(REST)
        return [pss(pod["sidecar"]["pid"]) for pod in pods]


def of_contenders(where: Arena, name: str) -> list[float]:
    """The same of five contenders of one name: of each the last process, which for a pair is the server's side."""
    with ExitStack() as stack:
        contenders = [stack.enter_context(entered(where, name)) for _ in range(PODS)]
        time.sleep(REST)
        return [pss(contender.pids[-1]) for contender in contenders]
