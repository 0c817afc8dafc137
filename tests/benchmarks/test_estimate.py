"""What is concluded from samples: worked by hand where that is possible, by symmetry where it is not."""

import math
import random

import pytest

from benchmarks.estimate import (
    Estimate,
    abba,
    average,
    exponent,
    geometric_mean,
    percentile,
    ratio_of_pairs,
    ratio_of_sums,
)


def test_pairs_are_in_abba_order() -> None:
    assert abba(3) == [(0, 1), (1, 0), (0, 1)]


def test_a_geometric_mean_of_a_ratio_and_its_inverse_is_one() -> None:
    assert geometric_mean([4.0, 0.25]) == pytest.approx(1.0)
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4.0)


@pytest.mark.parametrize("values", [[], [1.0, 0.0], [1.0, -1.0]])
def test_a_geometric_mean_is_of_something_above_zero(values: list[float]) -> None:
    with pytest.raises(ValueError, match="mean"):
        geometric_mean(values)


def test_pairs_that_agree_leave_no_doubt() -> None:
    assert ratio_of_pairs([(2.0, 4.0), (3.0, 6.0)]) == Estimate(value=0.5, low=0.5, high=0.5, count=2)


def test_turning_all_pairs_round_turns_the_ratio_round() -> None:
    dice = random.Random(7)
    pairs = [(dice.uniform(1, 2), dice.uniform(1, 2)) for _ in range(20)]

    one, other = ratio_of_pairs(pairs), ratio_of_pairs([(b, a) for a, b in pairs])

    assert one.value == pytest.approx(1 / other.value)
    assert one.low < one.value < one.high


def test_a_drift_of_the_machine_shared_by_a_pair_changes_no_ratio() -> None:
    drifting = [(3.0 * speed, 2.0 * speed) for speed in (1.0, 1.4, 2.0, 0.7)]

    assert ratio_of_pairs(drifting).value == pytest.approx(1.5)
    assert ratio_of_pairs(drifting).high == pytest.approx(1.5)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    dice = random.Random(3)
    held = 0
    for _ in range(60):
        pairs = [(1.3 * dice.lognormvariate(0, 0.1), dice.lognormvariate(0, 0.1)) for _ in range(12)]
        found = ratio_of_pairs(pairs)
        held += found.low <= 1.3 <= found.high

    assert held >= 50  # of 60; 95 % is asymptotic, twelve pairs give a little less


def test_differences_may_be_zero_or_below_as_long_as_their_sum_is_not() -> None:
    found = ratio_of_sums([(0.2, 0.5), (-0.1, 0.0), (0.2, 0.1)])

    assert found is not None
    assert found.value == pytest.approx(0.5)
    assert found.high == math.inf  # some resamples have nothing to divide by


def test_nothing_is_a_multiple_of_nothing() -> None:
    assert ratio_of_sums([(0.2, 0.1), (0.2, -0.1)]) is None


def test_the_same_samples_give_the_same_interval() -> None:
    assert average([1.0, 2.0, 4.0]) == average([1.0, 2.0, 4.0])


@pytest.mark.parametrize(("percent", "expected"), [(0, 1.0), (50, 2.0), (51, 3.0), (99, 4.0), (100, 4.0)])
def test_a_percentile_is_a_sample(percent: float, expected: float) -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], percent) == expected


@pytest.mark.parametrize(("value", "same"), [(0.969, False), (0.97, True), (1.0, True), (1.03, True), (1.031, False)])
def test_what_passes_for_the_same(value: float, same: bool) -> None:
    assert Estimate(value=value, low=0, high=2, count=1).same is same


def test_the_exponent_of_a_power_is_found() -> None:
    assert exponent([(n, 3 * n**0.5) for n in (10, 100, 1000)]) == pytest.approx(0.5)
    assert exponent([(10, 7.0), (10000, 7.0)]) == pytest.approx(0.0)


def test_one_size_has_no_growth() -> None:
    with pytest.raises(ValueError, match="two different sizes"):
        exponent([(10, 1.0), (10, 2.0)])
