"""Takes reports in: whatever a sidecar counted is counted here once, however often it is sent.

A sidecar numbers its reports and sends one again until it hears that it was
counted; a number that was seen is only acknowledged again. After a restart of
the controller nothing was seen and nothing is kept, so whatever comes is new. Neighbours:
``translator.push`` (the streams), ``translator.traffic`` (where it goes).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from sys import intern

from msgspec import convert
from msgspec.structs import asdict

from proxy.contract.messages import Counted
from proxy.contract.report import MAX_LABELS, Labels, Report, check, size_of
from translator.traffic import KEPT_SECONDS, Traffic, Window

MAX_SERIES = 2100
"""Series that a stream may number: a little more than a sidecar keeps."""

MAX_CELL_BYTES = 16 * 1024
"""Of one cell: all buckets in use with large counts."""

MAX_EPOCH = 64
"""Characters of an epoch."""


log = logging.getLogger("translator.collect")


class BadReport(ValueError):
    """A report that contradicts itself, or exceeds what a sidecar may say."""


@dataclass(slots=True, kw_only=True)
class Counts:
    """Counters since the start, for ``/metrics``."""

    reports: int = 0
    repeated: int = 0
    refused: int = 0
    rows: int = 0


class Collector:
    """``clock`` gives monotonic seconds. ``interval`` is how often sidecars are asked to report, in seconds."""

    def __init__(self, traffic: Traffic, interval: float, clock: Callable[[], float]) -> None:
        self.traffic = traffic
        self.interval = interval
        self.counts = Counts()
        self._clock = clock
        self._seen: dict[str, tuple[str, int]] = {}

    def intake(self, pod: str) -> Intake:
        """For one stream of the sidecar of ``pod`` (``namespace/name``)."""
        return Intake(self, pod)

    def window(self, seconds: float) -> Window:
        """What was counted lately."""
        return self.traffic.window(seconds, self._clock())

    def tidy(self, pods: Collection[str]) -> Iterator[None]:
        """Forgets what is too old, and which reports were seen of pods that are not among these any more.

        In steps, so that others get their turn between them.
        """
        for pod in self.traffic.pods():
            self.traffic.tidy(pod, self._clock())
            yield
        kept = {*pods, *self.traffic.pods()}
        self._seen = {pod: seen for pod, seen in self._seen.items() if pod in kept}

    def take(self, pod: str, report: Report, rows: list[tuple[Labels, bytes]]) -> None:
        """Counts a report, unless that was done before."""
        epoch, sequence = self._seen.get(pod, ("", 0))
        if epoch == report.epoch and report.sequence <= sequence:
            self.counts.repeated += 1
            return
        self._seen[pod] = (report.epoch, report.sequence)
        self.counts.reports += 1
        self.counts.rows += len(rows)
        ended = self._clock() - min(report.age, KEPT_SECONDS)
        self.traffic.add(pod, rows, ended - report.seconds, ended)


class Intake:
    """One stream's reports: knows what each number of a series stands for."""

    def __init__(self, collector: Collector, pod: str) -> None:
        self._collector = collector
        self._pod = pod
        self._labels: dict[int, Labels] = {}
        self._complained = False

    def take(self, report: Report) -> Counted:
        """Counts a report and says so.

        One that contradicts itself counts nothing, and is answered all the same: it would only come again, and the
        stream is needed for configs.
        """
        try:
            self._collector.take(self._pod, report, self._rows(report))
        except BadReport as error:
            self._collector.counts.refused += 1
            if not self._complained:
                self._complained = True
                log.warning("report not counted pod=%s reason=%s", self._pod, error)
        return Counted(sequence=report.sequence)

    def _rows(self, report: Report) -> list[tuple[Labels, bytes]]:
        if not 0 <= report.seconds < float("inf") or not 0 <= report.age < float("inf"):
            raise BadReport("a time is no time")
        if not 0 < len(report.epoch) <= MAX_EPOCH or report.sequence < 1:
            raise BadReport("no epoch, or no number")
        return [(self._meaning(row.series, row.labels), _checked(row.cell)) for row in report.rows]

    def _meaning(self, number: int, labels: Labels | None) -> Labels:
        if labels is not None:
            if not 0 <= number < MAX_SERIES:
                raise BadReport(f"series {number} is out of range")
            if size_of(labels) > MAX_LABELS:
                raise BadReport(f"the labels of series {number} are too long")
            # The same few names come from many sidecars.
            shared = convert({name: intern(value) for name, value in asdict(labels).items()}, Labels)
            self._labels[number] = shared
            return shared
        known = self._labels.get(number)
        if known is None:
            raise BadReport(f"series {number} was never explained")
        return known


def _checked(cell: bytes) -> bytes:
    if len(cell) > MAX_CELL_BYTES:
        raise BadReport("a cell is too large")
    try:
        check(cell)
    except ValueError as error:
        raise BadReport(str(error)) from error
    return cell
