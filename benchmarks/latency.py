"""Latency at a rate that does not wait for answers, each measured from when its request was due.

A client that waits for an answer before it sends the next request asks a slow server less often, and so leaves out the
very requests that would have waited (coordinated omission). Here requests are due by a Poisson process with a fixed
seed, the same for every contender, over a fixed number of kept-alive connections; a request for which no connection is
free waits, and its waiting counts. ``python -m benchmarks.latency HOST PORT …`` is the generator, a process on the core
of the load: one thread and one ``select``, whose time-out the kernel keeps to a microsecond.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import random
import select
import socket
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass

from benchmarks.estimate import percentile
from benchmarks.gauges import cpu
from benchmarks.peers.contenders import Arena, Contender
from benchmarks.peers.processes import ROOT
from benchmarks.peers.work import AUTHORITY, HOST, PATH

RATE, CONNECTIONS = 1000, 16
PERCENTS = (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99, 99.5, 99.9, 100)
"""The points of a curve."""

REQUEST = f"GET {PATH} HTTP/1.1\r\nHost: {AUTHORITY}\r\n\r\n".encode()
SETTLE = 0.5
"""Seconds at the beginning that do not count: every connection is opened in it."""

PATIENCE = 10.0
"""Seconds without any answer until it is clear that none will come."""

_PR_SET_TIMERSLACK = 29


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """One run. ``curve``: milliseconds by percent; ``late_ms``: how late the generator sent (p99).

    ``cpu_us``: microseconds of CPU that the contender took for a request at this rate, the pauses in between included.
    """

    rate: float
    count: int
    curve: dict[str, float]
    late_ms: float
    cpu_us: float

    def at(self, percent: float) -> float:
        """Milliseconds at one of ``PERCENTS``."""
        return self.curve[str(percent)]


def measured(where: Arena, contender: Contender, rate: int, seconds: float) -> Latency:
    """One run against ``contender``. Ends the benchmark when a request is not answered with 200."""
    command = ["taskset", "-c", where.cores.others, sys.executable, "-m", "benchmarks.latency"]
    command += [contender.host, str(contender.port), "--rate", str(rate), "--seconds", str(seconds)]
    before = cpu(contender.pids)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{contender.name}: {done.stderr}")
    run = json.loads(done.stdout)
    used = (cpu(contender.pids) - before).total
    return Latency(cpu_us=used / run.pop("sent") * 1e6, **run)


def schedule(rate: float, seconds: float, seed: int = 1) -> list[float]:
    """When requests are due, in seconds from the beginning: exponential gaps."""
    dice, due, at = random.Random(seed), [], 0.0
    while (at := at + dice.expovariate(rate)) < seconds:
        due.append(at)
    return due


class Generator:
    """Sends and receives. ``taken``: seconds from due to answered; ``late``: to sent, a connection being free."""

    def __init__(self, host: str, port: int, connections: int) -> None:
        self.taken: list[float] = []
        self.late: list[float] = []
        self._idle = deque(self._open(host, port) for _ in range(connections))
        self._due: dict[socket.socket, float] = {}
        self._read: dict[socket.socket, bytes] = {}

    @staticmethod
    def _open(host: str, port: int) -> socket.socket:
        sock = socket.create_connection((host, port), timeout=PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def close(self) -> None:
        """Ends all connections."""
        for sock in (*self._idle, *self._due):
            sock.close()

    def run(self, due: list[float]) -> None:
        """All requests, and all answers. Raises ``OSError`` or ``ValueError`` for an answer that is none."""
        begin, number = time.perf_counter(), 0
        while number < len(due) or self._due:
            now = time.perf_counter()
            while number < len(due) and self._idle and begin + due[number] <= now:
                at = begin + due[number]
                self._send(at, now, waited=number > 0 and at < self._freed)
                number += 1
                now = time.perf_counter()
            if self._due and now > self._heard + PATIENCE:
                raise TimeoutError(f"{len(self._due)} requests were not answered")
            wait = begin + due[number] - now if number < len(due) and self._idle else PATIENCE
            self._receive(max(0.0, wait))

    _freed = 0.0
    """When a connection became free that was waited for."""

    _heard = 0.0
    """When an answer came last, or since when there is one to come."""

    def _send(self, due: float, now: float, *, waited: bool) -> None:
        sock = self._idle.popleft()
        if not self._due:
            self._heard = now
        sock.sendall(REQUEST)
        self._due[sock] = due
        if not waited:
            self.late.append(now - due)

    def _receive(self, wait: float) -> None:
        readable, _, _ = select.select(list(self._due), [], [], wait)
        for sock in readable:
            data = sock.recv(65536)
            if not data:
                raise ValueError("a connection was closed before its answer was whole")
            now = time.perf_counter()
            self._heard = now
            data = self._read.pop(sock, b"") + data
            if not whole(data):
                self._read[sock] = data
                continue
            if not self._idle:
                self._freed = now
            self.taken.append(now - self._due.pop(sock))
            self._idle.append(sock)


def whole(data: bytes) -> bool:
    """Whether an answer is there with its whole body. Raises ``ValueError`` for one that is not 200."""
    head, blank, body = data.partition(b"\r\n\r\n")
    if not blank:
        return False
    if not head.startswith(b"HTTP/1.1 200"):
        raise ValueError(f"answered with {head[:80]!r}")
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
    if b"chunked" in fields.get(b"transfer-encoding", b""):
        return body.endswith(b"0\r\n\r\n")
    return len(body) >= int(fields[b"content-length"])


def main() -> int:
    """Prints the run as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host", nargs="?", default=HOST)
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=int, default=RATE)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    # Timers may be late by 50 µs otherwise.
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    generator = Generator(options.host, options.port, options.connections)
    generator.run(schedule(options.rate, SETTLE, seed=2))
    settling = len(generator.taken)
    generator.taken.clear()
    generator.late.clear()
    generator.run(schedule(options.rate, options.seconds))
    generator.close()
    taken = sorted(seconds * 1e3 for seconds in generator.taken)
    curve = {str(percent): round(percentile(taken, percent), 4) for percent in PERCENTS}
    late = percentile(sorted(generator.late), 99) * 1e3
    run = {"rate": options.rate, "count": len(taken), "curve": curve, "late_ms": round(late, 4)}
    print(json.dumps({**run, "sent": settling + len(taken)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
