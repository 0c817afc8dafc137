"""Waits that double, with room for chance, and never leave their range."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.backoff import backoff


@pytest.mark.parametrize(
    ("step", "jitter", "seconds"),
    [(0, 0.0, 0.025), (0, 0.5, 0.03125), (1, 0.0, 0.05), (2, 0.0, 0.1), (3, 0.0, 0.2), (3, 0.9, 0.25), (4, 0.0, 0.25)],
)
def test_doubling_with_up_to_half_as_much_again(step: int, jitter: float, seconds: float) -> None:
    assert backoff(0.025, 0.25, step, jitter) == seconds


def test_one_duration_is_always_the_same_and_none_is_none() -> None:
    assert {backoff(0.1, 0.1, step, 0.7) for step in range(5)} == {0.1}
    assert {backoff(0.0, 0.0, step, 0.7) for step in range(5)} == {0.0}


@given(
    low=st.floats(0, 1e6),
    more=st.floats(0, 1e6),
    step=st.integers(0, 10_000),
    jitter=st.floats(0, 1, exclude_max=True),
)
def test_never_outside_of_its_range(low: float, more: float, step: int, jitter: float) -> None:
    assert low <= backoff(low, low + more, step, jitter) <= low + more
