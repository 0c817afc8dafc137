"""What a connection with mutual TLS costs the server's proxy: a full handshake, one request, the end.

No session is resumed, on either side's account. ``python -m benchmarks.handshakes PORT …`` is the client, a process on
the core of the load: eight threads of OpenSSL, each with one connection at a time. It is not quicker than the servers,
so what counts is their CPU time for a connection; its inverse is what a core could do.
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.estimate import abba
from benchmarks.gauges import cpu
from benchmarks.latency import REQUEST, whole
from benchmarks.pairs import Pair
from benchmarks.peers.contenders import Arena, Contender, entered
from benchmarks.peers.processes import ROOT
from benchmarks.peers.work import HOST, Keys
from benchmarks.saturation import Sample
from proxy.openssl import narrow
from proxy.preface import encode_preface
from proxy.tls import MESH_ALPN

THREADS = 8
HTTP_ALPN = "http/1.1"
PATIENCE = 10.0


def compared(where: Arena, first: str, second: str, pairs: int, seconds: float) -> list[Pair]:
    """Connections to the servers' sides of two pairs of proxies; a request of a ``Sample`` is a connection here."""
    with ExitStack() as stack:
        both = [stack.enter_context(entered(where, name)) for name in (first, second)]
        for contender in both:
            _measured(where, contender, seconds=0.5)
        runs: list[Pair] = []
        for order in abba(pairs):
            taken = {turn: _measured(where, both[turn], seconds) for turn in order}
            runs.append((taken[0], taken[1]))
        return runs


def _measured(where: Arena, contender: Contender, seconds: float) -> Sample:
    far = contender.pids[-1:]
    ours = contender.name.startswith("ours")
    command = ["taskset", "-c", where.cores.others, sys.executable, "-m", "benchmarks.handshakes"]
    command += [str(contender.mesh), *map(str, where.client), "--seconds", str(seconds)]
    if ours:
        command += ["--alpn", MESH_ALPN, "--preface", encode_preface(where.upstream).hex()]
    before = cpu(far)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    used = cpu(far) - before
    if done.returncode:
        raise SystemExit(f"{contender.name}: {done.stderr}")
    said = json.loads(done.stdout)
    return Sample(
        requests=said["connections"], seconds=said["seconds"], cpu=used.total, user=used.user, system=used.system
    )


class Client:
    """Connects again and again. ``connections`` is how many were answered."""

    def __init__(self, port: int, keys: Keys, alpn: str, first: bytes) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False  # a SPIFFE ID is no host name
        context.load_verify_locations(keys.bundle)
        context.load_cert_chain(keys.certificate, keys.key)
        context.set_alpn_protocols([alpn])
        narrow(context)  # as a sidecar's: the same hello and the one certificate for whoever is called
        self._context, self._port, self._first = context, port, first
        self.connections = 0
        self.failures: list[BaseException] = []
        self._lock = threading.Lock()

    def run(self, until: float) -> None:
        """Until then, or until one fails."""
        try:
            while time.monotonic() < until and not self.failures:
                self._once()
                with self._lock:
                    self.connections += 1
        except (OSError, ValueError) as error:
            self.failures.append(error)

    def _once(self) -> None:
        with (
            socket.create_connection((HOST, self._port), timeout=PATIENCE) as plain,
            self._context.wrap_socket(plain) as sock,
        ):
            sock.sendall(self._first + REQUEST)
            data = b""
            while not whole(data := data + self._some(sock)):
                pass

    @staticmethod
    def _some(sock: ssl.SSLSocket) -> bytes:
        data = sock.recv(65536)
        if not data:
            raise ValueError("a connection was closed")
        return data


def main() -> int:
    """Prints how many connections in how many seconds, as JSON; 1 when one was not answered with 200."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    for name in Keys._fields:
        parser.add_argument(name, type=Path)
    parser.add_argument("--alpn", default=HTTP_ALPN)
    parser.add_argument("--preface", type=bytes.fromhex, default=b"")
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    keys = Keys(options.certificate, options.key, options.bundle)
    client = Client(options.port, keys, options.alpn, options.preface)
    begin = time.monotonic()
    threads = [threading.Thread(target=client.run, args=(begin + options.seconds,)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if client.failures:
        print(f"not answered: {client.failures[0]!r}", file=sys.stderr)
        return 1
    print(json.dumps({"connections": client.connections, "seconds": time.monotonic() - begin}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
