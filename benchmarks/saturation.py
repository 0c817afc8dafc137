"""As many requests as a contender can take: CPU time of each, requests per second, system calls, instructions.

wrk with 32 kept-alive connections and a small GET; h2load for calls of gRPC, 32 at once as well.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

from benchmarks.gauges import counted, cpu
from benchmarks.peers.contenders import GRPC_MESSAGE, GRPC_METHOD, Arena, Contender
from benchmarks.peers.work import AUTHORITY, PATH

CONNECTIONS = 32
GRPC_CONNECTIONS, GRPC_CALLS = 4, 8
"""Connections of gRPC, and calls at once on each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One run: requests, seconds, CPU seconds of all processes of the contender; ``user`` and ``system`` by ticks."""

    requests: int
    seconds: float
    cpu: float
    user: float
    system: float

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU a request."""
        return self.cpu / self.requests * 1e6

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def busy(self) -> float:
        """Part of its core that the contender used: well below 1, the load was the limit."""
        return self.cpu / self.seconds


def saturated(where: Arena, contender: Contender, seconds: float) -> Sample:
    """One run against ``contender``."""
    before = cpu(contender.pids)
    done = subprocess.run(_command(where, contender, seconds), capture_output=True, text=True, check=True)
    used = cpu(contender.pids) - before
    requests, lasted = _read(contender, done.stdout)
    return Sample(requests=requests, seconds=lasted, cpu=used.total, user=used.user, system=used.system)


def counts_of(where: Arena, contender: Contender, seconds: float) -> dict[str, float | None]:
    """System calls and instructions a request, None what cannot be counted. Counting slows: time nothing here."""
    result = counted(contender.pids, _command(where, contender, seconds), where.folder)
    requests, _ = _read(contender, result.output)
    return {
        "syscalls": result.syscalls / requests if result.syscalls is not None else None,
        "instructions": result.instructions / requests if result.instructions is not None else None,
    }


def _command(where: Arena, contender: Contender, seconds: float) -> list[str]:
    pinned = ["taskset", "-c", where.cores.others]
    if not contender.speaks_grpc:
        wrk = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:.0f}s", "-H", f"Host: {AUTHORITY}"]
        return [*pinned, *wrk, f"http://{contender.host}:{contender.port}{PATH}"]
    message = where.folder / "message"
    message.write_bytes(GRPC_MESSAGE)
    h2load = ["h2load", "-t1", f"-c{GRPC_CONNECTIONS}", f"-m{GRPC_CALLS}", "-D", f"{seconds:.0f}", "-d", str(message)]
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    return [*pinned, *h2load, *headers, f"http://{contender.host}:{contender.port}{GRPC_METHOD}"]


def _read(contender: Contender, printed: str) -> tuple[int, float]:
    return read_h2load(printed) if contender.speaks_grpc else read_wrk(printed)


def read_wrk(printed: str) -> tuple[int, float]:
    """Requests and seconds. Ends the run unless each was answered with 2xx or 3xx."""
    found = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m),", printed)
    if found is None or found[1] == "0" or "Non-2xx" in printed or "Socket errors" in printed:
        raise SystemExit(f"the run failed:\n{printed}")
    return int(found[1]), float(found[2]) * {"ms": 1e-3, "s": 1.0, "m": 60.0}[found[3]]


def read_h2load(printed: str) -> tuple[int, float]:
    """Calls and seconds. Ends the run unless each was answered with 2xx, on every connection.

    A connection that was closed before its first call is in none of h2load's counts of failures, only in the least
    requests a second of its connections.
    """
    calls = re.search(r"requests: .* (\d+) succeeded, 0 failed, 0 errored", printed)
    status = re.search(r"status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx", printed)
    lasted = re.search(r"finished in ([\d.]+)(ms|s)", printed)
    least = re.search(r"req/s +: +([\d.]+)", printed)
    if calls is None or calls[1] == "0" or status is None or lasted is None or least is None or not float(least[1]):
        raise SystemExit(f"the run failed, not every connection had its calls answered:\n{printed}")
    return int(calls[1]), float(lasted[1]) * {"ms": 1e-3, "s": 1.0}[lasted[2]]
