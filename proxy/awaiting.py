"""``python -m proxy await``: returns when the sidecar in this pod is ready. Its container's postStart hook.

Imports little: it is started once in every pod, and the application waits for it.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
from typing import Final

from proxy.contract.ports import ADMIN

STEP: Final = 0.02
"""Seconds between looks: what the application waits longer than it must, at most."""


def main(arguments: list[str]) -> int:
    """0 when it is ready, 1 when it was not in time, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m proxy await", description="Wait until the sidecar is ready.")
    parser.add_argument("--port", type=int, default=ADMIN, help="its admin port (%(default)s)")
    parser.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS", help="(%(default)s)")
    wanted = parser.parse_args(arguments)
    deadline = time.monotonic() + wanted.timeout
    said = ""
    while time.monotonic() < deadline:
        said = ask(wanted.port)
        if said == "":
            return 0
        time.sleep(STEP)
    print(f"the sidecar is not ready after {wanted.timeout:g} s: {said}", file=sys.stderr)
    return 1


def ask(port: int) -> str:
    """Why it is not ready, empty when it is."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
    except OSError as error:
        return f"its admin port does not answer ({error.strerror or error})"
    head, _, body = answer.partition(b"\r\n\r\n")
    return "" if head.startswith(b"HTTP/1.1 200") else body.decode("utf-8", "replace").strip() or "no answer"
