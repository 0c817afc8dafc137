"""What the sidecar counts: requests by direction, destination and status, and how long they took.

A series is looked up when a request is routed and added to when it ends, so
the path of a request pays two dictionary operations. The number of series is
bounded; what does not fit is counted in one overflow series. ``prometheus``
renders the names that Linkerd's proxies made common.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Final, NamedTuple

from proxy.errors import Reason

# Distinct label sets kept; peers and routes are few, anything beyond is an attack or a mistake.
MAX_SERIES: Final = 2000
# Buckets grow by 2 %, so a value read back is at most 1 % off.
GROWTH: Final = math.log(1.02)
# Upper bounds in milliseconds of the exported histogram (Linkerd's).
BOUNDS: Final = tuple(float(digit * scale) for scale in (1, 10, 100, 1000, 10000) for digit in (1, 2, 3, 4, 5))


class Labels(NamedTuple):
    """What tells series apart. ``destination`` is ``namespace/service:port`` or the container port."""

    direction: str
    destination: str
    backend: str = ""
    peer: str = ""


OVERFLOW: Final = "overflow"


class Series:
    """One label set: requests that ended, by status, and a log-linear histogram of seconds."""

    __slots__ = ("by_status", "histogram", "seconds")

    def __init__(self) -> None:
        self.by_status: defaultdict[int, int] = defaultdict(int)
        self.histogram: defaultdict[int, int] = defaultdict(int)
        self.seconds = 0.0

    def add(self, status: int, seconds: float) -> None:
        """Count one request that ended with HTTP ``status`` after ``seconds``."""
        self.by_status[status] += 1
        self.histogram[int(math.log(seconds * 1e6) / GROWTH) if seconds > 1e-6 else 0] += 1
        self.seconds += seconds

    @property
    def requests(self) -> int:
        """How many ended."""
        return sum(self.by_status.values())


def bucket_value(bucket: int) -> float:
    """The middle of a histogram bucket in seconds."""
    return math.exp((bucket + 0.5) * GROWTH) / 1e6


class Counters:
    """All series of one sidecar."""

    def __init__(self) -> None:
        self._series: dict[Labels, Series] = {}
        self._refusals: dict[tuple[str, str], int] = {}
        self._audited: dict[tuple[str, str], int] = {}

    def series(self, labels: Labels) -> Series:
        """The series of ``labels``, made on first sight; the overflow series once there are too many."""
        found = self._series.get(labels)
        if found is None:
            if len(self._series) >= MAX_SERIES:
                labels = Labels(labels.direction, OVERFLOW)
                found = self._series.get(labels)
            if found is None:
                found = self._series[labels] = Series()
        return found

    def refused(self, direction: str, reason: Reason) -> None:
        """Count an answer of the sidecar's own."""
        key = (direction, reason.value)
        self._refusals[key] = self._refusals.get(key, 0) + 1

    def audited(self, caller: str, port: int) -> None:
        """Count a request that audit mode let in and policy would refuse."""
        key = (caller, str(port))
        if key not in self._audited and len(self._audited) >= MAX_SERIES:
            key = ("", OVERFLOW)
        self._audited[key] = self._audited.get(key, 0) + 1

    def items(self) -> list[tuple[Labels, Series]]:
        """All series."""
        return list(self._series.items())

    def prometheus(self) -> str:
        """The Prometheus text exposition."""
        return "\n".join((*self._request_lines(), *self._refusal_lines(), *self._audit_lines(), ""))

    def _request_lines(self) -> Iterator[str]:
        yield "# TYPE response_total counter"
        for labels, series in self._series.items():
            for status, count in sorted(series.by_status.items()):
                kind = "success" if status < 500 else "failure"
                yield f'response_total{{{_text(labels)},status_code="{status}",classification="{kind}"}} {count}'
        yield "# TYPE response_latency_ms histogram"
        for labels, series in self._series.items():
            text = _text(labels)
            counted = 0
            pending = sorted(series.histogram.items())
            position = 0
            for bound in BOUNDS:
                while position < len(pending) and bucket_value(pending[position][0]) * 1000.0 <= bound:
                    counted += pending[position][1]
                    position += 1
                yield f'response_latency_ms_bucket{{{text},le="{bound:g}"}} {counted}'
            yield f'response_latency_ms_bucket{{{text},le="+Inf"}} {series.requests}'
            yield f"response_latency_ms_count{{{text}}} {series.requests}"
            yield f"response_latency_ms_sum{{{text}}} {series.seconds * 1000.0:.3f}"

    def _refusal_lines(self) -> Iterator[str]:
        yield "# TYPE smi_mesh_refused_total counter"
        for (direction, reason), count in sorted(self._refusals.items()):
            yield f'smi_mesh_refused_total{{direction="{direction}",reason="{reason}"}} {count}'

    def _audit_lines(self) -> Iterator[str]:
        yield "# TYPE smi_mesh_audit_total counter"
        for (caller, port), count in sorted(self._audited.items()):
            tls = "true" if caller else "no_identity"
            yield f'smi_mesh_audit_total{{target_port="{port}",tls="{tls}",client_id="{_escape(caller)}"}} {count}'


def _text(labels: Labels) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in labels._asdict().items())


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
