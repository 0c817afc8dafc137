"""Items as clients get them: TrafficMetrics objects, lists, and kubectl's tables. Pure.

Percentiles are in milliseconds, as Quantities, at most 1 % off (merged histograms); counts are whole and exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from translator.metricsapi.asked import Asked
from translator.metricsapi.items import Item, chosen
from translator.metricsapi.kinds import GROUP, KIND, LIST
from translator.resources import Resource

Body = dict[str, Any]

LATENCIES: Final = (("p99_response_latency", 0.99), ("p90_response_latency", 0.90), ("p50_response_latency", 0.50))

PARTIAL: Final = "smi-mesh.io/partial"
"""Annotation of an answer in which some controller's numbers are missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When, how much is looked back (as asked), and of how many seconds the numbers really are."""

    version: str
    timestamp: str
    window: str
    seconds: float
    partial: str = ""
    listing: str = ""
    """Under which name a list's further pages are asked for (``translator.metricsapi.pages``)."""

    @property
    def api_version(self) -> str:
        """``group/version``."""
        return f"{GROUP}/{self.version}"


def answer_of(found: Sequence[Item], wanted: Asked, moment: Moment, *, table: bool) -> Body:
    """What is answered: one object, or those of a list that its selectors and its page have; or the table of these.

    ``found`` is what the asker may see of ``translator.metricsapi.items.items``.
    """
    if wanted.name and not wanted.edges:
        body = item_of(found[0], moment)
        return table_of([(found[0], body)], moment, wanted.include, 0, 0) if table else body
    matching = chosen(found, wanted)
    page = matching[wanted.skip : wanted.skip + wanted.limit]
    after = wanted.skip + len(page)
    # A page that begins behind the end, since the list became shorter, is the last one.
    rest = max(0, len(matching) - after)
    bodies = [item_of(item, moment) for item in page]
    if table:
        return table_of(zip(page, bodies, strict=True), moment, wanted.include, rest, after)
    return list_of(bodies, moment, rest, after)


def item_of(item: Item, moment: Moment) -> Body:
    """One TrafficMetrics."""
    meta: Body = {"name": item.name}
    if item.resource.namespace:
        meta["namespace"] = item.resource.namespace
    meta["creationTimestamp"] = moment.timestamp
    if item.labels:
        meta["labels"] = dict(sorted(item.labels.items()))
    if moment.partial:
        meta["annotations"] = {PARTIAL: moment.partial}
    peer, backend = item.peer, item.backend
    return {
        "kind": KIND,
        "apiVersion": moment.api_version,
        "metadata": meta,
        "timestamp": moment.timestamp,
        "window": moment.window,
        "resource": _reference(item.resource),
        "edge": {
            "direction": item.direction,
            "side": item.side,
            "resource": _reference(peer) if peer is not None else None,
        },
        "backend": {"apex": backend.apex, "name": backend.name, "weight": _number(backend.weight)}
        if backend is not None
        else None,
        "metrics": _metrics(item),
    }


def list_of(found: Sequence[Body], moment: Moment, rest: int, after: int) -> Body:
    """A TrafficMetricsList; of what did not fit ``rest`` items are left, from ``after`` on."""
    return {
        "kind": LIST,
        "apiVersion": moment.api_version,
        "metadata": _list_meta(moment, rest, after),
        "items": list(found),
    }


def _list_meta(moment: Moment, rest: int, after: int) -> Body:
    meta: Body = {"resourceVersion": "0"}
    if rest:
        meta |= {"continue": f"{after}.{moment.listing}" if moment.listing else str(after), "remainingItemCount": rest}
    if moment.partial:
        meta["annotations"] = {PARTIAL: moment.partial}
    return meta


def _metrics(item: Item) -> list[Body]:
    """In this order: there are clients that take them by their position."""
    counted = item.counted
    found: list[Body] = [
        {"name": name, "unit": "ms", "value": "0" if seconds is None else quantity(seconds * 1000)}
        for (name, _), seconds in zip(LATENCIES, counted.percentiles([share for _, share in LATENCIES]), strict=True)
    ]
    found += [
        {"name": "success_count", "value": str(counted.successes)},
        {"name": "failure_count", "value": str(counted.failures)},
    ]
    return found


def quantity(value: float) -> str:
    """A resource.Quantity in its canonical form: ``12``, ``12345m``, ``5017u``. What is not zero never becomes it.

    Below 10 it has six decimals, else three: the value may be 0.995 % off already, and 1 % is the most.
    """
    millionths = round(value * 1e6) if value < 10 else round(value * 1e3) * 1000
    if millionths == 0 and value > 0:
        millionths = 1
    for size, suffix in ((10**6, ""), (10**3, "m")):
        if millionths % size == 0:
            return f"{millionths // size}{suffix}"
    return f"{millionths}u"


def _number(weight: str) -> int | str | None:
    """A whole weight as a number; a v1alpha1 quantity as it is written."""
    if weight.isdigit():
        return int(weight)
    return weight or None


def _reference(resource: Resource) -> Body:
    return {"kind": resource.kind, "namespace": resource.namespace, "name": resource.name}


COLUMNS: Final = (
    ("Name", "string", "name", 0, "Name of what was measured."),
    ("Direction", "string", "", 0, "from: requests received; to: requests sent."),
    ("Success", "string", "", 0, "Share of answers with a status below 500."),
    ("RPS", "string", "", 0, "Requests a second within the window."),
    ("P50", "string", "", 0, "Median of the time to answer."),
    ("P99", "string", "", 0, "99th percentile of the time to answer."),
    ("Edge", "string", "", 1, "The other end, where only the traffic with it is meant; or the backend."),
    ("Side", "string", "", 1, "Whose sidecar counted."),
    ("Window", "string", "", 1, "How far the numbers reach back."),
)


def table_of(found: Iterable[tuple[Item, Body]], moment: Moment, include: str, rest: int, after: int) -> Body:
    """A meta.k8s.io/v1 Table. ``include`` says how much of each object goes with its row."""
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": _list_meta(moment, rest, after),
        "columnDefinitions": [
            {"name": name, "type": kind, "format": form, "description": about, "priority": priority}
            for name, kind, form, priority, about in COLUMNS
        ],
        "rows": [_row(item, body, moment, include) for item, body in found],
    }


def _row(item: Item, body: Body, moment: Moment, include: str) -> Body:
    counted = item.counted
    requests = counted.requests
    cells = [
        item.name,
        item.direction,
        f"{counted.successes / requests:.2%}" if requests else "-",
        f"{requests / moment.seconds:.1f}" if requests else "-",
        *map(_time, counted.percentiles((0.50, 0.99))),
        _edge(body),
        item.side,
        moment.window,
    ]
    row: Body = {"cells": cells}
    if include == "Object":
        row["object"] = body
    elif include == "Metadata":
        row["object"] = {
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": body["metadata"],
        }
    return row


def _edge(body: Body) -> str:
    peer, backend = body["edge"]["resource"], body["backend"]
    if peer is not None:
        where = f"{peer['namespace']}/" if peer["namespace"] else ""
        return f"{peer['kind'].lower()}/{where}{peer['name']}"
    if backend is not None:
        weight = "" if backend["weight"] is None else f"={backend['weight']}"
        return f"{backend['apex']}: {backend['name']}{weight}"
    return "-"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    ms = seconds * 1000
    return f"{ms / 1000:.1f}s" if ms >= 9999.5 else f"{ms:.{2 if ms < 9.995 else 1 if ms < 99.95 else 0}f}ms"
