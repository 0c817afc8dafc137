"""On what was measured: the machine, and the versions of everything that took part."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.peers.processes import ROOT, Cores, envoy


def described() -> dict[str, Any]:
    """Facts by name, all that JSON can say."""
    cores = Cores.here()
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _said(["git", "describe", "--always", "--dirty"]) or "unknown",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "proxy's core": cores.proxy,
        "load's cores": cores.others,
        "memory (GB)": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "kernel": platform.release(),
        "load before": [round(part, 2) for part in os.getloadavg()],
        "Python": platform.python_version(),
        "request path": _request_path(),
        "Envoy": _version([envoy(), "--version"]),
        "HAProxy": _version(["haproxy", "-v"]),
        "nginx": _version(["nginx", "-v"]),
        "wrk": _version(["wrk", "-v"]),
        "h2load": _version(["h2load", "--version"]),
    }


def _request_path() -> str:
    """Whether a sidecar that starts now runs what was compiled."""
    code = "from proxy import native; print(native.prefer() or 'compiled')"
    said = _said([sys.executable, "-c", code])
    return said if said == "compiled" else f"from source: {said}"


def _processor() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _version(command: list[str]) -> str:
    found = re.search(r"\b\d+\.\d+(\.\d+)?", _said(command))
    return found[0] if found else "unknown"


def _said(command: list[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()
