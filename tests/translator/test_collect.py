"""Reports taken in: once each, whatever streams and controllers come and go, and nonsense refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from control import Applied, contexts, listening, sidecar, wire
from eventually import eventually
from msgspec.structs import replace
from ports import free_port

from proxy.contract.config import Config
from proxy.contract.messages import Counted, Hello, Observe
from proxy.contract.report import MAX_LABELS, MAX_MICROSECONDS, MAX_REQUESTS, Labels, Report, Row, pack, unpack
from proxy.counters import Counters
from proxy.reporting import Reporter
from proxy.subscribe import Subscription
from translator.collect import MAX_CELL_BYTES, MAX_SERIES, Collector
from translator.compiler import Compiled
from translator.identity.authority import Authority
from translator.push import Publisher
from translator.reconcile import Reconciler
from translator.traffic import KEPT_SECONDS, Traffic

POD = "shop/web-0"
WEB = Labels(direction="outbound", destination="shop/web:80")
API = Labels(direction="outbound", destination="shop/api:80")


def cell(requests: int = 1) -> bytes:
    return pack([0, requests, 0, 0, 0], 1000, {400: requests})


def report(sequence: int = 1, *rows: Row, epoch: str = "life-1") -> Report:
    return Report(epoch=epoch, sequence=sequence, seconds=1.0, rows=rows or (Row(0, cell(), WEB),))


class Office:
    """A collector, and a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.collector = Collector(Traffic(1.0, self.now), 1.0, lambda: self.now)
        self.now += 30.0

    def counted(self, seconds: float = KEPT_SECONDS) -> dict[str, int]:
        """Requests by destination."""
        result: dict[str, int] = {}
        for entry in self.collector.window(seconds).entries():
            requests = sum(sum(unpack(one).classes) for one in entry.cells)
            result[entry.labels.destination] = result.get(entry.labels.destination, 0) + requests
        return result


def test_a_report_is_counted_and_acknowledged() -> None:
    office = Office()
    intake = office.collector.intake(POD)
    assert intake.take(report(1, Row(0, cell(3), WEB), Row(1, cell(2), API))) == Counted(sequence=1)
    assert intake.take(report(2, Row(0, cell(4)), Row(1, cell(1)))) == Counted(sequence=2)
    assert office.counted() == {"shop/web:80": 7, "shop/api:80": 3}
    assert (office.collector.counts.reports, office.collector.counts.rows) == (2, 4)


def test_of_the_largest_counts_any_number_can_be_put_together() -> None:
    """What is put together is packed again; if that failed it would end the controller, for all sidecars."""
    office = Office()
    intake = office.collector.intake(POD)
    most = pack([0, MAX_REQUESTS, 0, 0, 0], MAX_MICROSECONDS, {1: MAX_REQUESTS})
    inside = Labels(direction="inbound", destination="80")
    for sequence in range(1, 5000):
        rows = tuple(Row(number, most, replace(inside, peer=str(number))) for number in range(2))
        assert intake.take(report(sequence, Row(2, most, WEB), *rows)) == Counted(sequence=sequence)
    assert office.collector.counts.refused == 0
    office.now += 120.0
    for _ in office.collector.tidy({POD}):
        pass
    assert office.counted() == {"shop/web:80": MAX_REQUESTS, "80": 2 * MAX_REQUESTS}
    (received,) = office.collector.window(KEPT_SECONDS).received()
    assert [unpack(one).microseconds for one in received.cells] == [MAX_MICROSECONDS]


def test_the_same_report_on_another_stream_is_only_acknowledged() -> None:
    office = Office()
    office.collector.intake(POD).take(report(1, Row(0, cell(3), WEB)))
    again = office.collector.intake(POD)
    assert again.take(report(1, Row(0, cell(3), WEB))) == Counted(sequence=1)
    assert again.take(report(2, Row(0, cell(1)))) == Counted(sequence=2), "and its labels were learnt"
    assert office.counted() == {"shop/web:80": 4}
    assert office.collector.counts.repeated == 1


def test_a_restarted_sidecar_counts_from_one_again() -> None:
    office = Office()
    office.collector.intake(POD).take(report(1))
    office.collector.intake(POD).take(report(1, epoch="life-2"))
    assert office.counted() == {"shop/web:80": 2}


def test_a_new_controller_has_seen_nothing() -> None:
    old, new = Office(), Office()
    old.collector.intake(POD).take(report(7))
    new.collector.intake(POD).take(report(7))
    assert new.counted() == {"shop/web:80": 1}


def test_two_pods_may_say_the_same() -> None:
    office = Office()
    for pod in (POD, "shop/web-1"):
        office.collector.intake(pod).take(report(1))
    assert office.counted() == {"shop/web:80": 2}


def test_a_number_may_get_another_meaning() -> None:
    office = Office()
    intake = office.collector.intake(POD)
    intake.take(report(1, Row(0, cell(1), WEB)))
    intake.take(report(2, Row(0, cell(1), API)))
    intake.take(report(3, Row(0, cell(1))))
    assert office.counted() == {"shop/web:80": 1, "shop/api:80": 2}


def test_a_late_report_counts_when_it_happened() -> None:
    office = Office()
    office.collector.intake(POD).take(replace(report(1), age=20.0))
    assert office.counted(10.0) == {}
    assert office.counted(25.0) == {"shop/web:80": 1}


LONG = Labels(direction="outbound", destination="x" * MAX_LABELS)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (report(1, Row(0, cell())), "was never explained"),
        (report(1, Row(-1, cell(), WEB)), "out of range"),
        (report(1, Row(MAX_SERIES, cell(), WEB)), "out of range"),
        (report(1, Row(0, cell(), LONG)), "are too long"),
        (report(1, Row(0, b"", WEB)), "cannot be read"),
        (report(1, Row(0, pack([0, 2, 0, 0, 0], 0, {1: 1}), WEB)), "contradicts itself"),
        (report(1, Row(0, cell(MAX_REQUESTS + 1), WEB)), "more than there can be"),
        (report(1, Row(0, pack([0, 1, 0, 0, 0], MAX_MICROSECONDS + 1, {1: 1}), WEB)), "more than there can be"),
        (report(1, Row(0, b"\0" * (MAX_CELL_BYTES + 1), WEB)), "too large"),
        (report(0), "no number"),
        (report(1, epoch=""), "no epoch"),
        (report(1, epoch="e" * 65), "no epoch"),
        (replace(report(1), seconds=-1.0), "no time"),
        (replace(report(1), seconds=float("nan")), "no time"),
        (replace(report(1), age=float("inf")), "no time"),
    ],
)
def test_nonsense_counts_nothing_and_does_not_come_again(
    bad: Report, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    office = Office()
    intake = office.collector.intake(POD)
    for _ in range(3):
        again = replace(bad, rows=(Row(1, cell(), API), *bad.rows))
        assert intake.take(again) == Counted(sequence=bad.sequence)
    assert office.counted() == {}
    assert office.collector.counts.refused == 3
    [said] = caplog.messages
    assert why in said
    intake.take(report(9))
    assert office.counted() == {"shop/web:80": 1}, "the next one counts"


def test_pods_that_went_are_forgotten_in_time() -> None:
    office = Office()
    office.collector.intake(POD).take(report(1))
    tidy(office, {POD})
    office.now += KEPT_SECONDS * 2
    tidy(office, {POD})
    office.collector.intake(POD).take(report(1))
    assert office.counted() == {}, "a pod that still runs: its report was seen"
    tidy(office, set())
    office.collector.intake(POD).take(report(1))
    assert office.counted() == {"shop/web:80": 1}


def tidy(office: Office, pods: set[str]) -> None:
    for _ in office.collector.tidy(pods):
        pass


# -- over the wire ----------------------------------------------------------------------------------------------------


class Mesh:
    """One sidecar's counters, and controllers that come and go at the same port."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.counters = Counters()
        self.port = free_port()

    def request(self, count: int) -> None:
        for _ in range(count):
            self.counters.series(WEB).add(200, 0.01)

    @asynccontextmanager
    async def controller(self) -> AsyncIterator[Office]:
        """One life of a controller; the next one listens at the same port."""
        office = Office()
        reconciler = Reconciler(lambda *_: Compiled(config=Config()))
        publisher = Publisher(reconciler, self.authority, office.collector)
        async with listening(self.authority, publisher, self.port):
            yield office

    @asynccontextmanager
    async def sidecar(self, *, reports: bool = True) -> AsyncIterator[Subscription]:
        loop = asyncio.get_running_loop()
        reporter = Reporter(self.counters, "life-1", loop.time, lambda: 0.99) if reports else None
        own = contexts(self.authority, "web-0")
        subscription = Subscription(
            sidecar(self.port), lambda: own, Applied(), Config(), reporter=reporter, jitter=lambda: 0.99
        )
        running = asyncio.create_task(subscription.run())
        yield subscription
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(Path(tmp_path_factory.mktemp("authority")))


def play(scene: Callable[[Mesh], Coroutine[Any, Any, None]], authority: Authority) -> None:
    async def main() -> None:
        await scene(Mesh(authority))

    asyncio.run(main())


def test_from_counters_to_counts(authority: Authority) -> None:
    async def scene(mesh: Mesh) -> None:
        async with mesh.controller() as office, mesh.sidecar():
            mesh.request(3)
            await eventually(lambda: office.counted() == {"shop/web:80": 3})
            mesh.request(2)
            await eventually(lambda: office.counted() == {"shop/web:80": 5})

    play(scene, authority)


def test_a_controller_that_dies_and_another_that_takes_its_place(authority: Authority) -> None:
    async def scene(mesh: Mesh) -> None:
        mesh.request(2)
        async with mesh.sidecar() as subscription:
            async with mesh.controller() as first:
                mesh.request(1)
                await eventually(lambda: first.counted() == {"shop/web:80": 3})
            await eventually(lambda: not subscription.connected)
            mesh.request(4)
            async with mesh.controller() as second:
                await eventually(lambda: second.counted() == {"shop/web:80": 4})
                mesh.request(1)
                await eventually(lambda: second.counted() == {"shop/web:80": 5})

    play(scene, authority)


def test_a_sidecar_that_does_not_report_is_not_asked_to(authority: Authority) -> None:
    async def scene(mesh: Mesh) -> None:
        mesh.request(3)
        async with mesh.controller() as office, mesh.sidecar(reports=False) as subscription:
            await eventually(lambda: subscription.connected)
            assert office.counted() == {}
        async with mesh.controller(), wire(mesh.port, contexts(authority, "web-0")) as old:
            await old.say(Hello())
            await old.say(Hello())
            await old.ended()  # and nothing was said before

    play(scene, authority)


def test_a_report_that_is_nonsense_does_not_end_the_stream(authority: Authority) -> None:
    async def scene(mesh: Mesh) -> None:
        async with mesh.controller() as office, wire(mesh.port, contexts(authority, "web-0")) as stream:
            await stream.say(Hello(reports=True))
            assert await stream.hear() == Observe(seconds=1.0)
            await stream.say(report(1, Row(0, cell(3), WEB)))
            assert await stream.hear() == Counted(sequence=1)
            await stream.say(report(2, Row(7, cell(3))))
            assert await stream.hear() == Counted(sequence=2)
            await stream.say(report(3, Row(0, cell(1))))
            assert await stream.hear() == Counted(sequence=3)
            assert office.counted() == {"shop/web:80": 4}

    play(scene, authority)
