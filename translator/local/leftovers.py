"""Finds and kills processes of a mesh by the mark in their environment.

Ends what left its process group (daemons), and what outlived a supervisor that
was killed: pid and start time would not tell whose a process is, the mark does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from translator.local.environment import INSTANCE

PROC = Path("/proc")


def find_marked(instance: str) -> tuple[int, ...]:
    """Pids of this user's living processes that carry the mark of this mesh."""
    mark = f"{INSTANCE}={instance}".encode()
    found = []
    for folder in PROC.iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            try:
                environment = (folder / "environ").read_bytes()
            except OSError:  # ended meanwhile, or another user's
                continue
            if mark in environment.split(b"\0"):
                found.append(int(folder.name))
    return tuple(found)


def kill_marked(instance: str, timeout: float = 5.0) -> int:
    """Kills them, and what they fork meanwhile; returns how many. Gives up after ``timeout`` seconds."""
    killed: set[int] = set()
    deadline = time.monotonic() + timeout
    while (found := find_marked(instance)) and time.monotonic() < deadline:
        for pid in found:
            killed.add(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    return len(killed)
