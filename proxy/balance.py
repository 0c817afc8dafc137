"""Which endpoint inside a backend: power of two choices over a peak-sensitive moving average.

Load of an endpoint = estimated response time × (requests in flight + 1). Two
endpoints are drawn, the less loaded is taken; where as many requests are in
flight at both, the quicker one is only the likelier, in proportion, so that one
slow answer does not starve an endpoint that is called now and then. The estimate
jumps up at once with a slow answer, and decays towards fast ones. Failures count
as slow answers: a plain average prefers endpoints that fail fast. Pure: time and randomness come in as arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Final, Protocol, TypeVar

# Seconds: what an endpoint that has not been measured is taken to need.
DEFAULT_RTT: Final = 0.030
# Seconds by which response times differ without meaning anything: added to each before they are compared.
NOISE: Final = 0.005
# Seconds until a sample has lost 63 % of its weight.
DECAY: Final = 10.0
# Seconds that a failure counts as, so that an endpoint that fails fast looks slow.
FAILURE_RTT: Final = 1.0


class Load:
    """The running estimate for one endpoint; lives as long as the endpoint does, over config swaps."""

    __slots__ = ("_rtt", "_stamp", "pending")

    def __init__(self, now: float) -> None:
        self._rtt = DEFAULT_RTT
        self._stamp = now
        self.pending = 0

    def observe(self, rtt: float, now: float) -> None:
        """Take in one response time (seconds). A peak is believed at once, an improvement gradually."""
        if rtt >= self._rtt:
            self._rtt = rtt
        else:
            weight = math.exp(-max(now - self._stamp, 0.0) / DECAY)
            self._rtt = self._rtt * weight + rtt * (1.0 - weight)
        self._stamp = now

    def failed(self, now: float) -> None:
        """Take in a failure."""
        self.observe(FAILURE_RTT, now)

    def cost(self, now: float) -> float:
        """The load to compare by; between samples the estimate decays, so that nobody starves."""
        idle = now - self._stamp
        rtt = self._rtt if idle <= 0.0 else self._rtt * math.exp(-idle / DECAY)
        return (rtt + NOISE) * (self.pending + 1)


class Loaded(Protocol):
    """Anything with a ``load``."""

    @property
    def load(self) -> Load:
        """Its running estimate."""


T = TypeVar("T", bound=Loaded)


def choose(endpoints: Sequence[T], now: float, random: Callable[[], float], excluded: Collection[T] = ()) -> T | None:
    """The endpoint for the next attempt, or None when all are excluded (already tried).

    ``random`` gives floats in [0, 1).
    """
    if excluded:
        endpoints = [endpoint for endpoint in endpoints if endpoint not in excluded]
    count = len(endpoints)
    if count == 0:
        return None
    if count == 1:
        return endpoints[0]
    first = int(random() * count)
    second = int(random() * (count - 1))
    if second >= first:
        second += 1
    one, other = endpoints[first], endpoints[second]
    cost, alternative = one.load.cost(now), other.load.cost(now)
    if one.load.pending != other.load.pending:
        return one if cost <= alternative else other
    return one if random() * (cost + alternative) < alternative else other
