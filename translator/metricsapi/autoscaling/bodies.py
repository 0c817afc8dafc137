"""Answers as clients get them: MetricValueList and ExternalMetricValueList. Pure. Values are Quantities."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from translator.metricsapi.autoscaling.groups import CUSTOM, EXTERNAL, VALUES
from translator.metricsapi.autoscaling.measured import Value
from translator.metricsapi.autoscaling.wanted import Metric
from translator.metricsapi.bodies import quantity

Body = dict[str, Any]


def list_of(found: Iterable[Value], wanted: Metric, version: str, timestamp: str, seconds: float) -> Body:
    """``seconds``: how far the numbers reach back, ``timestamp`` (RFC 3339) from when."""
    group = EXTERNAL if wanted.resource is None else CUSTOM
    item = _external if wanted.resource is None else _described
    times = timestamp, max(1, round(seconds))
    return {
        "kind": VALUES[group],
        "apiVersion": f"{group}/{version}",
        "metadata": {},
        "items": [item(value, wanted, version, *times) for value in found],
    }


def _described(value: Value, wanted: Metric, version: str, timestamp: str, window: int) -> Body:
    assert wanted.resource is not None
    described: Body = {"kind": wanted.resource.kind}
    if value.resource.namespace:
        described["namespace"] = value.resource.namespace
    described |= {"name": value.resource.name, "apiVersion": wanted.resource.api_version}
    if version == "v1beta1":
        named: Body = {"metricName": wanted.metric}
        spans: Body = {"timestamp": timestamp, "window": window}
    else:
        named = {"metric": {"name": wanted.metric, "selector": None}}
        spans = {"timestamp": timestamp, "windowSeconds": window}
    found = {"describedObject": described, **named, **spans, "value": quantity(value.value)}
    return found | {"selector": None} if version == "v1beta1" else found


def _external(value: Value, wanted: Metric, _: str, timestamp: str, window: int) -> Body:
    return {
        "metricName": wanted.metric,
        "metricLabels": dict(value.labels),
        "timestamp": timestamp,
        "window": window,
        "value": quantity(value.value),
    }
