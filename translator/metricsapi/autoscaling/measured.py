"""The numbers of metrics out of what was counted. Pure.

What counts is what TrafficMetrics count: requests received, of a pod or workload by its own sidecars, of a Service or a
TrafficSplit by the callers'. The groups of counts are ``translator.metricsapi.items``', so both APIs say the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from translator.metricsapi.asked import asked
from translator.metricsapi.autoscaling.groups import (
    LABELLED,
    P99_LATENCY_MS,
    REQUESTS_PER_SECOND,
    RESOURCES,
    Described,
)
from translator.metricsapi.autoscaling.wanted import ALL, Metric
from translator.metricsapi.items import Item, chosen, items
from translator.metricsapi.selectors import label_selector
from translator.metricsapi.status import Refused
from translator.observed import Observed
from translator.resources import SERVICE, TRAFFIC_SPLIT, Resource, of_pod
from translator.traffic import Totals


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One number: requests per second, milliseconds, or a share from 0 to 1. ``labels`` only of an external one."""

    resource: Resource
    value: float
    labels: Mapping[str, str]


def values(observed: Observed, wanted: Metric) -> list[Value]:
    """What is asked, by name. Raises ``Refused``: there is no such object, or its metric has no value."""
    if wanted.resource is None:
        return _external(observed, wanted)
    found = [
        Value(resource=item.resource, value=number, labels={})
        for item in _items(observed, wanted.resource, wanted)
        if (number := number_of(item.counted, observed.seconds, wanted.metric)) is not None
    ]
    if not found and wanted.name != ALL:
        raise not_found(wanted)
    return found


def number_of(counted: Totals, seconds: float, metric: str) -> float | None:
    """The rate and the time of no requests are 0; no share of them succeeded or failed, so that is None."""
    requests = counted.requests
    if metric == REQUESTS_PER_SECOND:
        return requests / seconds if seconds > 0 else 0.0
    if metric == P99_LATENCY_MS:
        return (counted.percentile(0.99) or 0.0) * 1000
    return counted.successes / requests if requests else None


def not_found(wanted: Metric) -> Refused:
    """As other servers of these APIs say it."""
    kind = wanted.resource.name if wanted.resource is not None else "external metrics"
    details = {"name": wanted.name, "group": "custom.metrics.k8s.io", "kind": kind}
    return Refused(404, f"the server could not find the metric {wanted.metric} for {kind} {wanted.name}", details)


def _items(observed: Observed, resource: Described, wanted: Metric) -> list[Item]:
    place = (resource.plural,) if not resource.namespaced else ("namespaces", wanted.namespace, resource.plural)
    if wanted.name != ALL:
        try:
            return _countable(observed, resource, items(observed, asked((*place, wanted.name), {})))
        except Refused as refused:
            if refused.code == 404:
                raise not_found(wanted) from refused
            raise
    if resource.kind == TRAFFIC_SPLIT:
        # A list would have the backends; whole splits are read one by one.
        within = [split for split in observed.world.objects.splits.values() if split.meta.namespace == wanted.namespace]
        matches = label_selector(wanted.selector)
        names = sorted(split.meta.name for split in within if matches(split.meta.labels))
        return [item for name in names for item in items(observed, asked((*place, name), {}))]
    question = asked(place, {"labelSelector": wanted.selector})
    return _countable(observed, resource, chosen(items(observed, question), question))


def _countable(observed: Observed, resource: Described, found: Iterable[Item]) -> list[Item]:
    """Without what has no sidecar that counts: an autoscaler would take its 0 for the truth, and scale down."""
    if resource.kind in (SERVICE, TRAFFIC_SPLIT):
        return list(found)
    meshed = {of_pod(pod, resource.kind) for pod in observed.world.pods if pod.meshed}
    return [item for item in found if item.resource in meshed]


def _external(observed: Observed, wanted: Metric) -> list[Value]:
    """At most one: an autoscaler adds values up, and times that are added up mean nothing, so counts are."""
    matches = label_selector(wanted.selector)
    found: list[tuple[dict[str, str], Item]] = []
    kinds: set[str] = set()
    for resource in LABELLED:
        every = Metric(metric=wanted.metric, namespace=wanted.namespace, resource=resource, name=ALL)
        for item in _items(observed, RESOURCES[resource.name], every):
            labels = {"namespace": item.resource.namespace, resource.label: item.resource.name}
            if matches(labels):
                kinds.add(resource.label)
                found.append((labels, item))
    if len(kinds) > 1:
        known = ", ".join(resource.label for resource in LABELLED)
        raise Refused(400, f"labelSelector: must say of what, like deployment=web, by one of {known}")
    number = number_of(_together(item.counted for _, item in found), observed.seconds, wanted.metric)
    if not found or number is None:
        return []
    common = dict(frozenset.intersection(*(frozenset(labels.items()) for labels, _ in found)))
    return [Value(resource=found[0][1].resource, value=number, labels=dict(sorted(common.items())))]


def _together(counted: Iterable[Totals]) -> Totals:
    result = Totals()
    for one in counted:
        result.add(one.packed())
    return result
