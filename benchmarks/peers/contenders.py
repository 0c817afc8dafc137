"""The contenders by name: each is configured, started on the proxy's core, tried, and ended again.

Only those that are compared run at a time: what is idle costs, too.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.peers import envoy as envoys
from benchmarks.peers import others, ours
from benchmarks.peers.identities import both_sides
from benchmarks.peers.processes import Cores, envoy, free_port, running, until_answered
from benchmarks.peers.work import CLUSTER_IP, HOST, Keys
from proxy.contract.config import File

GRPC_METHOD = "/bench.Items/Get"
GRPC_MESSAGE = b"\0\0\0\0\5hello"
"""One gRPC message of five bytes: not compressed, its length, itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """``pids``: the processes whose cost is counted, none, one, or the two of a pair. ``mesh``: a pair's inner port."""

    name: str
    port: int
    host: str = HOST
    pids: tuple[int, ...] = ()
    mesh: int = 0

    @property
    def speaks_grpc(self) -> bool:
        """Whether it is asked for calls of gRPC."""
        return self.name.endswith("gRPC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """What stands around the contenders: a folder, cores, servers, and certificates for a caller and a server.

    ``redirected`` is the port of a sidecar to which the kernel redirects, where it does (``benchmarks.calls``);
    ``under`` is a command that contenders are run by, empty for none (``benchmarks.instructions``).
    """

    folder: Path
    cores: Cores
    upstream: int
    grpc: int
    redirected: int
    client: Keys
    server: Keys
    under: tuple[str, ...] = ()


@contextmanager
def arena(under: tuple[str, ...] = ()) -> Iterator[Arena]:
    """The servers, for as long as the block lasts."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        folder.chmod(0o755)  # nginx's workers are nobody
        cores, upstream, grpc = Cores.here(), free_port(), free_port()
        client, server = both_sides(folder)
        (folder / "server.conf").write_text(others.server(upstream, folder))
        command = ["nginx", "-c", str(folder / "server.conf")]
        stack.enter_context(running(cores.others, command, upstream, folder / "server.log"))
        method = folder / "www" / GRPC_METHOD.lstrip("/")
        method.parent.mkdir(parents=True)
        method.write_bytes(GRPC_MESSAGE)
        command = ["nghttpd", "--no-tls", "--address", HOST, "--htdocs", str(folder / "www")]
        command += ["--trailer", "grpc-status: 0", str(grpc)]
        stack.enter_context(running(cores.others, command, grpc, folder / "grpc.log"))
        yield Arena(
            folder=folder,
            cores=cores,
            upstream=upstream,
            grpc=grpc,
            redirected=free_port(),
            client=client,
            server=server,
            under=under,
        )


@contextmanager
def entered(where: Arena, name: str) -> Iterator[Contender]:
    """One contender of ``CONTENDERS``, tried, for as long as the block lasts."""
    with ExitStack() as stack:
        contender = CONTENDERS[name](_Start(where, stack, name))
        if not contender.speaks_grpc:
            until_answered(contender.port, name)
        yield contender


_numbers = count(1)


class _Start:
    """Starts processes into a stack."""

    def __init__(self, where: Arena, stack: ExitStack, name: str) -> None:
        self.where, self.name = where, name
        self._stack = stack

    def sidecar(self, port: int, file: File) -> int:
        path = self._written(".json", msgspec.json.encode(file).decode())
        return self._run([sys.executable, "-m", "proxy", "--config", str(path)], port)

    def envoy(self, port: int, bootstrap: dict[str, Any]) -> int:
        path = self._written(".yaml", json.dumps(bootstrap))
        alone = ["--concurrency", "1", "--disable-hot-restart", "-l", "error"]
        return self._run([envoy(), "-c", str(path), *alone], port)

    def haproxy(self, port: int, text: str) -> int:
        return self._run(["haproxy", "-db", "-q", "-f", str(self._written(".cfg", text))], port)

    def nginx(self, port: int, text: str) -> int:
        return self._run(["nginx", "-c", str(self._written(".conf", text))], port)

    def naive(self, port: int) -> int:
        return self._run([sys.executable, "-m", "benchmarks.peers.naive", str(port), str(self.where.upstream)], port)

    def one(self, start: Callable[[int], int]) -> Contender:
        """A contender of one process, at a port that ``start`` is given."""
        port = free_port()
        return Contender(name=self.name, port=port, pids=(start(port),))

    def _written(self, suffix: str, text: str) -> Path:
        path = self.where.folder / f"{next(_numbers)}{suffix}"
        path.write_text(text)
        return path

    def _run(self, command: list[str], port: int) -> int:
        log = self.where.folder / f"{next(_numbers)}.log"
        return self._stack.enter_context(running(self.where.cores.proxy, [*self.where.under, *command], port, log))


def _our_pair(start: _Start) -> Contender:
    where, port, mesh = start.where, free_port(), free_port()
    far = start.sidecar(mesh, ours.far(mesh, where.upstream, where.server))
    near = start.sidecar(port, ours.near(port, mesh, where.upstream, where.client))
    return Contender(name=start.name, port=port, pids=(near, far), mesh=mesh)


def _envoy_pair(start: _Start) -> Contender:
    where, port, mesh = start.where, free_port(), free_port()
    far = start.envoy(mesh, envoys.far(mesh, where.upstream, where.server))
    near = start.envoy(port, envoys.near(port, mesh, where.client))
    return Contender(name=start.name, port=port, pids=(near, far), mesh=mesh)


def _our_grpc(start: _Start) -> Contender:
    where = start.where
    pid = start.sidecar(where.redirected, ours.grpc(where.redirected, where.grpc))
    return Contender(name=start.name, host=CLUSTER_IP, port=80, pids=(pid,))


def _one(build: Callable[[_Start, int], int]) -> Callable[[_Start], Contender]:
    return lambda start: start.one(lambda port: build(start, port))


CONTENDERS: dict[str, Callable[[_Start], Contender]] = {
    "direct": lambda start: Contender(name=start.name, port=start.where.upstream),
    "ours plain": _one(lambda start, port: start.sidecar(port, ours.plain(port, start.where.upstream))),
    "ours": _one(lambda start, port: start.sidecar(port, ours.features(port, start.where.upstream))),
    "ours pair": _our_pair,
    "ours gRPC": _our_grpc,
    "Envoy plain": _one(lambda start, port: start.envoy(port, envoys.plain(port, start.where.upstream))),
    "Envoy": _one(lambda start, port: start.envoy(port, envoys.features(port, start.where.upstream))),
    "Envoy pair": _envoy_pair,
    "Envoy gRPC": _one(lambda start, port: start.envoy(port, envoys.grpc(port, start.where.grpc))),
    "HAProxy": _one(lambda start, port: start.haproxy(port, others.haproxy(port, start.where.upstream))),
    "nginx": _one(lambda start, port: start.nginx(port, others.nginx(port, start.where.upstream, start.where.folder))),
    "naive": _one(lambda start, port: start.naive(port)),
}
