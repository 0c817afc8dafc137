"""The window store: what goes in comes out, once, for ten minutes, in slots that get coarser."""

from __future__ import annotations

import tracemalloc
from math import ceil
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.contract.report import Labels, bucket_of, bucket_value, pack, unpack
from translator.traffic import (
    COARSE_SECONDS,
    FINE_SECONDS,
    KEPT_SECONDS,
    MAX_SERIES_PER_POD,
    Ledger,
    Pages,
    Totals,
    Traffic,
    Window,
)

WEB = Labels(direction="inbound", destination="8080")
ADMIN = Labels(direction="inbound", destination="9090")
CALLS = Labels(direction="outbound", destination="shop/db:80")


def cell(requests: int, seconds: float = 0.01) -> bytes:
    return pack(
        [0, requests, 0, 0, 0], round(requests * seconds * 1e6), {bucket_of(seconds): requests} if requests else {}
    )


def requests(traffic: Traffic, seconds: float, now: float) -> int:
    return sum(sum(unpack(cell).classes) for entry in traffic.window(seconds, now).entries() for cell in entry.cells)


class Story:
    """A store that one sidecar reports to every second."""

    def __init__(self, slot: float = 1.0) -> None:
        self.slot = slot
        self.now = 1000.0
        self.traffic = Traffic(slot, self.now)

    def reports(self, count: int, *, span: float = 0.0) -> None:
        """After a slot's time. ``span``: of longer than the slot."""
        self.now += self.slot
        self.traffic.add("shop/web-0", [(WEB, cell(count))], self.now - (span or self.slot), self.now)

    def passes(self, seconds: float) -> None:
        self.now += seconds

    def sees(self, seconds: float) -> int:
        return requests(self.traffic, seconds, self.now)


def test_a_window_is_the_sum_of_what_was_reported_in_it() -> None:
    story = Story()
    for _ in range(50):
        story.reports(3)
    assert story.sees(30.0) in (90, 93), "a slot that is begun is taken whole"
    assert story.sees(600.0) == 150


def test_the_seconds_of_a_window_are_those_that_were_counted() -> None:
    story = Story()
    for _ in range(100):
        story.reports(7)
    for asked in (5.0, 30.0, 60.0, 90.0, 600.0):
        window = story.traffic.window(asked, story.now)
        assert story.sees(asked) / window.seconds == pytest.approx(7, rel=0.25 if asked < 30 else 0.05)
    assert story.traffic.window(600.0, story.now).seconds == 100.0, "there was nothing before"


def test_older_than_a_minute_is_kept_in_coarse_slots_and_after_ten_minutes_dropped() -> None:
    story = Story()
    for _ in range(int(KEPT_SECONDS + 200)):
        story.reports(2)
    story.traffic.tidy("shop/web-0", story.now)
    [entry] = story.traffic.window(KEPT_SECONDS, story.now).entries()
    fine = FINE_SECONDS + COARSE_SECONDS
    assert len(entry.cells) <= fine + KEPT_SECONDS / COARSE_SECONDS + 1
    assert KEPT_SECONDS * 2 <= story.sees(KEPT_SECONDS) <= (KEPT_SECONDS + COARSE_SECONDS + 1) * 2


def test_a_long_window_reaches_back_half_a_minute_too_far_at_most() -> None:
    story = Story()
    story.reports(1)
    for passed in range(90 + int(COARSE_SECONDS) + 1):
        assert story.sees(90.0) == 1 or passed > 90
        story.passes(1.0)
    assert story.sees(90.0) == 0
    assert story.sees(600.0) == 1


def test_who_says_nothing_any_more_is_forgotten() -> None:
    story = Story()
    story.reports(1)
    story.passes(KEPT_SECONDS)
    story.traffic.tidy("shop/web-0", story.now)
    assert story.traffic.pods() == ["shop/web-0"]
    story.passes(COARSE_SECONDS + 1)
    story.traffic.tidy("shop/web-0", story.now)
    assert story.traffic.pods() == []


def test_what_was_counted_while_nobody_listened_is_shared_out_over_that_time() -> None:
    story = Story()
    story.passes(40.0)
    story.reports(400, span=40.0)
    assert story.sees(600.0) == 400
    assert 90 <= story.sees(10.0) <= 120
    story.passes(200.0)
    story.reports(2000, span=200.0)
    assert story.sees(600.0) == 2400
    assert 250 <= story.sees(30.0) <= 650


def test_a_span_longer_than_is_kept_counts_within_it() -> None:
    story = Story()
    story.passes(5000.0)
    story.reports(1000, span=5000.0)
    assert story.sees(600.0) == 1000


def test_a_few_requests_in_a_long_span() -> None:
    story = Story()
    story.passes(300.0)
    story.reports(3, span=300.0)
    assert story.sees(600.0) == 3
    assert story.sees(90.0) < 3


def test_a_sidecar_that_invents_series_is_bounded() -> None:
    traffic = Traffic(1.0, 0.0)
    for number in range(MAX_SERIES_PER_POD + 10):
        traffic.add("shop/web-0", [(Labels(direction="inbound", destination=str(number)), cell(1))], 0.0, 1.0)
    entries = traffic.window(30.0, 1.0).entries()
    assert len(entries) == MAX_SERIES_PER_POD + 1
    assert requests(traffic, 30.0, 1.0) == MAX_SERIES_PER_POD + 10


def test_a_sidecar_that_reports_all_the_time_loses_its_own_past(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("translator.traffic.MAX_LEDGER_BYTES", 40_000)
    traffic = Traffic(1.0, 0.0)
    for moment in range(300):
        for _ in range(10):
            traffic.add("shop/web-0", [(WEB, cell(1))], moment, moment + 1.0)
        traffic.tidy("shop/web-0", moment + 1.0)
        [ledger] = traffic.window(KEPT_SECONDS, moment + 1.0).ledgers
        assert sum(page.size for page in ledger.pages) <= 40_000
    traffic.add("shop/web-1", [(WEB, cell(1))], 299.0, 300.0)
    assert 100 < requests(traffic, KEPT_SECONDS, 300.0) < 3001
    assert requests(traffic, 5.0, 300.0) >= 51, "what is new is there"


def test_series_that_have_gone_make_room() -> None:
    """Endpoints come and go for weeks; what is counted lately is what counts."""
    traffic, now = Traffic(5.0, 0.0), 0.0
    for hour in range(30):
        now += KEPT_SECONDS / 4
        names = [f"web-{hour}-{number}" for number in range(300)]
        traffic.add("shop/web-0", [(Labels(direction="outbound", pod=name), cell(1)) for name in names], now - 5.0, now)
        traffic.tidy("shop/web-0", now)
        recent = [entry for entry in traffic.window(30.0, now).entries() if entry.labels.pod in names]
        assert len(recent) == 300
    [ledger] = traffic.window(KEPT_SECONDS, now).ledgers
    assert len(ledger.labels) < 300 * 8


moves = st.lists(
    st.tuples(st.floats(0.0, 90.0), st.integers(1, 50), st.floats(0.1, 200.0), st.floats(0.0, 120.0)), max_size=30
)


@settings(max_examples=60)
@given(moves, st.sampled_from([1.0, 5.0]))
def test_nothing_is_lost_or_doubled_however_it_comes(
    happened: list[tuple[float, int, float, float]], slot: float
) -> None:
    """Late, of long spans, with pauses: within ten minutes all of it is there."""
    traffic, now = Traffic(slot, 0.0), 700.0
    sent: list[tuple[float, int]] = []
    for pause, count, span, late in happened:
        now += pause
        traffic.add("shop/web-0", [(WEB, cell(count))], now - late - span, now - late)
        sent.append((now - late - span, count))
        oldest = now - KEPT_SECONDS + slot
        recent = sum(count for began, count in sent if began > oldest)
        assert recent <= requests(traffic, KEPT_SECONDS, now) <= sum(count for _, count in sent)
    traffic.tidy("shop/web-0", now)
    assert requests(traffic, KEPT_SECONDS, now) >= sum(n for began, n in sent if began > now - KEPT_SECONDS + slot)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 9)), max_size=40))
def test_a_ledger_stays_in_order(pages: list[tuple[int, int]]) -> None:
    ledger = Ledger()
    for slot, count in pages:
        ledger.put(slot, [(ledger.number(WEB), cell(count))], 30)
        ledger.fold(max(0, slot - 60) // 30 * 30, 30)
        coarse = list(ledger.at[: ledger.coarse])
        assert list(ledger.at) == sorted(ledger.at)
        assert all(at % 30 == 0 for at in coarse)
    window = Window(1.0, [Pages("p", ledger.labels, ledger.pages)])
    assert sum(sum(unpack(one).classes) for e in window.entries() for one in e.cells) == sum(n for _, n in pages)


@given(st.lists(st.floats(1e-5, 100.0), min_size=1, max_size=300))
def test_percentiles_are_those_of_the_times_within_one_percent(times: list[float]) -> None:
    totals = Totals()
    for seconds in times:
        totals.add(cell(1, seconds))
    ordered = sorted(times)
    for quantile in (0.5, 0.95, 0.99, 1.0):
        exact = ordered[ceil(round(quantile * len(times), 6)) - 1]
        assert totals.percentile(quantile) == pytest.approx(exact, rel=0.01)
    assert totals.percentile(0.0) == bucket_value(bucket_of(ordered[0]))


rows = st.lists(st.tuples(st.sampled_from([WEB, ADMIN, CALLS]), st.integers(0, 9), st.floats(1e-4, 9.0)), max_size=5)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(0.0, 90.0), rows, st.floats(0.1, 200.0), st.floats(0.0, 120.0)), max_size=20))
def test_what_a_pod_received_is_what_its_inbound_series_add_up_to(
    happened: list[tuple[float, list[tuple[Labels, int, float]], float, float]],
) -> None:
    """In every window, whatever was put together or shared out meanwhile."""
    traffic, now = Traffic(5.0, 0.0), 700.0
    for pause, counted, span, late in happened:
        now += pause
        cells = [(labels, cell(count, seconds)) for labels, count, seconds in counted]
        traffic.add("shop/web-0", cells, now - late - span, now - late)
        for window in (traffic.window(seconds, now) for seconds in (5.0, 30.0, KEPT_SECONDS)):
            series, received = Totals(), Totals()
            for entry in window.entries():
                for one in entry.cells if entry.labels.direction == "inbound" else ():
                    series.add(one)
            for entry in window.received():
                for one in entry.cells:
                    received.add(one)
            assert (received.classes, received.microseconds) == (series.classes, series.microseconds)
            assert received.histogram == series.histogram
    traffic.tidy("shop/web-0", now)


def test_no_requests_have_no_percentile() -> None:
    assert Totals().percentile(0.99) is None


def test_success_and_failure() -> None:
    totals = Totals()
    totals.add(pack([1, 2, 3, 4, 5], 0, {400: 15}))
    totals.add(pack([0, 0, 0, 0, 1, 6], 0, {400: 7}))
    assert (totals.requests, totals.successes, totals.failures) == (22, 10, 12)


def test_ten_minutes_of_a_busy_sidecar_take_some_fifty_kilobytes() -> None:
    """20 series of 10 requests a second, with 25 different times in each report: 2 KB every 5 s."""
    traffic, now = Traffic(5.0, 0.0), 0.0
    labels = [Labels(direction="inbound", destination=str(port)) for port in range(20)]
    tracemalloc.start()
    try:
        for step in range(140):
            now += 5.0
            rows = [(one, busy(step * 20 + number)) for number, one in enumerate(labels)]
            traffic.add("shop/web-0", rows, now - 5.0, now)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert requests(traffic, 600.0, now) >= 20 * 50 * 120
    assert taken < 80_000


def busy(seed: int) -> bytes:
    dice = Random(seed)
    histogram: dict[int, int] = {}
    for _ in range(50):
        bucket = bucket_of(dice.lognormvariate(-5.5, 0.4))
        histogram[bucket] = histogram.get(bucket, 0) + 1
    return pack([0, 50, 0, 0, 0], 500_000, histogram)
