"""What the sidecar counts: requests by what they were about, how they ended and how long they took.

A series is looked up when a request is routed and added to when it ends, so
the path of a request pays two dictionary operations and a logarithm. A series
keeps two sets of counts: the totals since its beginning, which Prometheus
reads (``proxy.prometheus``), and those that no report has carried yet
(``proxy.reporting`` takes them).

The number of series is bounded; what does not fit is counted in one overflow
series for each direction. A series that nothing was added to for long is
forgotten. Who still holds it may add to it all the same: it then announces itself and is taken in again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from math import log
from typing import Final, NamedTuple

from proxy.contract.report import AT_SECOND, PER_LOG, STATUS_CLASSES, Labels, pack, size_of
from proxy.errors import Reason

# Distinct label sets kept; peers and routes are few, anything beyond is an attack or a mistake.
MAX_SERIES: Final = 2000
# Seconds after which a series that nothing is added to is forgotten: twice as long as any window looks back.
RETAIN_IDLE: Final = 1200.0
OVERFLOW: Final = "overflow"


class Totals(NamedTuple):
    """Everything one series has counted: requests by HTTP status, by bucket, and the sum of their seconds."""

    by_status: dict[int, int]
    histogram: dict[int, int]
    seconds: float

    @property
    def requests(self) -> int:
        """How many ended."""
        return sum(self.by_status.values())


class Series:
    """One label set. ``number`` stands for it in reports; ``by_status``, ``histogram`` and ``seconds`` are the
    counts that were not taken yet.
    """

    __slots__ = ("_announce", "_taken", "by_status", "histogram", "idle_since", "labels", "number", "seconds", "size")

    def __init__(self, labels: Labels, announce: Callable[[Series], None]) -> None:
        self.labels = labels
        self.size = size_of(labels)
        self.number = 0
        self.idle_since = 0.0
        self.by_status: defaultdict[int, int] = defaultdict(int)
        self.histogram: defaultdict[int, int] = defaultdict(int)
        self.seconds = 0.0
        self._announce = announce
        self._taken = Totals({}, {}, 0.0)

    def add(self, status: int, seconds: float) -> None:
        """Count one request that ended with HTTP ``status`` after ``seconds``."""
        histogram = self.histogram
        if not histogram:
            self._announce(self)
        self.by_status[status] += 1
        # As ``proxy.contract.report.bucket_of``, without the call.
        histogram[int(log(seconds) * PER_LOG + AT_SECOND) if seconds > 1e-6 else 0] += 1
        self.seconds += seconds

    @property
    def totals(self) -> Totals:
        """All that was ever added."""
        taken = self._taken
        if not self.histogram:
            return taken
        by_status = _sum(taken.by_status, self.by_status)
        return Totals(by_status, _sum(taken.histogram, self.histogram), taken.seconds + self.seconds)

    def take(self) -> bytes:
        """What was added since the last call, as a cell of a report."""
        classes = [0] * STATUS_CLASSES
        for status, count in self.by_status.items():
            classes[min(max(status // 100, 1), STATUS_CLASSES) - 1] += count
        cell = pack(classes, round(max(self.seconds, 0.0) * 1e6), self.histogram)
        self._taken = self.totals
        self.by_status.clear()
        self.histogram.clear()
        self.seconds = 0.0
        return cell

    def pour(self, other: Series) -> None:
        """Moves what was not taken yet into ``other``."""
        if self.histogram and not other.histogram:
            other._announce(other)
        for status, count in self.by_status.items():
            other.by_status[status] += count
        for bucket, count in self.histogram.items():
            other.histogram[bucket] += count
        other.seconds += self.seconds
        self.by_status.clear()
        self.histogram.clear()
        self.seconds = 0.0


class Counters:
    """All series of one sidecar."""

    def __init__(self) -> None:
        self._series: dict[Labels, Series] = {}
        self._changed: list[Series] = []
        self._numbers: list[int] = []
        self._refusals: dict[tuple[str, str], int] = {}

    def series(self, labels: Labels) -> Series:
        """The series of ``labels``, made on first sight; the overflow series once there are too many."""
        found = self._series.get(labels)
        if found is None:
            if len(self._series) >= MAX_SERIES:
                labels = Labels(direction=labels.direction, destination=OVERFLOW)
                found = self._series.get(labels)
            if found is None:
                found = Series(labels, self._changed.append)
                self._take_in(found)
        return found

    def _take_in(self, series: Series) -> None:
        series.number = self._numbers.pop() if self._numbers else len(self._series)
        self._series[series.labels] = series

    @property
    def changed(self) -> int:
        """How many series have something that was not taken yet."""
        return len(self._changed)

    def refused(self, direction: str, reason: Reason) -> None:
        """Count an answer of the sidecar's own."""
        key = (direction, reason.value)
        self._refusals[key] = self._refusals.get(key, 0) + 1

    def take(self, now: float, budget: int = 1 << 30) -> list[tuple[Series, bytes]]:
        """What was added since the last call, by series: cells and labels of so many bytes; the rest comes next."""
        for series in self._changed:
            known = self._series.get(series.labels)
            if known is None:
                self._take_in(series)
            elif known is not series:
                series.pour(known)  # which may announce it, and makes the loop longer by one
        changed = [series for series in self._changed if series.histogram]
        cells: list[tuple[Series, bytes]] = []
        for series in changed:
            if budget <= 0:
                break
            cell = series.take()
            series.idle_since = now
            cells.append((series, cell))
            budget -= len(cell) + series.size
        # In place: the series know this very list.
        self._changed[:] = changed[len(cells) :]
        return cells

    def forget_idle(self, now: float) -> None:
        """Drops the series that nothing was added to for ``RETAIN_IDLE`` seconds."""
        for series in list(self._series.values()):
            if series.histogram or not series.idle_since:
                series.idle_since = now
            elif now - series.idle_since > RETAIN_IDLE:
                del self._series[series.labels]
                self._numbers.append(series.number)

    def items(self) -> Iterator[tuple[Labels, Totals]]:
        """All series as they are now."""
        return iter([(labels, series.totals) for labels, series in self._series.items()])

    def refusals(self) -> dict[tuple[str, str], int]:
        """Answers of the sidecar's own, by direction and reason."""
        return dict(self._refusals)


def _sum(one: dict[int, int], other: dict[int, int]) -> dict[int, int]:
    result = dict(one)
    for key, count in other.items():
        result[key] = result.get(key, 0) + count
    return result
