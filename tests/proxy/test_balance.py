"""Power of two choices: who is taken, as pure arithmetic."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from proxy.balance import DECAY, DEFAULT_RTT, FAILURE_RTT, NOISE, Load, choose


class Endpoint:
    """An endpoint with a name."""

    def __init__(self, name: str, rtt: float | None = None, pending: int = 0, now: float = 0.0) -> None:
        self.name = name
        self.load = Load(now)
        self.load.pending = pending
        if rtt is not None:
            # Long ago enough for the default to be forgotten.
            self.load = Load(now - 100 * DECAY)
            self.load.pending = pending
            self.load.observe(rtt, now)


def dice(*numbers: float) -> Callable[[], float]:
    """Randomness as it is told."""
    rest = list(numbers)
    return lambda: rest.pop(0)


def shares(endpoints: list[Endpoint], now: float = 0.0, draws: int = 4000) -> dict[str, float]:
    """The part of draws that each endpoint gets."""
    source = random.Random(7)
    taken: Counter[str] = Counter()
    for _ in range(draws):
        found = choose(endpoints, now, source.random)
        assert found is not None
        taken[found.name] += 1
    return {name: count / draws for name, count in taken.items()}


def test_nobody_to_choose_from() -> None:
    assert choose([], 0.0, dice()) is None


def test_the_only_one_needs_no_dice() -> None:
    one = Endpoint("a")
    assert choose([one], 0.0, dice()) is one


def test_who_has_failed_the_request_is_left_out() -> None:
    a, b = Endpoint("a"), Endpoint("b")
    assert choose([a, b], 0.0, dice(), excluded=(a,)) is b
    assert choose([a, b], 0.0, dice(), excluded=(a, b)) is None


def test_two_different_ones_are_drawn() -> None:
    idle, busy = Endpoint("idle"), Endpoint("busy", pending=5)
    for first in (0.0, 0.4, 0.6, 0.99):
        assert choose([idle, busy], 0.0, dice(first, 0.0)) is idle


def test_fewer_requests_in_flight_wins_for_certain() -> None:
    assert shares([Endpoint("idle", 0.002), Endpoint("busy", 0.001, pending=1)]) == {"idle": 1.0}


def test_a_much_slower_one_loses_although_it_is_idle() -> None:
    assert shares([Endpoint("slow", 1.0), Endpoint("busy", 0.001, pending=1)]) == {"busy": 1.0}


def test_among_equals_chance_decides() -> None:
    found = shares([Endpoint("a"), Endpoint("b"), Endpoint("c")])
    assert all(abs(share - 1 / 3) < 0.05 for share in found.values())


def test_the_quicker_is_likelier_in_proportion() -> None:
    quick, slow = 0.0, 4 * NOISE
    found = shares([Endpoint("quick", quick), Endpoint("slow", slow)])
    assert abs(found["slow"] - 1 / 6) < 0.03


def test_a_peak_is_believed_at_once_and_forgotten_gradually() -> None:
    load = Endpoint("a", 0.001).load
    load.observe(0.5, 1.0)
    assert load.cost(1.0) == 0.5 + NOISE
    load.observe(0.001, 1.1)
    assert 0.4 < load.cost(1.1) < 0.5 + NOISE
    load.observe(0.001, 100.0)
    assert load.cost(100.0) < 0.002 + NOISE


def test_between_samples_the_estimate_decays() -> None:
    load = Load(0.0)
    assert load.cost(0.0) == DEFAULT_RTT + NOISE
    assert load.cost(DECAY) < DEFAULT_RTT / 2 + NOISE


def test_failing_fast_is_not_being_fast() -> None:
    failing, sound = Endpoint("failing", 0.001), Endpoint("sound", 0.020)
    failing.load.failed(0.0)
    assert failing.load.cost(0.0) == FAILURE_RTT + NOISE
    assert shares([failing, sound])["sound"] > 0.95
