"""The groups, their versions, metrics and resources, and how clients discover them. Pure.

Both APIs name a metric where others name a subresource: ``pods/requests_per_second``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from translator.resources import NAMESPACE, NODE, POD, SERVICE, TRAFFIC_SPLIT

Body = dict[str, Any]

CUSTOM: Final = "custom.metrics.k8s.io"
EXTERNAL: Final = "external.metrics.k8s.io"

VERSIONS: Final[Mapping[str, tuple[str, ...]]] = {CUSTOM: ("v1beta2", "v1beta1"), EXTERNAL: ("v1beta1",)}
"""By group, the preferred one first. Both of the first say the same in other words; older tools know v1beta1 alone."""

REQUESTS_PER_SECOND: Final = "requests_per_second"
P99_LATENCY_MS: Final = "p99_latency_ms"
SUCCESS_RATE: Final = "success_rate"
METRICS: Final = (REQUESTS_PER_SECOND, P99_LATENCY_MS, SUCCESS_RATE)

VALUES: Final[Mapping[str, str]] = {CUSTOM: "MetricValueList", EXTERNAL: "ExternalMetricValueList"}
"""The Kind of an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A resource whose metrics there are. ``plural`` is also the one of TrafficMetrics; ``group`` is not in ``name``
    for the core group."""

    kind: str
    plural: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True

    @property
    def name(self) -> str:
        """As paths have it: ``pods``, ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        """Of the object itself."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def label(self) -> str:
        """The label that external metrics know it by."""
        return self.kind.lower()


RESOURCES: Final[Mapping[str, Described]] = {
    one.name: one
    for one in (
        Described(kind=POD, plural="pods"),
        Described(kind=SERVICE, plural="services"),
        Described(kind="Deployment", plural="deployments", group="apps"),
        Described(kind="StatefulSet", plural="statefulsets", group="apps"),
        Described(kind="DaemonSet", plural="daemonsets", group="apps"),
        Described(kind="ReplicaSet", plural="replicasets", group="apps"),
        Described(kind="ReplicationController", plural="replicationcontrollers"),
        Described(kind="Job", plural="jobs", group="batch"),
        Described(kind=TRAFFIC_SPLIT, plural="trafficsplits", group="split.smi-spec.io", version="v1alpha4"),
        Described(kind=NAMESPACE, plural="namespaces", namespaced=False),
        Described(kind=NODE, plural="nodes", namespaced=False),
    )
}
"""Of ``custom.metrics.k8s.io``, by name."""

LABELLED: Final = tuple(one for one in RESOURCES.values() if one.namespaced and one.kind != TRAFFIC_SPLIT)
"""Of ``external.metrics.k8s.io``, by label."""


def group(name: str) -> Body:
    """An APIGroup."""
    versions = [{"groupVersion": f"{name}/{version}", "version": version} for version in VERSIONS[name]]
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": name,
        "versions": versions,
        "preferredVersion": versions[0],
    }


def resources(name: str, version: str) -> Body:
    """The APIResourceList of a group's version."""
    entries = [(metric, True) for metric in METRICS] if name == EXTERNAL else list(_subresources())
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{name}/{version}",
        "resources": [
            {"name": entry, "singularName": "", "namespaced": namespaced, "kind": VALUES[name], "verbs": ["get"]}
            for entry, namespaced in entries
        ],
    }


def _subresources() -> Iterable[tuple[str, bool]]:
    for one in RESOURCES.values():
        for metric in METRICS:
            yield (f"metrics/{metric}" if one.kind == NAMESPACE else f"{one.name}/{metric}"), one.namespaced


def discovered(name: str) -> Body:
    """The group as an item of an ``apidiscovery.k8s.io/v2`` APIGroupDiscoveryList."""
    versions = [
        {
            "version": version,
            "freshness": "Current",
            "resources": _external(version) if name == EXTERNAL else _custom(version),
        }
        for version in VERSIONS[name]
    ]
    return {"metadata": {"name": name}, "versions": versions}


def _external(version: str) -> list[Body]:
    response = {"group": EXTERNAL, "version": version, "kind": VALUES[EXTERNAL]}
    return [
        {"resource": metric, "responseKind": response, "scope": "Namespaced", "singularResource": "", "verbs": ["get"]}
        for metric in METRICS
    ]


def _custom(version: str) -> list[Body]:
    """The resources themselves cannot be read here, so they have no verb, and an empty Kind: clients want one."""
    response = {"group": CUSTOM, "version": version, "kind": VALUES[CUSTOM]}
    metrics = [{"subresource": metric, "responseKind": response, "verbs": ["get"]} for metric in METRICS]
    return [
        {
            "resource": "metrics" if one.kind == NAMESPACE else one.name,
            "responseKind": {"group": "", "version": "", "kind": ""},
            "scope": "Namespaced" if one.namespaced else "Cluster",
            "singularResource": "",
            "verbs": [],
            "subresources": metrics,
        }
        for one in RESOURCES.values()
    ]
