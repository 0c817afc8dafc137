"""The pods there are and lately were: counts outlive the pods they are about, so who these were is remembered. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from smi.workloads import Pod
from translator.traffic import KEPT_SECONDS

REMEMBERED_SECONDS = KEPT_SECONDS + 60.0
"""A little longer than anything that was counted."""


class Roster:
    """Pods by ``namespace/name``. Times are of one monotonic clock."""

    def __init__(self) -> None:
        self._pods: dict[str, Pod] = {}
        self._gone: dict[str, float] = {}

    def update(self, pods: Iterable[Pod], now: float) -> None:
        """These are the pods that run."""
        running = {pod.meta.key: pod for pod in pods}
        self.changed(running.values(), [pod for key, pod in self._pods.items() if key not in running], now)

    def changed(self, running: Iterable[Pod], gone: Iterable[Pod], now: float) -> None:
        """These run, those do not any more; of all others nothing is new."""
        for pod in gone:
            self._gone.setdefault(pod.meta.key, now)
        for pod in running:
            self._gone.pop(pod.meta.key, None)
            self._pods[pod.meta.key] = pod
        for key in [key for key, since in self._gone.items() if now - since > REMEMBERED_SECONDS]:
            del self._gone[key], self._pods[key]

    def known(self) -> dict[str, Pod]:
        """All that is remembered."""
        return dict(self._pods)
