"""Smooth weighted round-robin: exact over whole periods, whatever the phase."""

from __future__ import annotations

from collections import Counter

import pytest

from proxy.split import Wheel


def turns(wheel: Wheel, count: int, eligible: tuple[int, ...] | None = None) -> Counter[str]:
    """Who was picked in ``count`` turns."""
    among = range(len(wheel.names)) if eligible is None else eligible
    return Counter(wheel.names[wheel.pick(among)] for _ in range(count))


@pytest.mark.parametrize("seed", ["", "default/client-1 default/web:80", "default/client-2 default/web:80"])
@pytest.mark.parametrize("weights", [(9, 1), (1, 1), (1, 2, 3), (97, 2, 1), (0, 5), (1,), (900, 100)])
def test_a_whole_period_is_exact(weights: tuple[int, ...], seed: str) -> None:
    names = tuple("abc"[: len(weights)])
    found = turns(Wheel(names, weights, seed), 3 * sum(weights))
    assert found == Counter({name: 3 * weight for name, weight in zip(names, weights, strict=True) if weight})


def test_turns_are_spread_evenly() -> None:
    wheel = Wheel(("a", "b"), (3, 1))
    assert [wheel.names[wheel.pick((0, 1))] for _ in range(8)] == ["a", "a", "b", "a"] * 2


def test_nobody_with_a_weight() -> None:
    assert Wheel(("a", "b"), (0, 0), "seed").pick((0, 1)) == -1
    assert Wheel((), ()).pick(()) == -1


def test_the_share_of_who_is_not_eligible_goes_to_the_others() -> None:
    found = turns(Wheel(("a", "b", "c"), (6, 3, 1)), 40, eligible=(1, 2))
    assert found == Counter(b=30, c=10)


def test_weight_zero_is_never_picked() -> None:
    assert turns(Wheel(("a", "b"), (0, 1)), 10) == Counter(b=10)


def test_many_short_lived_clients_together_keep_the_ratio() -> None:
    first = Counter(
        turns(Wheel(("a", "b"), (9, 1), f"default/client-{n}"), 1).most_common(1)[0][0] for n in range(1000)
    )
    assert 60 <= first["b"] <= 140


def test_a_huge_sum_of_weights_does_not_keep_the_start_waiting() -> None:
    assert Wheel(("a", "b"), (2**53, 1), "seed").pick((0, 1)) == 0
