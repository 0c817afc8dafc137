"""Ports to listen at that are told to somebody before anybody listens there."""

from __future__ import annotations

import os
import random
import socket
from itertools import cycle

_PORTS = cycle(random.Random(os.getpid()).sample(range(10240, 30000), 4000))
"""From below those that the kernel gives away: to an outgoing connection of another test, for one. Never one twice."""


def free_port() -> int:
    """Where nobody listens, at any address, and nobody will who has not asked here."""
    while True:
        port = next(_PORTS)
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("", port))
            except OSError:
                continue
            return port
