"""The pods that run in a local mesh, as its supervisor writes them down.

``pods.json`` is replaced atomically by the supervisor and watched here; a
file that cannot be read changes nothing. Neighbours: ``translator.local.records``
(the format), ``translator.controller`` (who asks).
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

from watchfiles import Change, awatch

from smi.workloads import Pod
from translator.local.records import decode_pods

STEP_MS = 5
DEBOUNCE_MS = 30
"""As for manifests: watchfiles' defaults (50 and 1600 ms) are longer than a change may take to be enforced."""

RECHECK_MS = 1000
"""The file is looked at this often without being told: an event lost by the kernel costs a second, not for ever."""

log = logging.getLogger("translator.runtime")


class PodsFile:
    """The pods in one ``pods.json``, read again when the file was replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None

    def read(self) -> tuple[Pod, ...] | None:
        """The pods now; None if nothing changed since the last call, or there is no readable file."""
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                seen = (status.st_ino, status.st_mtime_ns, status.st_size)
                if seen == self._seen:
                    return None
                data = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("pods not read file=%s error=%s", self._path, error)
            return None
        self._seen = seen
        try:
            return tuple(record.pod for record in decode_pods(data))
        except ValueError as error:
            log.warning("pods kept as they were file=%s error=%s", self._path, error)
            return None

    async def watch(self) -> AsyncIterator[tuple[Pod, ...]]:
        """The pods whenever they changed, beginning with those of now if there are any. Never ends by itself."""
        pods = self.read()
        if pods is not None:
            yield pods
        changes = awatch(
            self._path.parent,
            watch_filter=self._concerns,
            debounce=DEBOUNCE_MS,
            step=STEP_MS,
            rust_timeout=RECHECK_MS,
            yield_on_timeout=True,
            recursive=False,
        )
        async for _ in changes:
            pods = self.read()
            if pods is not None:
                yield pods

    def _concerns(self, _: Change, path: str) -> bool:
        return Path(path).name == self._path.name
