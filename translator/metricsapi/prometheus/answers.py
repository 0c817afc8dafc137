"""What Prometheus answers, read strictly, and the counts that are in it. Pure.

Counters were read at some moments, so what they grew by is estimated (``increase``): counts are rounded to whole ones.
Times are known by bucket; within one they are taken to be spread evenly, as ``histogram_quantile`` takes them, so a
percentile is off by the width of its bucket at most (of what took 10 to 20 ms by 10 ms; beyond 50 s it is 50 s).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Final, Literal, get_args

import msgspec
from msgspec import Struct

from proxy.contract.report import Labels, Tls, bucket_of, pack
from smi.meta import Meta
from smi.workloads import Pod
from translator.metricsapi.prometheus.queries import OWNERS, Direction
from translator.resources import TEMPLATE_HASH, WORKLOADS
from translator.traffic import Entry

PLACES: Final = 50
"""Times within one bucket that are told apart: a fiftieth of its width."""


class BadAnswer(ValueError):
    """It is not one of Prometheus' API."""


class Sample(Struct, frozen=True):
    """One element of an instant vector: its labels, and a moment with the value as text."""

    metric: dict[str, str]
    value: tuple[float, str]

    @property
    def count(self) -> float:
        """The value. Raises ``BadAnswer`` if it is no count."""
        try:
            count = float(self.value[1])
        except ValueError:
            count = math.nan
        if not 0 <= count < 1e15:
            raise BadAnswer("a value is no count")
        return count


class _Data(Struct, frozen=True):
    result_type: Literal["vector"] = msgspec.field(name="resultType")
    result: list[Sample]


class _Answer(Struct, frozen=True):
    status: Literal["success"]
    data: _Data
    warnings: list[str] = []


class _Failure(Struct, frozen=True):
    error_type: str = msgspec.field(name="errorType")
    error: str = ""


class Vector(Struct, frozen=True):
    """``complete``: it came without a warning, as Thanos gives one when a store did not answer."""

    samples: list[Sample]
    complete: bool


_answer = msgspec.json.Decoder(_Answer)
_failure = msgspec.json.Decoder(_Failure)


def vector(body: bytes) -> Vector:
    """An instant vector (``/api/v1/query``). Raises ``BadAnswer``."""
    try:
        read = _answer.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadAnswer("it is not an instant vector of Prometheus' API") from error
    return Vector(read.data.result, not read.warnings)


def trouble(body: bytes) -> tuple[str, str]:
    """Type and text of an error; empty where there are none to read."""
    try:
        read = _failure.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "", ""
    return read.error_type, read.error


Key = tuple[tuple[str, str], ...]


def entries(direction: Direction, answers: Iterable[Sample], times: Iterable[Sample]) -> list[Entry]:
    """What sidecars counted, as if they had reported it. Raises ``BadAnswer``."""
    counts: dict[Key, list[float]] = {}
    for sample in answers:
        failure = sample.metric.get("classification") == "failure"
        counts.setdefault(_key(sample, "classification"), [0.0, 0.0])[failure] += sample.count
    buckets: dict[Key, dict[float, float]] = {}
    for sample in times:
        bounds = buckets.setdefault(_key(sample, "le"), {})
        bound = _bound(sample)
        bounds[bound] = bounds.get(bound, 0.0) + sample.count
    found = []
    for key, (ok, failed) in counts.items():
        successes, failures = round(ok), round(failed)
        if successes + failures:
            histogram = spread(buckets.get(key, {}), successes + failures)
            labels = dict(key)
            cell = pack([0, successes, 0, 0, failures], 0, histogram)
            found.append(Entry(_pod(labels, ""), _labels(direction, labels), [cell]))
    return found


def _key(sample: Sample, without: str) -> Key:
    return tuple(sorted((label, value) for label, value in sample.metric.items() if label != without))


def _bound(sample: Sample) -> float:
    try:
        bound = float(sample.metric.get("le", ""))
    except ValueError:
        bound = math.nan
    if not bound > 0:
        raise BadAnswer("a bucket has no bound")
    return bound


def spread(bounds: Mapping[float, float], requests: int) -> dict[int, int]:
    """A histogram (``proxy.contract.report``) of so many requests, out of cumulative counts by bound in ms.

    Each bucket was estimated by itself, so one may have less than the one below: then as much.
    """
    steps: list[tuple[float, float]] = [(0.0, 0.0)]
    for bound, count in sorted(bounds.items()):
        steps.append((bound, max(count, steps[-1][1])))
    total = steps[-1][1]
    histogram: dict[int, int] = {}
    for (low, below), (high, upto) in pairwise(steps):
        # Rounded at each bound, so that all of them together are all requests.
        inside = round(upto * requests / total) - round(below * requests / total) if upto > below else 0
        for ms, count in _placed(low, high if math.isfinite(high) else low, inside):
            bucket = bucket_of(ms / 1000)
            histogram[bucket] = histogram.get(bucket, 0) + count
    return histogram


def _placed(low: float, high: float, requests: int) -> Iterable[tuple[float, int]]:
    """Requests spread evenly: at which time how many."""
    places = min(requests, PLACES)
    for place in range(places):
        count = (place + 1) * requests // places - place * requests // places
        yield low + (high - low) * (place + 0.5) / places, count


def _labels(direction: Direction, said: Mapping[str, str]) -> Labels:
    tls: Tls = next((one for one in get_args(Tls) if one == said.get("tls")), "")
    if direction == "inbound":
        return Labels(direction=direction, peer=said.get("client_id", ""), tls=tls)
    namespace, service, split = (said.get(label, "") for label in ("dst_namespace", "dst_service", "split"))
    asked = said.get("apex", "") or service
    return Labels(
        direction=direction,
        destination=f"{namespace}/{asked}:{said.get('dst_port', '')}" if namespace and asked else "",
        backend=f"{namespace}/{service}" if split else "",
        split=f"{namespace}/{split}" if split else "",
        pod=_pod(said, "dst_"),
        tls=tls,
    )


def _pod(said: Mapping[str, str], prefix: str) -> str:
    """``namespace/pod``; an endpoint that is no pod has an address instead."""
    name = said.get(f"{prefix}pod", "")
    return name if ":" in name or not name else f"{said.get(f'{prefix}namespace', '')}/{name}"


def departed(samples: Iterable[Sample], known: Mapping[str, Pod]) -> dict[str, Pod]:
    """The pods of ``samples`` that nobody knows any more, as far as labels tell: Prometheus remembers for longer.

    What the workload's known pods have in common such a pod is taken to have had, too.
    """
    labels: dict[tuple[str, str, str], Mapping[str, str]] = {}
    for pod in known.values():
        labels.setdefault((pod.meta.namespace, pod.workload_kind, pod.workload), pod.meta.labels)
    found: dict[str, Pod] = {}
    for sample in samples:
        for prefix, kinds in (("", OWNERS), ("dst_", WORKLOADS)):
            key = _pod(sample.metric, prefix)
            namespace, slash, name = key.partition("/")
            if not slash or key in known or key in found:
                continue
            kind = next((one for one in kinds if sample.metric.get(f"{prefix}{one.lower()}")), "")
            workload = sample.metric.get(f"{prefix}{kind.lower()}", "") if kind else ""
            theirs = labels.get((namespace, kind, workload), {}) if kind else {}
            shared = {label: value for label, value in theirs.items() if label != TEMPLATE_HASH}
            meta = Meta(name=name, namespace=namespace, labels=shared)
            found[key] = Pod(meta=meta, ip="", workload=workload, workload_kind=kind)
    return found
