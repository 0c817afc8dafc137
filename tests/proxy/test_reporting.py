"""Reports from a sidecar's counters over streams that come and go: each request is counted by the controller once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import pytest
from eventually import eventually

from proxy.contract.messages import Counted, Observe, encode
from proxy.contract.report import Labels, Report, unpack
from proxy.counters import Counters
from proxy.reporting import JITTER, REPORT_BYTES, SHORTEST_SECONDS, Reporter

WEB = Labels(direction="outbound", destination="shop/web:80")


class Controller:
    """What one controller heard; it remembers numbers as long as it lives."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.requests = 0
        self._labels: dict[int, Labels] = {}
        self._seen: set[int] = set()

    def opened(self) -> None:
        self._labels = {}

    def hears(self, report: Report) -> None:
        self.reports.append(report)
        for row in report.rows:
            if row.labels is not None:
                self._labels[row.series] = row.labels
            assert row.series in self._labels, "a series that was never explained on this stream"
        if report.sequence not in self._seen:
            self._seen.add(report.sequence)
            self.requests += sum(sum(unpack(row.cell).classes) for row in report.rows)


class Scene:
    """A sidecar's counters and its reporter; time stands still unless told."""

    def __init__(self) -> None:
        self.time = 100.0
        self.counters = Counters()
        self.reporter = Reporter(self.counters, "life-1", lambda: self.time, lambda: 1.0)

    def request(self, count: int = 1, labels: Labels = WEB) -> None:
        for _ in range(count):
            self.counters.series(labels).add(200, 0.01)

    @asynccontextmanager
    async def stream(
        self, controller: Controller, *, answers: bool = True, observe: float | None = 1.0
    ) -> AsyncIterator[None]:
        """One stream. ``answers``: whether what was heard is acknowledged."""
        controller.opened()

        async def send(report: Report) -> None:
            controller.hears(report)
            if answers:
                asyncio.get_running_loop().call_soon(self.reporter.counted, Counted(sequence=report.sequence))

        running = asyncio.create_task(self.reporter.run(send))
        await asyncio.sleep(0)
        if observe is not None:
            self.reporter.asked(Observe(seconds=observe))
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def passes(self, seconds: float) -> None:
        self.time += seconds


def run(scene: Callable[[Scene], Coroutine[None, None, None]]) -> None:
    async def main() -> None:
        await scene(Scene())

    asyncio.run(main())


def test_what_was_counted_is_reported_and_acknowledged() -> None:
    async def scene(now: Scene) -> None:
        controller = Controller()
        now.request(3)
        now.passes(2.0)
        async with now.stream(controller):
            await eventually(lambda: controller.requests == 3)
            now.request(2)
            now.passes(1.0)
            await eventually(lambda: controller.requests == 5)
        assert [(one.epoch, one.sequence, one.seconds) for one in controller.reports] == [
            ("life-1", 1, 2.0), ("life-1", 2, 1.0)
        ]  # fmt: skip

    run(scene)


def test_labels_go_along_once_a_stream() -> None:
    async def scene(now: Scene) -> None:
        controller = Controller()
        for _ in range(2):
            async with now.stream(controller):
                for _ in range(2):
                    before = len(controller.reports)
                    now.request()
                    now.passes(1.0)
                    await eventually(lambda before=before: len(controller.reports) > before)  # type: ignore[misc]
        explained = [report.rows[0].labels for report in controller.reports]
        assert explained == [WEB, None, WEB, None]

    run(scene)


def test_a_report_that_was_heard_but_not_acknowledged_is_sent_again_as_it_was() -> None:
    async def scene(now: Scene) -> None:
        controller = Controller()
        now.request(3)
        now.passes(1.0)
        async with now.stream(controller, answers=False):
            await eventually(lambda: controller.reports)
            now.request(4)
            now.passes(5.0)
        async with now.stream(controller):
            now.passes(1.0)
            await eventually(lambda: controller.requests == 7)
        assert [(one.sequence, one.seconds, one.age) for one in controller.reports] == [
            (1, 1.0, 0.0), (1, 1.0, 6.0), (2, 6.0, 0.0)
        ]  # fmt: skip

    run(scene)


def test_a_new_controller_gets_what_the_old_one_did_not_acknowledge() -> None:
    async def scene(now: Scene) -> None:
        old, new = Controller(), Controller()
        now.request(3)
        now.passes(1.0)
        async with now.stream(old):
            await eventually(lambda: old.requests == 3)
        async with now.stream(old, answers=False):
            now.request(2)
            now.passes(1.0)
            await eventually(lambda: old.requests == 5)
        now.request(1)
        async with now.stream(new):
            now.passes(1.0)
            await eventually(lambda: new.requests == 3)

    run(scene)


def test_an_acknowledgement_of_another_report_is_none() -> None:
    async def scene(now: Scene) -> None:
        controller = Controller()
        now.request(3)
        now.passes(1.0)
        async with now.stream(controller, answers=False):
            await eventually(lambda: controller.reports)
            now.reporter.counted(Counted(sequence=7))
        async with now.stream(controller):
            await eventually(lambda: len(controller.reports) == 2)
        assert controller.reports[0].rows[0].cell == controller.reports[1].rows[0].cell

    run(scene)


def test_nothing_is_said_unasked() -> None:
    async def scene(now: Scene) -> None:
        controller = Controller()
        now.request()
        async with now.stream(controller, observe=None):
            now.passes(60.0)
            for _ in range(20):
                await asyncio.sleep(0)
            assert controller.reports == []
            now.reporter.asked(Observe(seconds=1.0))
            await eventually(lambda: controller.requests == 1)

    run(scene)


def test_a_quiet_sidecar_sends_nothing() -> None:
    async def scene(now: Scene) -> None:
        controller = Controller()
        async with now.stream(controller, observe=SHORTEST_SECONDS):
            await asyncio.sleep(SHORTEST_SECONDS * 2)
            assert controller.reports == []

    run(scene)


@pytest.mark.parametrize("asked", [0.0, -5.0, 1e-9])
def test_no_controller_can_make_it_report_without_pause(asked: float) -> None:
    async def scene(now: Scene) -> None:
        controller = Controller()
        now.request()
        async with now.stream(controller, observe=asked):
            await eventually(lambda: controller.requests == 1)
            now.request()
            for _ in range(50):
                await asyncio.sleep(0)
            assert controller.requests == 1
            await eventually(lambda: controller.requests == 2)

    run(scene)


def test_more_than_a_report_carries_goes_at_once() -> None:
    async def scene(now: Scene) -> None:
        controller = Controller()
        for number in range(500):
            now.request(labels=Labels(direction="inbound", destination=str(number), peer="spiffe://" + "x" * 1500))
        async with now.stream(controller, observe=3600.0):
            now.passes(3600.0)
            await eventually(lambda: controller.requests == 500)
        sizes = [len(encode(report)) for report in controller.reports]
        assert len(sizes) > 2
        assert max(sizes) < REPORT_BYTES * 1.1

    run(scene)


def test_the_last_words_are_said_at_once() -> None:
    async def scene(now: Scene) -> None:
        controller = Controller()
        async with now.stream(controller, observe=3600.0):
            now.request(2)
            await now.reporter.flush(5.0)
            assert controller.requests == 2

    run(scene)


@pytest.mark.parametrize("answers", [True, False])
def test_last_words_that_nobody_hears_hold_nothing_up(answers: bool) -> None:
    async def scene(now: Scene) -> None:
        now.request()
        if answers:
            await now.reporter.flush(60.0)
            return
        async with now.stream(Controller(), answers=False):
            await now.reporter.flush(0.05)

    run(scene)


def test_jitter_only_shortens() -> None:
    async def scene(now: Scene) -> None:
        controller = Controller()
        now.request()
        now.passes(5.0 * (1.0 - JITTER))
        async with now.stream(controller, observe=5.0):
            await eventually(lambda: controller.requests == 1)

    run(scene)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A controller that asks for nothing is given up at once, and counters are looked after all the time."""
    monkeypatch.setattr("proxy.reporting.UNASKED_SECONDS", 0.01)
    monkeypatch.setattr("proxy.reporting.TIDY_SECONDS", 0.01)


@pytest.mark.usefixtures("hasty")
def test_for_a_controller_that_does_not_count_nothing_is_kept() -> None:
    async def scene(now: Scene) -> None:
        tidying = asyncio.create_task(now.reporter.tidy())
        newer = Controller()
        now.request(3)
        async with now.stream(Controller(), observe=None):
            await eventually(lambda: not now.counters.changed)
        async with now.stream(newer):
            now.request()
            now.passes(1.0)
            await eventually(lambda: newer.requests == 1)
        tidying.cancel()

    run(scene)


@pytest.mark.usefixtures("hasty")
def test_while_there_is_no_controller_everything_is_kept() -> None:
    async def scene(now: Scene) -> None:
        tidying = asyncio.create_task(now.reporter.tidy())
        controller = Controller()
        now.request(3)
        await asyncio.sleep(0.05)
        async with now.stream(controller):
            now.passes(1.0)
            await eventually(lambda: controller.requests == 3)
        tidying.cancel()

    run(scene)
