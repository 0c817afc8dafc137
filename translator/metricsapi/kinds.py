"""The resources of the group, under all the names that clients use. Pure.

SMI gives every resource the Kind ``TrafficMetrics``. kubectl keeps one resource for a Kind, so that any name would mean
the same one; here each resource is advertised with a Kind of its own, and what is answered is ``TrafficMetrics``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from translator.resources import NAMESPACE, NODE, POD, SERVICE, TRAFFIC_SPLIT

GROUP: Final = "metrics.smi-spec.io"
VERSIONS: Final = ("v1alpha2", "v1alpha1")
"""The preferred one first."""

KIND: Final = "TrafficMetrics"
LIST: Final = "TrafficMetricsList"
EVERYTHING: Final = "trafficmetrics"
"""The resource that has the items of all others that are namespaced, named ``<kind>.<name>``."""

EDGES: Final = "edges"

TRAFFIC: Final = "traffic"
"""Beside SMI's resources: the questions of ``translator.question``, which the ``smi`` commands ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """``measured`` is the kind of what is measured; empty: of any."""

    plural: str
    singular: str
    kind: str
    measured: str
    namespaced: bool
    short: tuple[str, ...] = ()


def _of(measured: str, plural: str, *, namespaced: bool = True) -> Kind:
    kind = f"{measured}{KIND}"
    return Kind(
        plural=plural, singular=f"{measured.lower()}trafficmetric", kind=kind, measured=measured, namespaced=namespaced
    )


RESOURCES: Final[Mapping[str, Kind]] = {
    one.plural: one
    for one in (
        Kind(
            plural=EVERYTHING,
            singular="trafficmetric",
            kind=KIND,
            measured="",
            namespaced=True,
            short=("tm",),
        ),
        _of(NAMESPACE, "namespaces", namespaced=False),
        _of(NODE, "nodes", namespaced=False),
        _of(POD, "pods"),
        _of("ReplicationController", "replicationcontrollers"),
        _of(SERVICE, "services"),
        _of("DaemonSet", "daemonsets"),
        _of("Deployment", "deployments"),
        _of("ReplicaSet", "replicasets"),
        _of("StatefulSet", "statefulsets"),
        _of("Job", "jobs"),
        _of(TRAFFIC_SPLIT, "trafficsplits"),
    )
}
"""By plural."""

BY_MEASURED: Final[Mapping[str, Kind]] = {one.measured: one for one in RESOURCES.values() if one.measured}
