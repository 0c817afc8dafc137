"""Weights: from SMI's fractions to the whole numbers that the sidecar picks by."""

from __future__ import annotations

from fractions import Fraction
from math import gcd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.contract.check import MAX_WEIGHT
from translator.splits import normalized

weights = st.lists(st.fractions(min_value=0, max_value=1000, max_denominator=100), max_size=4)


@pytest.mark.parametrize(
    ("given_weights", "expected"),
    [
        ([Fraction(9, 10), Fraction(1, 10)], [9, 1]),
        ([Fraction(90), Fraction(10)], [9, 1]),
        ([Fraction(1, 2), Fraction(1)], [1, 2]),
        ([Fraction(1, 3), Fraction(2, 3), Fraction(0)], [1, 2, 0]),
        ([Fraction(0), Fraction(0)], [0, 0]),
        ([Fraction(7)], [1]),
        ([], []),
    ],
)
def test_weights_become_coprime_whole_numbers(given_weights: list[Fraction], expected: list[int]) -> None:
    assert normalized(given_weights) == expected


@given(weights)
def test_the_ratio_is_exactly_kept(given_weights: list[Fraction]) -> None:
    whole = normalized(given_weights)
    assert gcd(*whole) in (0, 1)
    for a, x in zip(given_weights, whole, strict=True):
        for b, y in zip(given_weights, whole, strict=True):
            assert a * y == b * x


def test_weights_beyond_what_the_contract_takes_are_rounded() -> None:
    tiny, huge = normalized([Fraction(1, 10**9), Fraction(10**15)])
    assert (tiny, huge) == (1, MAX_WEIGHT)
