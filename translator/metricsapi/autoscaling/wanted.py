"""What a request for a metric asks for: path and query, read strictly. Pure.

custom      /namespaces/NS/RESOURCE/NAME/METRIC   /namespaces/NS/metrics/METRIC (of NS itself)   /nodes/NAME/METRIC
external    /namespaces/NS/METRIC

A NAME of ``*`` is all that ``labelSelector`` lets through.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from translator.metricsapi.autoscaling.groups import CUSTOM, METRICS, RESOURCES, Described
from translator.metricsapi.status import Refused

ALL: Final = "*"

_NAME = re.compile(r"\*|[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")
_IGNORED = frozenset({"pretty", "timeout", "resourceVersion", "limit"})
_KNOWN: Final[Mapping[bool, frozenset[str]]] = {
    True: frozenset({"labelSelector", "metricLabelSelector"}),
    False: frozenset({"labelSelector"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """``resource`` is None for an external metric, ``name`` then empty, and ``selector`` about the metric's labels."""

    metric: str
    namespace: str
    resource: Described | None = None
    name: str = ""
    selector: str = ""


def wanted(group: str, segments: tuple[str, ...], query: Mapping[str, str]) -> Metric:
    """``segments`` are those of the path behind the version. Raises ``Refused``."""
    found = _custom(segments) if group == CUSTOM else _external(segments)
    for name in (found.namespace, found.name):
        if name and not _NAME.fullmatch(name):
            raise _nowhere(segments)
    if found.metric not in METRICS:
        raise Refused(404, f"there is no metric {found.metric[:64]!r}; there are {', '.join(METRICS)}")
    known = _KNOWN[group == CUSTOM]
    unknown = query.keys() - _IGNORED - known
    if unknown:
        raise Refused(400, f"{min(unknown)[:64]}: there is no such parameter; there are {', '.join(sorted(known))}")
    if query.get("metricLabelSelector"):
        raise Refused(400, "metricLabelSelector: these metrics have no labels to select by")
    selector = query.get("labelSelector", "")
    if selector and found.resource is not None and found.name != ALL:
        raise Refused(400, "labelSelector: one object is named; with * it says which are meant")
    return Metric(
        metric=found.metric,
        namespace=found.namespace,
        resource=found.resource,
        name=found.name,
        selector=selector,
    )


def _custom(segments: tuple[str, ...]) -> Metric:
    match segments:
        case ("namespaces", namespace, "metrics", metric):
            return Metric(metric=metric, namespace="", resource=RESOURCES["namespaces"], name=namespace)
        case ("namespaces", namespace, plural, name, metric) if plural in RESOURCES and RESOURCES[plural].namespaced:
            return Metric(metric=metric, namespace=_one(namespace), resource=RESOURCES[plural], name=name)
        case ("nodes", name, metric):
            return Metric(metric=metric, namespace="", resource=RESOURCES["nodes"], name=name)
        case _:
            raise _nowhere(segments)


def _external(segments: tuple[str, ...]) -> Metric:
    match segments:
        case ("namespaces", namespace, metric):
            return Metric(metric=metric, namespace=_one(namespace))
        case _:
            raise _nowhere(segments)


def _one(namespace: str) -> str:
    """Rights are per namespace, so no question is about several."""
    if namespace == ALL:
        raise Refused(400, "a namespace must be named; * is for objects")
    return namespace


def _nowhere(segments: tuple[str, ...]) -> Refused:
    return Refused(404, f"the server could not find the requested resource: {'/'.join(('', *segments))[:200]}")
