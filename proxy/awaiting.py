"""Waiting for the sidecar of this pod: what ``python -m proxy init --state`` does once the rules are in force.

It is the pod's next container that waits for this one's end. Imports little: it is started once in every pod.
"""

from __future__ import annotations

import socket
import sys
import time
from typing import Final

STEP: Final = 0.02
"""Seconds between looks: what the application waits longer than it must, at most."""

PATIENCE: Final = 5.0
"""Seconds until it is said what is waited for; a sidecar needs one or two."""


def until_ready(port: int) -> None:
    """Returns when the sidecar is ready, however long that takes; says on stderr why it is not, each reason once."""
    silent_until = time.monotonic() + PATIENCE
    told = ""
    while reason := ask(port):
        if reason != told and time.monotonic() > silent_until:
            print(f"waiting for the sidecar: {reason}", file=sys.stderr, flush=True)
            told = reason
        time.sleep(STEP)


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
