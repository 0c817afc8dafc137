"""What the sidecars counted in the last ten minutes: a ledger for each, a page for each report. Pure.

A page is the rows of one report as bytes: cells (``proxy.contract.report``) with the
number of their series. The last minute is kept as it came; of what is older, the
pages of each half minute are put together, and after ten minutes they are dropped.
Pages stay packed until somebody asks: a thousand sidecars report all the time,
and questions are few. The usual question is what each pod received; so that it does not unpack all series of all
sidecars, each page says that in one cell. ``translator.collect`` puts in, ``translator.views`` asks.
"""

from __future__ import annotations

import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import ceil
from typing import NamedTuple

import msgspec

from proxy.contract.report import STATUS_CLASSES, Labels, Sum, bucket_value, shared_out

KEPT_SECONDS = 600.0
"""As long as the longest window that may be asked for."""

FINE_SECONDS = 60.0
"""The span in which windows are exact to one slot: the usual question is about the last 30 seconds."""

COARSE_SECONDS = 30.0
"""Of what is older, so much is put together. It bounds memory (some 30 pages a sidecar, not 120), and by how much a
long window may reach back too far."""

MAX_SERIES_PER_POD = 2100
"""A little more than a sidecar keeps; one that invents more has them counted as one."""

MAX_LEDGER_BYTES = 16 << 20
"""Of one sidecar's pages: an honest one with 2,000 series needs a quarter. Of one that exceeds it the oldest go."""

PAGE_BYTES = 192
"""What a page costs beside its content."""

RECLAIM_FROM = 256
"""A sidecar that never had more series need not be looked at for those that have gone."""

OVERFLOW = "overflow"

RECEIVED = Labels(direction="inbound")
"""Of an entry that stands for all that a pod received."""

# 0.95 × 20 is 19, whatever floating point makes of it.
_ROUNDING = 1e-9

Rows = list[tuple[int, bytes]]
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Rows)

# Pages shrink to 40 % and less; below some size it is not worth the time. A window of 4 KB is as good for a page of
# one or two, and a tenth of the memory to be prepared for each. MessagePack never begins a list like zlib.
_COMPRESSED_FROM = 256
_WINDOW_BITS, _MEMORY = 12, 5
_ZLIB = zlib.compressobj(1, wbits=_WINDOW_BITS, memLevel=_MEMORY).flush()[:1]


class Totals(Sum):
    """Cells added up, and what is asked of them."""

    __slots__ = ()

    @property
    def failures(self) -> int:
        """Those with a status of 500 or more (and whatever else newer sidecars count as failed)."""
        return sum(self.classes[STATUS_CLASSES - 1 :])

    @property
    def successes(self) -> int:
        """All others."""
        return sum(self.classes[: STATUS_CLASSES - 1])

    def percentile(self, quantile: float) -> float | None:
        """Seconds within which that share of the requests ended (nearest rank), at most 1 % off; None without any."""
        return self.percentiles((quantile,))[0]

    def percentiles(self, quantiles: Sequence[float]) -> list[float | None]:
        """Several, for little more than one."""
        requests = self.requests
        if not requests:
            return [None] * len(quantiles)
        buckets = sorted(self.histogram)
        passed = list(accumulate(map(self.histogram.__getitem__, buckets)))
        ranks = (max(1, ceil(quantile * requests - _ROUNDING)) for quantile in quantiles)
        found = (bisect_left(passed, rank) for rank in ranks)
        return [bucket_value(buckets[index]) if index < len(buckets) else None for index in found]


class Entry(NamedTuple):
    """One series of one sidecar within a window. ``pod`` is the sidecar's, ``namespace/name``."""

    pod: str
    labels: Labels
    cells: Sequence[bytes]


class Page(NamedTuple):
    """What one sidecar counted in one slot: ``rows`` as packed by series; ``received`` is the sum of all that is
    inbound in them, empty if nothing is.
    """

    rows: bytes
    received: bytes

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return len(self.rows) + len(self.received) + PAGE_BYTES


class Pages(NamedTuple):
    """The pages of one sidecar within a window, and what the numbers in them stand for."""

    pod: str
    labels: Sequence[Labels]
    pages: Sequence[Page]


class Window(NamedTuple):
    """What was counted in the last ``seconds``; a little more than was asked for, since slots are taken whole."""

    seconds: float
    ledgers: Sequence[Pages]

    def entries(self) -> list[Entry]:
        """Read out, by sidecar and series. It takes its time where much was counted."""
        return [
            Entry(ledger.pod, ledger.labels[number], cells)
            for ledger in self.ledgers
            for number, cells in _by_series(ledger.pages).items()
        ]

    def received(self) -> list[Entry]:
        """What each pod received, all series together: what the inbound ones of ``entries`` add up to, for little."""
        return [
            Entry(ledger.pod, RECEIVED, cells)
            for ledger in self.ledgers
            if (cells := [page.received for page in ledger.pages if page.received])
        ]


class Ledger:
    """The pages of one sidecar: ``at`` has the number of each one's slot, the first ``coarse`` are of coarse slots.

    ``labels`` has the meaning of each number in the pages; as long as a page has a number, it keeps its meaning.
    """

    __slots__ = ("_free", "_numbers", "_size", "at", "coarse", "labels", "pages")

    def __init__(self) -> None:
        self.at = array("I")
        self.pages: list[Page] = []
        self.coarse = 0
        self._size = 0
        self.labels: list[Labels] = []
        self._numbers: dict[Labels, int] = {}
        self._free: list[int] = []

    def number(self, labels: Labels) -> int:
        """The number of a series in this ledger's pages."""
        number = self._numbers.get(labels)
        if number is None:
            if len(self._numbers) >= MAX_SERIES_PER_POD:
                labels = Labels(direction=labels.direction, destination=OVERFLOW)
                number = self._numbers.get(labels)
            if number is None:
                number = self._numbers[labels] = self._place(labels)
        return number

    def _place(self, labels: Labels) -> int:
        if not self._free:
            self.labels.append(labels)
            return len(self.labels) - 1
        number = self._free.pop()
        self.labels[number] = labels
        return number

    def reclaim(self) -> None:
        """Frees the numbers that no page has any more."""
        used = {number for page in self.pages for number, _ in _rows(page.rows)}
        for labels, number in list(self._numbers.items()):
            if number not in used:
                del self._numbers[labels]
                self._free.append(number)

    def put(self, slot: int, rows: Rows, per_coarse: int) -> None:
        """Adds a page; one that comes late goes where it belongs."""
        if self.coarse and slot < self.at[self.coarse - 1] + per_coarse:
            slot -= slot % per_coarse
        index = bisect_right(self.at, slot)
        self.coarse += index < self.coarse or (index == self.coarse > 0 and self.at[index - 1] == slot)
        page = Page(_packed(rows), _sum(cell for number, cell in rows if self.labels[number].direction == "inbound"))
        self.at.insert(index, slot)
        self.pages.insert(index, page)
        self._size += page.size
        oldest = 0
        while self._size > MAX_LEDGER_BYTES:
            self._size -= self.pages[oldest].size
            oldest += 1
        self._forget(oldest)

    def fold(self, before: int, per_coarse: int) -> None:
        """Puts the pages of each coarse slot that ends at ``before`` (which begins one) or earlier together."""
        end = bisect_left(self.at, before, self.coarse)
        if end == self.coarse:
            return
        # The last coarse slot may get more: something came late.
        begin = bisect_left(self.at, self.at[self.coarse - 1], 0, self.coarse) if self.coarse else 0
        groups: dict[int, list[Page]] = {}
        for slot, page in zip(self.at[begin:end], self.pages[begin:end], strict=True):
            groups.setdefault(slot - slot % per_coarse, []).append(page)
        self.at[begin:end] = array("I", groups)
        self.pages[begin:end] = [_one(pages) for pages in groups.values()]
        self.coarse = begin + len(groups)
        self._size = sum(page.size for page in self.pages)

    def drop(self, before: int) -> None:
        """Drops the pages of coarse slots that begin before ``before``."""
        gone = bisect_left(self.at, before, 0, self.coarse)
        self._size -= sum(page.size for page in self.pages[:gone])
        self._forget(gone)

    def _forget(self, oldest: int) -> None:
        if oldest:
            del self.at[:oldest], self.pages[:oldest]
            self.coarse = max(0, self.coarse - oldest)

    def since(self, slot: int) -> list[Page]:
        """The pages from a slot on."""
        return self.pages[bisect_left(self.at, slot) :]


def _packed(rows: Rows) -> bytes:
    packed = _encoder.encode(rows)
    if len(packed) < _COMPRESSED_FROM:
        return packed
    packing = zlib.compressobj(1, wbits=_WINDOW_BITS, memLevel=_MEMORY)
    return packing.compress(packed) + packing.flush()


def _rows(packed: bytes) -> Rows:
    return _decoder.decode(zlib.decompress(packed) if packed.startswith(_ZLIB) else packed)


def _by_series(pages: Iterable[Page]) -> dict[int, list[bytes]]:
    series: dict[int, list[bytes]] = {}
    for page in pages:
        for number, cell in _rows(page.rows):
            series.setdefault(number, []).append(cell)
    return series


def _one(pages: list[Page]) -> Page:
    """One page that counts what all of these count."""
    if len(pages) == 1:
        return pages[0]
    rows = [(number, _sum(cells)) for number, cells in _by_series(pages).items()]
    return Page(_packed(rows), _sum(page.received for page in pages if page.received))


def _sum(cells: Iterable[bytes]) -> bytes:
    """The cell that counts what all of these count, empty if there are none."""
    several = list(cells)
    if len(several) < 2:
        return several[0] if several else b""
    total = Sum()
    for cell in several:
        total.add(cell)
    return total.packed()


class Traffic:
    """All ledgers. ``slot`` is the length of a fine slot in seconds, of which ``COARSE_SECONDS`` is a multiple.

    Times are of one clock; nothing is counted before ``now``.
    """

    def __init__(self, slot: float, now: float) -> None:
        self._slot = slot
        self._began = now
        self._per_coarse = round(COARSE_SECONDS / slot)
        self._ledgers: dict[str, Ledger] = {}

    def add(self, pod: str, counted: Iterable[tuple[Labels, bytes]], began: float, ended: float) -> None:
        """What a sidecar counted between two moments; the cells have been checked.

        A span of several slots (the sidecar had nobody to report to) is shared out over them.
        """
        ledger = self._ledgers.get(pod)
        if ledger is None:
            ledger = self._ledgers[pod] = Ledger()
        rows = [(ledger.number(labels), cell) for labels, cell in counted]
        last = self._number(ended)
        slots = min(last - self._number(began), round(KEPT_SECONDS / self._slot))
        for slot, part in ((last, rows),) if slots <= 2 else self._shared_out(rows, last, slots).items():
            ledger.put(slot, part, self._per_coarse)
        before = self._folded(ended)
        if ledger.coarse < len(ledger.at) and ledger.at[ledger.coarse] < before:
            ledger.fold(before, self._per_coarse)

    def _shared_out(self, rows: Rows, last: int, slots: int) -> dict[int, Rows]:
        """By slot: the rows shared out over so many slots, of which ``last`` is the last."""
        step = 1 if slots * self._slot <= FINE_SECONDS else self._per_coarse
        pages: dict[int, Rows] = {}
        for number, cell in rows:
            parts = shared_out(cell, slots // step)
            for index, part in enumerate(parts):
                pages.setdefault(last - slots + (index + 1) * slots // len(parts), []).append((number, part))
        return pages

    def window(self, seconds: float, now: float) -> Window:
        """The last ``seconds`` before ``now``."""
        first = self._number(now - seconds)
        if first < self._folded(now):
            first -= first % self._per_coarse
        ledgers = [
            Pages(pod, tuple(ledger.labels), pages)
            for pod, ledger in self._ledgers.items()
            if (pages := ledger.since(first))
        ]
        return Window(max(now - (self._began + first * self._slot), self._slot), ledgers)

    def tidy(self, pod: str, now: float) -> None:
        """Puts together and drops what is old of one sidecar's; adding does it only where something is added."""
        ledger = self._ledgers.get(pod)
        if ledger is None:
            return
        oldest = self._number(now - KEPT_SECONDS)
        ledger.fold(self._folded(now), self._per_coarse)
        ledger.drop(oldest - oldest % self._per_coarse)
        if not ledger.pages:
            del self._ledgers[pod]
        elif len(ledger.labels) > RECLAIM_FROM:
            ledger.reclaim()

    def pods(self) -> list[str]:
        """Whose counts there are."""
        return list(self._ledgers)

    def _number(self, moment: float) -> int:
        return max(0, int((moment - self._began) // self._slot))

    def _folded(self, now: float) -> int:
        """Slots before this one are coarse, or will be."""
        fine = self._number(now - FINE_SECONDS)
        return fine - fine % self._per_coarse
