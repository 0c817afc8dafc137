"""What the controller knows and shows, and the metrics that it makes of it.

``translator.controller`` has the knowledge, ``translator.api`` shows it; ``translator.reference`` writes the metrics
down.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from proxy.contract.config import File
from smi.problems import Problem
from smi.workloads import Pod
from translator.collect import Collector
from translator.identity.rotation import IdentityShown
from translator.reconcile import Reconciler
from translator.roster import Roster


class Knowledge(Protocol):
    """What the controller shows."""

    @property
    def reconciler(self) -> Reconciler:
        """The world and the sidecars."""

    @property
    def collector(self) -> Collector:
        """What the sidecars counted."""

    @property
    def roster(self) -> Roster:
        """The pods there are, and lately were."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the manifests now."""

    @property
    def identity(self) -> IdentityShown:
        """Who signs certificates, and whom the mesh trusts."""

    def sidecar_file(self, pod: Pod) -> File | None:
        """The settings that a pod's sidecar was started with; None where it has none, or they are not known here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric of the controller, and how it is read."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    read: Callable[[Knowledge], float]


def _gauge(name: str, text: str, read: Callable[[Knowledge], float]) -> Metric:
    return Metric(name=f"smi_mesh_controller_{name}", kind="gauge", help=text, read=read)


def _counter(name: str, text: str, read: Callable[[Knowledge], float]) -> Metric:
    return Metric(name=f"smi_mesh_controller_{name}_total", kind="counter", help=text, read=read)


def _connected(known: Knowledge) -> int:
    return sum(one.connected_since is not None for one in known.reconciler.subscribers.values())


METRICS = (
    _gauge("sidecars_connected", "Streams that stand.", _connected),
    _gauge("problems", "Problems in the manifests now.", lambda known: len(known.problems)),
    _counter("pushes", "Configs and deltas sent.", lambda known: known.reconciler.counts.pushes),
    _counter("push_bytes", "Bytes of them.", lambda known: known.reconciler.counts.push_bytes),
    _counter("acks", "Pushes put in force.", lambda known: known.reconciler.counts.acks),
    _counter("nacks", "Pushes refused.", lambda known: known.reconciler.counts.nacks),
    _counter("compiles", "Configs compiled.", lambda known: known.reconciler.counts.compiles),
    _counter(
        "compile_failures",
        "Configs that could not be compiled.",
        lambda known: known.reconciler.counts.compile_failures,
    ),
    _counter("compile_seconds", "Seconds spent compiling.", lambda known: known.reconciler.counts.compile_seconds),
    _counter("reports", "Reports of sidecars counted.", lambda known: known.collector.counts.reports),
    _counter("reports_repeated", "Reports that were counted before.", lambda known: known.collector.counts.repeated),
    _counter("reports_refused", "Reports that contradicted themselves.", lambda known: known.collector.counts.refused),
    _counter("report_rows", "Series in them.", lambda known: known.collector.counts.rows),
)
"""All of them, in the order in which they are shown."""
