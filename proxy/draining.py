"""``python -m proxy drain``: the sidecar's preStop hook. Returns when nobody calls this pod any more.

Kubernetes runs it when the pod's end begins, and sends the sidecar SIGTERM only after the application's containers
have ended. Meanwhile requests are answered as ever, but each answer asks its caller to come back on another
connection; what the application itself sends goes on to the end.
"""

from __future__ import annotations

import argparse
import socket
import sys
from typing import Final

SOCKET: Final = "/run/smi-mesh/admin.sock"


def main(arguments: list[str]) -> int:
    """0 when it has drained, 1 when the sidecar could not be asked, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m proxy drain", description="Let the callers of this pod go.")
    parser.add_argument("--socket", default=SOCKET, help="where the sidecar takes orders (%(default)s)")
    parser.add_argument("--timeout", type=float, default=25.0, metavar="SECONDS", help="(%(default)s)")
    wanted = parser.parse_args(arguments)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(wanted.timeout)
            connection.connect(wanted.socket)
            connection.sendall(
                b"POST /drain HTTP/1.1\r\nHost: sidecar\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            answer = connection.recv(4096)
    except TimeoutError:
        return 0  # somebody calls to the last: the pod's grace period is what counts
    except OSError as error:
        print(f"{wanted.socket}: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0 if answer.startswith(b"HTTP/1.1 200") else 1
