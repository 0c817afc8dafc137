"""Events (events.k8s.io/v1): what is wrong with an object, said where ``kubectl describe`` shows it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from translator.kube.names import CONTROLLER

REPEAT_SECONDS: Final = 1800.0
"""After which what is still wrong is said again: the API server forgets an Event after an hour."""

MOST: Final = 1024
"""Characters of a note, by the API."""

REPORTER: Final = "smi-mesh.io/controller"
"""``reportingController``."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Remark:
    """One thing to say about one object. ``uid`` is empty where it is not known."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    reason: str
    note: str


class Said:
    """What has been said, and when."""

    def __init__(self) -> None:
        self._said: dict[Remark, float] = {}

    def news(self, remarks: Iterable[Remark], now: float) -> list[Remark]:
        """Those to say now, which is in seconds. What does not hold any more is forgotten: once back it is news."""
        holds = set(remarks)
        self._said = {remark: at for remark, at in self._said.items() if remark in holds}
        return [remark for remark in sorted(holds) if now - self._said.get(remark, -REPEAT_SECONDS) >= REPEAT_SECONDS]

    def told(self, remark: Remark, now: float) -> None:
        """It has been said."""
        self._said[remark] = now


def event_of(remark: Remark, instance: str, now: str) -> dict[str, Any]:
    """The Event; ``instance`` is the pod that says it, ``now`` a MicroTime.

    Its name follows from what it says, within an hour: a controller that took over says nothing twice.
    """
    namespace = remark.namespace or "default"
    digest = sha256("\0".join((remark.uid, remark.reason, remark.note, now[:13])).encode()).hexdigest()[:16]
    regarding = {
        "apiVersion": remark.api_version,
        "kind": remark.kind,
        "name": remark.name,
        "namespace": remark.namespace,
        "uid": remark.uid,
    }
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{remark.name[:200]}.{digest}", "namespace": namespace},
        "eventTime": now,
        "type": "Warning",
        "reason": remark.reason,
        "note": remark.note[:MOST],
        "action": "Compile",
        "reportingController": REPORTER,
        "reportingInstance": instance or CONTROLLER,
        "regarding": {key: value for key, value in regarding.items() if value},
    }


def path_of(event: Mapping[str, Any]) -> str:
    """Where it is created."""
    return f"/apis/events.k8s.io/v1/namespaces/{event['metadata']['namespace']}/events"
