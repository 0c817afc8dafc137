"""What Prometheus is asked for a request: PromQL, as narrow as what is asked. Pure.

A query may give more than is meant: ``translator.metricsapi.items`` picks what belongs to the answer. It never gives
less. The labels are those of ``proxy.prometheus``. Neighbour: ``answers``, which reads what comes back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from smi.workloads import Pod
from translator.metricsapi.asked import Asked
from translator.metricsapi.items import kind_and_name
from translator.resources import NAMESPACE, NODE, POD, SERVICE, TRAFFIC_SPLIT, WORKLOADS, Resource, of_pod

ANSWERS: Final = "response_total"
TIMES: Final = "response_latency_ms_bucket"
PAGES: Final = "smi_mesh_control_connected"
"""A gauge that every sidecar's page has: how often it is there says how often the page was read."""

BY_CALLERS: Final = (SERVICE, TRAFFIC_SPLIT)
"""Counted by who calls them, since only callers know the name."""

# Without "job": Prometheus gives that label to all that it reads, so it says nothing of whose pod it is.
OWNERS: Final = tuple(kind for kind in WORKLOADS if kind != "Job")
_OWN: Final = ("namespace", "pod", *(kind.lower() for kind in OWNERS))
_CALLER: Final = ("client_id", "tls")
_CALLED: Final = ("dst_namespace", "dst_service", "dst_port", "apex", "split")
_ENDPOINT: Final = ("dst_namespace", "dst_pod", *(f"dst_{kind.lower()}" for kind in WORKLOADS))

Direction = Literal["inbound", "outbound"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Series of one direction that are wanted: those that one of ``matching`` selects, added up ``by`` labels."""

    direction: Direction
    matching: tuple[str, ...]
    by: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``sides`` to be asked about the last ``seconds``; ``counting``: the sidecars that should have counted."""

    sides: tuple[Side, ...]
    counting: Resource | None
    """Whose sidecars; None: all."""
    matching: tuple[str, ...]
    """The same, as Prometheus selects them; empty: there are none, and nothing is asked."""
    seconds: float


def plan(asked: Asked, pods: Iterable[Pod]) -> Plan:
    """What to ask; ``pods`` are those that are known, for what Prometheus' labels do not say: nodes, ReplicaSets."""
    kind, name = asked.kind, asked.name
    if not kind.measured and name:
        kind, name = kind_and_name(name)
    found = Resource(kind.measured, asked.namespace, name)
    if found.kind in BY_CALLERS:
        by = (*_OWN, *_CALLED) if asked.edges else _CALLED
        asked_for = Side(direction="outbound", matching=_called(found), by=by)
        return Plan(sides=(asked_for,), counting=None, matching=("",), seconds=asked.seconds)
    own = _own(found, pods)
    inbound = Side(direction="inbound", matching=own, by=(*_OWN, *_CALLER) if asked.edges else _OWN)
    sides: tuple[Side, ...] = (inbound,)
    if asked.edges:
        sides = (inbound, Side(direction="outbound", matching=own, by=(*_OWN, *_ENDPOINT)))
    elif not found.kind:
        # Everything that has a namespace: what its pods received, and what its Services were asked.
        called = Side(direction="outbound", matching=_called(found), by=_CALLED)
        return Plan(sides=(inbound, called), counting=None, matching=("",), seconds=asked.seconds)
    if not own:
        # A node on which nobody knows a pod.
        sides = ()
    return Plan(sides=sides, counting=found, matching=own, seconds=asked.seconds)


def answers_query(side: Side, seconds: float) -> str:
    """Answers by ``side.by`` and classification."""
    return _increase(ANSWERS, side, "classification", seconds)


def times_query(side: Side, seconds: float) -> str:
    """Cumulative counts by ``side.by`` and bucket. What nothing was added to does not come back."""
    return _increase(TIMES, side, "le", seconds)


def pages_query(matching: Iterable[str], seconds: float) -> str:
    """The pods whose page was read twice at least, as it takes to see anything grow."""
    counted = " or ".join(f"count_over_time({PAGES}{{{one}}}[{_duration(seconds)}])" for one in matching)
    return f"max by (namespace, pod) ({counted}) >= 2"


def _increase(metric: str, side: Side, more: str, seconds: float) -> str:
    window = _duration(seconds)
    direction = equal("direction", side.direction)
    selected = (f"{metric}{{{_all(direction, one)}}}" for one in side.matching)
    # A series that two of them select is there once: `or` takes a set of labels from the left, else from the right.
    summed = " or ".join(f"increase({one}[{window}])" for one in selected)
    return f"sum by ({', '.join((*side.by, more))}) ({summed}) > 0"


def _own(found: Resource, pods: Iterable[Pod]) -> tuple[str, ...]:
    """Whose sidecars count what ``found`` received or sent. Empty: nobody's."""
    if found.kind == NAMESPACE:
        return (equal("namespace", found.name) if found.name else "",)
    place = equal("namespace", found.namespace) if found.namespace else ""
    if not found.name or not found.kind:
        return (place,)
    if found.kind == POD:
        return (_all(place, equal("pod", found.name)),)
    ways = [] if found.kind == NODE else [_all(place, equal(found.kind.lower(), found.name))]
    if found.kind in (NODE, "ReplicaSet"):
        members = {pod.meta.name for pod in pods if of_pod(pod, found.kind) == found}
        ways += [_all(place, one_of("pod", members))] if members else []
    return tuple(ways)


def _called(found: Resource) -> tuple[str, ...]:
    """Calls of Services in the namespace of ``found``, or of it alone. A split's backends are in its own namespace."""
    place = equal("dst_namespace", found.namespace) if found.namespace else ""
    if found.kind == TRAFFIC_SPLIT:
        return (_all(place, _split(found.name) if found.name else 'split!=""'),)
    if found.kind == SERVICE and found.name:
        return tuple(_all(place, equal(label, found.name)) for label in ("dst_service", "apex"))
    return (place,)


def _split(name: str) -> str:
    """A split, or one backend's item, ``<split>.<backend>``; both may have dots in their names."""
    parts = name.split(".")
    names = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return one_of("split", names) if len(names) > 1 else equal("split", name)


def equal(label: str, value: str) -> str:
    """A matcher for one value, whatever is in it."""
    return f"{label}={quoted(value)}"


def one_of(label: str, values: Iterable[str]) -> str:
    """A matcher for several."""
    return f"{label}=~{quoted('|'.join(re.escape(value) for value in sorted(values)))}"


def quoted(text: str) -> str:
    """A string literal (PromQL takes Go's escapes): what is a name ends nothing but itself."""
    return '"' + "".join(_ESCAPED.get(letter) or letter for letter in text) + '"'


_ESCAPED: Final[Mapping[str, str]] = {"\\": "\\\\", '"': '\\"'} | {
    chr(code): f"\\x{code:02x}" for code in (*range(0x20), 0x7F)
}


def _all(*matchers: str) -> str:
    return ",".join(filter(None, matchers))


def _duration(seconds: float) -> str:
    """Whole seconds, or milliseconds, which is as fine as Prometheus looks."""
    ms = max(1, round(seconds * 1000))
    return f"{ms // 1000}s" if ms % 1000 == 0 else f"{ms}ms"
