"""What can be said of samples: ratios of paired runs with an interval, percentiles, the exponent of a growth. Pure.

Runs are paired because a machine's speed drifts: the two runs of a pair stand side by side, and every second pair is in
the other order (A B B A), so that a drift through the run favours nobody.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

SAME = (0.97, 1.03)
"""Where the ratio of a contender to its own twin must lie; outside of it the machine was too restless."""

RESAMPLES = 2000
"""Bootstrap resamples: the ends of a 95 % interval then stand on 50 of them each."""

CONFIDENCE = 0.95

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value, the ends of its 95 % interval, and how many pairs or samples it stands on."""

    value: float
    low: float
    high: float
    count: int

    @property
    def same(self) -> bool:
        """Whether the value is near enough to 1 for an A/A pair."""
        return SAME[0] <= self.value <= SAME[1]


def abba(pairs: int) -> list[tuple[int, int]]:
    """The order of each pair: ``(0, 1)`` is A first, ``(1, 0)`` is B first."""
    return [(0, 1) if number % 2 == 0 else (1, 0) for number in range(pairs)]


def geometric_mean(values: Sequence[float]) -> float:
    """Of values above 0. Raises ``ValueError`` for others, and for none."""
    if not values:
        raise ValueError("there is nothing to take a mean of")
    if min(values) <= 0:
        raise ValueError(f"a geometric mean is of values above 0, not {min(values)}")
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def ratio_of_pairs(pairs: Sequence[tuple[float, float]]) -> Estimate:
    """The geometric mean of a/b over pairs (a, b), with a bootstrap interval over the pairs. All must be above 0."""
    ratios = [a / b for a, b in pairs]
    return _bootstrapped(ratios, geometric_mean)


def ratio_of_sums(pairs: Sequence[tuple[float, float]]) -> Estimate | None:
    """Sum of a over sum of b, for differences, of which one may be 0 or below it; None where their sum is.

    Resamples whose b does not come to more than 0 are infinitely far off.
    """

    def quotient(chosen: Sequence[tuple[float, float]]) -> float:
        below = math.fsum(b for _, b in chosen)
        return math.fsum(a for a, _ in chosen) / below if below > 0 else math.inf

    return None if math.isinf(quotient(pairs)) else _bootstrapped(pairs, quotient)


def average(values: Sequence[float]) -> Estimate:
    """The arithmetic mean, with a bootstrap interval."""
    return _bootstrapped(values, lambda chosen: math.fsum(chosen) / len(chosen))


def _bootstrapped(values: Sequence[T], statistic: Callable[[Sequence[T]], float]) -> Estimate:
    dice = random.Random(0)  # the same samples give the same interval
    found = sorted(statistic(dice.choices(values, k=len(values))) for _ in range(RESAMPLES))
    tail = (1 - CONFIDENCE) / 2
    low, high = (found[round(part * (RESAMPLES - 1))] for part in (tail, 1 - tail))
    return Estimate(value=statistic(values), low=low, high=high, count=len(values))


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest sample that ``percent`` % are not above (nearest rank). ``ordered`` ascends and has a sample."""
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """How y grows with x: e of y = c·x^e, by least squares on logarithms. Two different x at least, all above 0."""
    xs, ys = zip(*((math.log(x), math.log(y)) for x, y in points), strict=True)
    middle_x, middle_y = math.fsum(xs) / len(xs), math.fsum(ys) / len(ys)
    spread = math.fsum((x - middle_x) ** 2 for x in xs)
    if not spread:
        raise ValueError("growth needs two different sizes")
    return math.fsum((x - middle_x) * (y - middle_y) for x, y in zip(xs, ys, strict=True)) / spread
