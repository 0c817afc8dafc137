"""The retry budget as time passes, and the bound that it promises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.budget import Budget, Budgets, Terms, terms_of
from proxy.contract.config import Retry

DEFAULT = Terms(minimum=10.0, ratio=0.2, ttl=10.0)


def spend(budget: Budget, now: float, wanted: int) -> int:
    """How many of ``wanted`` retries are granted at one moment."""
    return sum(budget.spend(now) for _ in range(wanted))


def test_it_starts_with_the_minimum_of_one_ttl() -> None:
    assert spend(Budget(DEFAULT, 0.0), 0.0, 1000) == 100


def test_it_is_refilled_by_the_second() -> None:
    budget = Budget(DEFAULT, 0.0)
    spend(budget, 0.0, 1000)

    assert spend(budget, 0.05, 10) == 0
    assert spend(budget, 0.1, 10) == 1
    assert spend(budget, 1.1, 1000) == 10


def test_it_is_refilled_by_the_request() -> None:
    budget = Budget(Terms(minimum=0.0, ratio=0.2, ttl=10.0), 0.0)
    granted = []
    for number in range(20):
        budget.request(number * 0.001)
        granted.append(budget.spend(number * 0.001))

    assert [number for number, allowed in enumerate(granted, 1) if allowed] == [5, 10, 15, 20]


def test_no_ratio_and_no_minimum_is_no_retry() -> None:
    budget = Budget(Terms(minimum=0.0, ratio=0.0, ttl=10.0), 0.0)
    for number in range(1000):
        budget.request(number * 0.01)

    assert not budget.spend(10.0)


def test_it_holds_no_more_than_the_last_ttl_brought() -> None:
    budget = Budget(DEFAULT, 0.0)
    for number in range(1000):
        budget.request(number * 0.001)

    assert budget.left(1.0) == pytest.approx(300.0)
    assert budget.left(12.0) == pytest.approx(100.0)
    assert budget.left(1e6) == pytest.approx(100.0)


def test_requests_of_the_last_ttl_count_while_it_moves_on() -> None:
    budget = Budget(Terms(minimum=0.0, ratio=1.0, ttl=10.0), 0.0)
    left = []
    for second in range(20):
        budget.request(second + 0.5)
        left.append(round(budget.left(second + 0.5)))

    assert left == [1, 2, 3, 4, 5, 6, 7, 8, 9, *[10] * 11]


def test_a_clock_that_stands_still_or_jumps() -> None:
    budget = Budget(DEFAULT, 1e9)
    budget.request(1e9)
    budget.request(1e9 + 1e6)
    spend(budget, 1e9 + 1e6, 1000)

    assert budget.left(1e9) == pytest.approx(0.2)
    assert budget.left(1e9 + 1e6 + 1.0) == pytest.approx(10.2)


moments = st.lists(
    st.tuples(st.floats(0, 3), st.sampled_from(("request", "retry", "retry", "retry"))), min_size=1, max_size=200
)


@given(moments, st.sampled_from((0.0, 1.0, 10.0)), st.sampled_from((0.0, 0.2, 1.0)), st.sampled_from((0.5, 10.0)))
def test_there_are_never_more_retries_than_promised(
    steps: list[tuple[float, str]], minimum: float, ratio: float, ttl: float
) -> None:
    budget = Budget(Terms(minimum=minimum, ratio=ratio, ttl=ttl), 100.0)
    now, requests, retries = 100.0, 0, 0
    for wait, what in steps:
        now += wait
        if what == "request":
            budget.request(now)
            requests += 1
        elif budget.spend(now):
            retries += 1
        assert budget.left(now) <= minimum * ttl + ratio * requests + 1e-6

    assert retries <= minimum * (now - 100.0 + ttl) + ratio * requests + 1e-6


def test_buckets_outlive_tables_as_long_as_a_service_has_a_policy() -> None:
    budgets = Budgets(lambda: 0.0)
    first = budgets.get("default/web", Retry())
    budgets.keep({"default/web": (first, terms_of(Retry()))})
    spend(first, 0.0, 1000)

    assert budgets.get("default/web", Retry(limit=9)) is first
    assert not first.spend(0.0)
    other = budgets.get("default/api", Retry())
    assert other is not first
    budgets.keep({"default/api": (other, terms_of(Retry()))})
    assert budgets.get("default/api", Retry()) is other
    assert budgets.get("default/web", Retry()) is not first


def test_other_terms_go_on_with_what_is_left_once_they_are_in_force() -> None:
    budgets = Budgets(lambda: 0.0)
    less, more = Retry(budget_min=5.0), Retry(budget_min=100.0)
    budget = budgets.get("default/web", Retry())
    budgets.keep({"default/web": (budget, terms_of(Retry()))})
    spend(budget, 0.0, 30)

    assert budgets.get("default/web", less) is budget
    assert budget.left(0.0) == 70.0, "nobody has put them in force"

    budgets.keep({"default/web": (budget, terms_of(less))})
    assert budget.left(0.0) == 50.0

    budgets.keep({"default/web": (budgets.get("default/web", more), terms_of(more))})
    assert budget.left(0.0) == 50.0
    assert budget.left(1.0) == 150.0


def test_what_was_looked_at_only_leaves_nothing_behind() -> None:
    budgets = Budgets(lambda: 0.0)
    spend(budgets.get("default/web", Retry(budget_min=1.0)), 0.0, 5)

    assert budgets.get("default/web", Retry()).left(0.0) == 100.0
    assert budgets.retried() == {}
