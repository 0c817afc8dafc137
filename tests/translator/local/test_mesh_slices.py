"""A Service without selector in a local mesh: its EndpointSlice leads to a process that is none of the mesh's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from localmesh import LocalMesh, deployment, until

CALL = """\
import os, urllib.request
print(urllib.request.urlopen("http://db/").read().decode())
"""


@contextmanager
def outsider(says: bytes) -> Iterator[int]:
    """A server on the loopback; its port."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(says)))
            self.end_headers()
            self.wfile.write(says)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def slice_of(port: int) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "db-1", "labels": {"kubernetes.io/service-name": "db"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["127.0.0.1"]}],
        "ports": [{"port": port}],
    }


DB = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"}, "spec": {"ports": [{"port": 80}]}}


def test_requests_follow_the_slice(tmp_path: Path) -> None:
    mesh = LocalMesh(tmp_path)
    with outsider(b"one") as first, outsider(b"two") as second:
        mesh.write("all.yaml", deployment("client"), DB, slice_of(first))
        mesh.start()
        try:

            def said() -> str:
                return mesh.smi("exec", "deploy/client", "--", "python3", "-c", CALL).stdout.strip()

            assert said() == "one"
            mesh.write("all.yaml", deployment("client"), DB, slice_of(second))
            until(lambda: said() == "two", "requests go where the slice says now")
        finally:
            mesh.close()
