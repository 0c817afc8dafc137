"""What a sidecar has counted, on its way up the control stream: deltas that can be merged, packed small. Pure.

A *report* holds one row for each series that changed. A row is a *cell*, the
counts and the histogram of one series over one span, packed into bytes; the
controller keeps cells as they come and unpacks them when it is asked. What
a series is about (``Labels``) goes along the first time on a stream, from then on its number
stands for it.

Nothing is lost or counted twice: reports are numbered, one is on its way at a
time, and the sidecar gives it up only when the controller says ``Counted``
(``proxy.contract.messages``). ``proxy.reporting`` sends, ``translator.collect`` takes in.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, zip_longest
from operator import add
from typing import Literal, NamedTuple

import msgspec
from msgspec import Struct

GROWTH = math.log(1.02)
"""Buckets grow by 2 %, so a value read back (the middle, by ratio) is at most 1 % off. Sketches of the same growth can
be merged by adding, which is why it is part of the contract."""

PER_LOG = 1.0 / GROWTH
AT_SECOND = math.log(1e6) / GROWTH
"""The bucket of ``s`` seconds is ``log(s) * PER_LOG + AT_SECOND``, rounded down: bucket 0 begins at a microsecond."""

BUCKETS = 2048
"""A histogram's buckets are numbered below this: the last begins at 10 000 years."""

STATUS_CLASSES = 5
"""The first counts of a cell: answers with status 1xx, 2xx, 3xx, 4xx, 5xx. The fifth, and any that are appended later,
are failures."""

MAX_CLASSES = 16
"""Counts that a cell may have: room for what is appended, and a bound."""

MAX_REQUESTS = 1 << 40
MAX_MICROSECONDS = 1 << 53
"""What one cell may count: ten days of a million requests a second, 285 years of waiting. Sums stop there as well: they
are packed again, and what does not fit into 64 bits cannot be."""

MAX_LABELS = 4096
"""Characters of all labels of one series: a SPIFFE ID may have 2,048, names have 253."""

Direction = Literal["inbound", "outbound"]
Tls = Literal["", "true", "no_identity"]
Verdict = Literal["", "allow", "deny", "audit"]


class Labels(Struct, frozen=True, kw_only=True, omit_defaults=True, cache_hash=True):
    """What tells series apart. A label that does not apply, or is not known, is empty.

    =============  ===============================================  ==========================================
    label          outbound                                         inbound
    =============  ===============================================  ==========================================
    destination    ``namespace/service:port`` that was asked for    the container port
    backend        ``namespace/service`` that a split chose
    split          ``namespace/name`` of the TrafficSplit
    match          ``group/match`` by which the split applied       ``group/match`` that let the request in
    pod            the endpoint: ``namespace/pod``, or ``ip:port``
    workload       its ``Kind/name``
    peer           the server's SPIFFE ID                           the caller's SPIFFE ID
    target                                                          ``namespace/name`` of the TrafficTarget
    verdict                                                         ``allow``, ``deny``, or ``audit``: would be denied
    =============  ===============================================  ==========================================
    """

    direction: Direction
    destination: str = ""
    backend: str = ""
    split: str = ""
    match: str = ""
    pod: str = ""
    workload: str = ""
    peer: str = ""
    tls: Tls = ""
    target: str = ""
    verdict: Verdict = ""


class Row(Struct, frozen=True, array_like=True):
    """What was added to one series. ``labels``: the first time on a stream, and when the number gets a new meaning."""

    series: int
    cell: bytes
    labels: Labels | None = None


class Report(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="report"):
    """What was counted since the report before.

    ``epoch`` is drawn by each life of a sidecar, ``sequence`` counts its
    reports from 1. The counts are of a span of ``seconds`` that ended
    ``age`` seconds before the report was sent; more than 0 where it had to be sent again.
    """

    epoch: str
    sequence: int
    seconds: float
    age: float = 0.0
    rows: tuple[Row, ...] = ()


class Cell(NamedTuple):
    """A cell unpacked: requests by class, the sum of their times, buckets (to be read once) and their counts."""

    classes: Sequence[int]
    microseconds: int
    buckets: Iterable[int]
    counts: Sequence[int]


_encoder = msgspec.msgpack.Encoder()
_numbers = msgspec.msgpack.Decoder(list[int])


def size_of(labels: Labels) -> int:
    """Characters of all labels together."""
    return sum(map(len, msgspec.structs.astuple(labels)))


def bucket_of(seconds: float) -> int:
    """The bucket of a time. What is below a microsecond counts as one."""
    return int(math.log(seconds) * PER_LOG + AT_SECOND) if seconds > 1e-6 else 0


def bucket_value(bucket: int) -> float:
    """The middle of a bucket in seconds."""
    return math.exp((bucket + 0.5) * GROWTH) / 1e6


def pack(classes: Sequence[int], microseconds: int, histogram: Mapping[int, int]) -> bytes:
    """The cell of these counts: one MessagePack array of numbers.

    How many classes, the counts by class, the microseconds, then for each bucket in use how far
    it is from the one before, and its count. Small numbers take one byte.
    """
    numbers = [len(classes), *classes, microseconds]
    previous = 0
    for bucket, count in sorted(histogram.items()):
        numbers += (bucket - previous, count)
        previous = bucket
    return _encoder.encode(numbers)


def check(cell: bytes) -> None:
    """Raises ``ValueError`` for bytes that are no cell, or one that contradicts itself."""
    try:
        numbers = _numbers.decode(cell)
    except msgspec.MsgspecError as error:
        raise ValueError(f"a cell cannot be read: {error}") from error
    first = numbers[0] + 1 if numbers else 0
    if not STATUS_CLASSES < first <= MAX_CLASSES + 1 or len(numbers) <= first or (len(numbers) - first) % 2 == 0:
        raise ValueError("a cell has the wrong shape")
    requests = sum(numbers[1:first])
    if min(numbers) < 0 or sum(numbers[first + 1 :: 2]) >= BUCKETS or sum(numbers[first + 2 :: 2]) != requests:
        raise ValueError("a cell contradicts itself")
    if requests > MAX_REQUESTS or numbers[first] > MAX_MICROSECONDS:
        raise ValueError("a cell counts more than there can be")


def unpack(cell: bytes) -> Cell:
    """The counts of a cell that was checked."""
    numbers = _numbers.decode(cell)
    first = numbers[0] + 1
    return Cell(numbers[1:first], numbers[first], accumulate(numbers[first + 1 :: 2]), numbers[first + 2 :: 2])


class Sum:
    """Cells added up."""

    __slots__ = ("classes", "histogram", "microseconds")

    def __init__(self) -> None:
        self.classes = [0] * STATUS_CLASSES
        self.microseconds = 0
        self.histogram: defaultdict[int, int] = defaultdict(int)

    def add(self, packed: bytes) -> None:
        """Takes in a cell."""
        # As ``unpack``, step by step: the controller does this for each cell that comes.
        numbers = _numbers.decode(packed)
        first = numbers[0] + 1
        classes = numbers[1:first]
        if len(classes) != len(self.classes):
            self.classes = [a + b for a, b in zip_longest(self.classes, classes, fillvalue=0)]
        else:
            self.classes = list(map(add, self.classes, classes))
        self.microseconds += numbers[first]
        histogram = self.histogram
        for bucket, count in zip(accumulate(numbers[first + 1 :: 2]), numbers[first + 2 :: 2], strict=True):
            histogram[bucket] += count

    @property
    def requests(self) -> int:
        """How many ended."""
        return sum(self.classes)

    def packed(self) -> bytes:
        """The cell that counts the same, or as much as a cell may."""
        histogram = {bucket: min(count, MAX_REQUESTS) for bucket, count in self.histogram.items()}
        classes = [min(count, MAX_REQUESTS) for count in self.classes]
        return pack(classes, min(self.microseconds, MAX_MICROSECONDS), histogram)


def shared_out(packed: bytes, parts: int) -> list[bytes]:
    """The cell cut into cells that count about the same each, and together exactly what it counts.

    There are ``parts`` of them, or fewer where it counts fewer requests.
    """
    cell = unpack(packed)
    buckets = list(cell.buckets)
    left = sum(cell.classes)
    parts = max(1, min(parts, left))
    result = []
    # Each part takes as many requests out of both: so its counts by class and its histogram agree.
    classes, counts, seconds = list(cell.classes), list(cell.counts), cell.microseconds
    for remaining in range(parts, 0, -1):
        size = left // remaining
        time = seconds if remaining == 1 else cell.microseconds * size // max(sum(cell.classes), 1)
        taken = _taken(counts, size)
        histogram = {bucket: count for bucket, count in zip(buckets, taken, strict=True) if count}
        result.append(pack(_taken(classes, size), time, histogram))
        left -= size
        seconds -= time
    return result


def _taken(counts: list[int], size: int) -> list[int]:
    """Takes ``size`` out of ``counts``, in proportion; what rounding leaves comes from the front."""
    total = sum(counts)
    taken = [count * size // total if total else 0 for count in counts]
    missing = size - sum(taken)
    for index, count in enumerate(counts):
        more = min(missing, count - taken[index])
        taken[index] += more
        missing -= more
    for index, count in enumerate(taken):
        counts[index] -= count
    return taken
