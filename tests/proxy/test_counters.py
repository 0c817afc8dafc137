"""What is counted, and how it is taken away without losing or doubling anything."""

from __future__ import annotations

import pytest

from proxy.contract.report import Labels, bucket_of, bucket_value, unpack
from proxy.counters import MAX_SERIES, OVERFLOW, RETAIN_IDLE, Counters, Series
from proxy.errors import Reason


def web(name: str = "web") -> Labels:
    return Labels(direction="outbound", destination=f"shop/{name}:80")


def taken(counters: Counters, now: float = 1.0, budget: int = 1 << 30) -> dict[str, int]:
    """Requests by destination, as a report would carry them."""
    return {series.labels.destination: sum(unpack(cell).classes) for series, cell in counters.take(now, budget)}


def totals(counters: Counters) -> dict[str, int]:
    return {labels.destination: counted.requests for labels, counted in counters.items()}


def test_a_series_counts_by_status_and_by_time() -> None:
    counters = Counters()
    series = counters.series(web())
    for status, seconds in [(200, 0.001), (200, 0.002), (503, 0.5)]:
        series.add(status, seconds)

    assert series.totals.by_status == {200: 2, 503: 1}
    assert series.totals.requests == 3
    assert series.totals.seconds == pytest.approx(0.503)
    assert sorted(series.totals.histogram) == [bucket_of(0.001), bucket_of(0.002), bucket_of(0.5)]


@pytest.mark.parametrize("seconds", [1e-5, 0.00123, 0.01, 0.5, 7.0, 3600.0])
def test_a_time_is_at_most_one_percent_off(seconds: float) -> None:
    series = Counters().series(web())
    series.add(200, seconds)
    [bucket] = series.histogram

    assert bucket_value(bucket) == pytest.approx(seconds, rel=0.01)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-12])
def test_no_time_at_all_is_counted_too(seconds: float) -> None:
    counters = Counters()
    counters.series(web()).add(200, seconds)

    [(_, cell)] = counters.take(1.0)
    classes, microseconds, buckets, counts = unpack(cell)
    assert (classes, microseconds, list(buckets), counts) == ([0, 1, 0, 0, 0], 0, [0], [1])


@pytest.mark.parametrize(
    ("status", "index"), [(101, 0), (200, 1), (302, 2), (404, 3), (499, 3), (500, 4), (599, 4), (999, 4), (0, 0)]
)
def test_a_status_belongs_to_a_class(status: int, index: int) -> None:
    counters = Counters()
    counters.series(web()).add(status, 0.01)

    [(_, cell)] = counters.take(1.0)
    assert unpack(cell).classes[index] == 1


def test_what_was_taken_is_not_taken_again_and_stays_in_the_totals() -> None:
    counters = Counters()
    series = counters.series(web())
    series.add(200, 0.01)
    assert counters.changed == 1
    assert taken(counters) == {"shop/web:80": 1}
    assert counters.changed == 0
    assert taken(counters) == {}
    series.add(200, 0.01)
    series.add(500, 0.01)
    assert totals(counters) == {"shop/web:80": 3}
    assert taken(counters) == {"shop/web:80": 2}
    assert totals(counters) == {"shop/web:80": 3}


def test_what_one_report_cannot_carry_comes_with_the_next() -> None:
    counters = Counters()
    for number in range(5):
        counters.series(web(f"web-{number}")).add(200, 0.01)

    # A cell of one request has 12 bytes, its labels 8 + 13.
    assert [len(taken(counters, budget=60)) for _ in range(4)] == [2, 2, 1, 0]


def test_the_number_of_series_is_bounded() -> None:
    counters = Counters()
    for number in range(MAX_SERIES + 500):
        counters.series(web(str(number))).add(200, 0.001)

    assert len(totals(counters)) == MAX_SERIES + 1
    assert totals(counters)[OVERFLOW] == 500
    assert len({series.number for series, _ in counters.take(1.0)}) == MAX_SERIES + 1


def test_one_series_for_each_set_of_labels() -> None:
    counters = Counters()

    assert counters.series(web()) is counters.series(web())
    assert counters.series(web()) is not counters.series(web("other"))


class Story:
    """Counters with a series that was used at time 1 and forgotten long after."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.held = self.counters.series(web())
        self.held.add(200, 0.01)
        assert taken(self.counters, 1.0) == {"shop/web:80": 1}
        self.counters.forget_idle(RETAIN_IDLE)
        assert totals(self.counters) == {"shop/web:80": 1}
        self.counters.forget_idle(RETAIN_IDLE + 2.0)
        assert totals(self.counters) == {}


def test_a_series_is_forgotten_when_nothing_comes() -> None:
    story = Story()
    again = story.counters.series(web("other"))
    again.add(200, 0.01)

    assert again.number == story.held.number, "its number is free"


def test_no_two_series_have_the_same_number() -> None:
    counters = Counters()
    counters.series(web("first")).add(200, 0.01)
    kept = counters.series(web("kept"))
    for hour in range(1, 5):
        kept.add(200, 0.01)
        for number in range(2 if hour == 1 else 3):
            counters.series(web(f"{hour}-{number}")).add(200, 0.01)
        numbers = [series.number for series, _ in counters.take(RETAIN_IDLE * hour * 2)]
        assert sorted(numbers) == [0, 1, 2, 3]
        kept.add(200, 0.01)
        counters.take(RETAIN_IDLE * (hour * 2 + 1))
        counters.forget_idle(RETAIN_IDLE * (hour * 2 + 1) + 1)
        assert totals(counters).keys() == {"shop/kept:80"}


def test_who_still_holds_a_forgotten_series_counts_all_the_same() -> None:
    story = Story()
    story.held.add(200, 0.01)

    assert taken(story.counters, 2.0) == {"shop/web:80": 1}
    assert story.counters.series(web()) is story.held


def test_a_forgotten_series_counts_for_the_one_that_took_its_place() -> None:
    story = Story()
    place: Series = story.counters.series(web())
    story.held.add(200, 0.01)
    assert taken(story.counters, 2.0) == {"shop/web:80": 1}
    story.held.add(503, 0.02)
    place.add(200, 0.01)
    assert taken(story.counters, 2.0) == {"shop/web:80": 2}
    assert place.totals.by_status == {200: 2, 503: 1}


def test_a_series_that_waits_for_a_report_is_not_forgotten() -> None:
    counters = Counters()
    counters.series(web()).add(200, 0.01)
    counters.forget_idle(1.0)
    counters.forget_idle(RETAIN_IDLE * 3)

    assert totals(counters) == {"shop/web:80": 1}
    assert taken(counters) == {"shop/web:80": 1}


def test_a_series_just_made_is_not_forgotten() -> None:
    counters = Counters()
    counters.series(web())
    counters.forget_idle(RETAIN_IDLE * 3)

    assert totals(counters) == {"shop/web:80": 0}


def test_refusals_by_reason() -> None:
    counters = Counters()
    counters.refused("inbound", Reason.DENIED)
    counters.refused("inbound", Reason.DENIED)

    assert counters.refusals() == {("inbound", "denied"): 2}
