"""What ``smi local up`` prints: one line on stdout when the mesh is ready, all else on stderr."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path


class Console:
    """The terminal of ``up``; a ``detached`` one lets go of it when the mesh is ready.

    Nobody may be reading any more: what cannot be printed is lost, not an error.
    """

    def __init__(self, *, detached: bool) -> None:
        self._detached = detached

    def say(self, *lines: str) -> None:
        """Progress and problems."""
        with contextlib.suppress(OSError):
            print(*lines, sep="\n", file=sys.stderr, flush=True)

    def ready(self, line: str, log: Path) -> None:
        """The ready line; a detached supervisor prints to ``log`` from here on."""
        with contextlib.suppress(OSError):
            print(line, flush=True)
        if self._detached:
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            for stream in (1, 2):
                os.dup2(descriptor, stream)
            os.close(descriptor)
