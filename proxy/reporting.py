"""Takes what was counted to the controller, so that each request is counted there exactly once.

One report is on its way at a time. It is kept until the controller says
``Counted``, over lost streams and other controllers, and sent again as it was;
what happens meanwhile waits in the counters. A controller that has seen a
number already only says so again. What a sidecar that is killed had not
reported is lost with it; one that ends in order reports before it goes.

Neighbours: ``proxy.subscribe`` (the stream), ``proxy.counters``, ``proxy.contract.report``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from proxy.contract.messages import Counted, Observe
from proxy.contract.report import Labels, Report, Row
from proxy.counters import Counters, Series

REPORT_BYTES = 256 * 1024
"""Of the cells and labels of one report: an ordinary one has 2 KB, and the controller takes frames of 1 MB."""

JITTER = 0.2
"""So much of the interval is taken off at most, at random: the sidecars of a mesh report spread out, never late."""

SHORTEST_SECONDS = 0.1
"""Nothing a controller says makes a sidecar report more often."""

UNASKED_SECONDS = 10.0
"""A controller that has not asked for reports by then does not count: nothing need be kept for it."""

TIDY_SECONDS = 60.0
"""Between looks for series that nobody uses any more."""


class _Pending:
    """A report that is not acknowledged: its number, when its span ended and how long that was, and its cells."""

    __slots__ = ("cells", "ended", "seconds", "sequence")

    def __init__(self, sequence: int, seconds: float, ended: float, cells: list[tuple[Series, bytes]]) -> None:
        self.sequence = sequence
        self.seconds = seconds
        self.ended = ended
        self.cells = cells


class Reporter:
    """``epoch`` names this life of the sidecar; ``now`` gives monotonic seconds, ``jitter`` numbers in [0, 1)."""

    def __init__(self, counters: Counters, epoch: str, now: Callable[[], float], jitter: Callable[[], float]) -> None:
        self._counters = counters
        self._epoch = epoch
        self._now = now
        self._jitter = jitter
        self._sequence = 0
        self._since = now()
        self._pending: _Pending | None = None
        self._told: dict[int, Labels] = {}
        self._interval: float | None = None
        self._unwanted = False
        self._more = False
        self._asked = asyncio.Event()
        self._hurry = asyncio.Event()
        self._progress = asyncio.Event()

    async def run(self, send: Callable[[Report], Awaitable[None]]) -> None:
        """Reports on one stream until cancelled; says nothing unless the controller asks for it."""
        self._told.clear()
        self._interval = None
        self._asked.clear()
        try:
            await self._until_asked()
            while True:
                if self._pending is None:
                    await self._pause()
                    self._take()
                pending = self._pending
                if pending is not None:
                    await send(self._report(pending))
                while self._pending is pending is not None:
                    await self._progress.wait()
        finally:
            self._interval = None
            self._note()

    async def _until_asked(self) -> None:
        try:
            async with asyncio.timeout(UNASKED_SECONDS):
                await self._asked.wait()
        except TimeoutError:
            self._unwanted = True
            await self._asked.wait()

    def asked(self, message: Observe) -> None:
        """The controller wants reports."""
        self._interval = max(message.seconds, SHORTEST_SECONDS)
        self._unwanted = False
        self._asked.set()

    def counted(self, message: Counted) -> None:
        """The controller has counted a report."""
        if self._pending is not None and message.sequence == self._pending.sequence:
            self._pending = None
            self._note()

    def _note(self) -> None:
        """Something happened that others may wait for."""
        happened, self._progress = self._progress, asyncio.Event()
        happened.set()

    async def flush(self, seconds: float) -> None:
        """The last words: returns when all is counted, nobody listens, or time is up."""
        self._hurry.set()
        try:
            async with asyncio.timeout(seconds):
                while self._interval is not None and (self._pending is not None or self._counters.changed):
                    await self._progress.wait()
        except TimeoutError:
            return
        finally:
            self._hurry.clear()

    async def tidy(self) -> None:
        """Forgets idle series now and then, until cancelled."""
        while True:
            await asyncio.sleep(TIDY_SECONDS)
            if self._unwanted:
                self._counters.take(self._now())
                self._since = self._now()
            self._counters.forget_idle(self._now())

    async def _pause(self) -> None:
        """Until the next report is due; what the last one had no room for goes at once."""
        assert self._interval is not None
        due = self._since + self._interval * (1.0 - JITTER * self._jitter())
        if self._more:
            return
        try:
            async with asyncio.timeout(max(0.0, due - self._now())):
                await self._hurry.wait()
            # What ended in this very tick of the loop belongs to it.
            await asyncio.sleep(0)
        except TimeoutError:
            return

    def _take(self) -> None:
        now = self._now()
        cells = self._counters.take(now, REPORT_BYTES)
        self._more = self._counters.changed > 0
        if cells:
            self._sequence += 1
            self._pending = _Pending(self._sequence, now - self._since, now, cells)
        self._since = now
        self._note()

    def _report(self, pending: _Pending) -> Report:
        rows = []
        for series, cell in pending.cells:
            news = self._told.get(series.number) is not series.labels
            rows.append(Row(series.number, cell, series.labels if news else None))
            self._told[series.number] = series.labels
        return Report(
            epoch=self._epoch,
            sequence=pending.sequence,
            seconds=pending.seconds,
            age=self._now() - pending.ended,
            rows=tuple(rows),
        )
