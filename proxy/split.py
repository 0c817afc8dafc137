"""Smooth weighted round-robin: which backend of a split the next request goes to.

Each pick adds every eligible backend's weight to its credit, takes the one
with most credit and charges it the sum. Over any whole period of S = sum of
weights, each backend is picked exactly weight times, spread evenly (the
algorithm nginx made known). Pure: no clock, no randomness.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Final

# The phase is reached by turning the wheel that many times at most; only the start differs beyond it.
_MAX_PHASE: Final = 1000


class Wheel:
    """The position of one split in one sidecar; it outlives config swaps as long as names and weights stay.

    ``names`` and ``weights`` are parallel; weights are whole and ≥ 0, a weight
    of 0 is never picked. ``seed`` (the pod) sets the phase, so that many
    short-lived clients together keep the ratio.
    """

    __slots__ = ("_credit", "names", "weights")

    def __init__(self, names: tuple[str, ...], weights: tuple[int, ...], seed: str = "") -> None:
        self.names = names
        self.weights = weights
        self._credit = [0] * len(weights)
        total = sum(weights)
        if seed and total:
            for _ in range(zlib.crc32(seed.encode()) % min(total, _MAX_PHASE)):
                self.pick(range(len(weights)))

    def pick(self, eligible: Iterable[int]) -> int:
        """The index of the next backend among the indexes ``eligible``, or -1 when none of them has a weight."""
        credit = self._credit
        best = -1
        total = 0
        for index in eligible:
            weight = self.weights[index]
            if weight:
                credit[index] += weight
                total += weight
                if best < 0 or credit[index] > credit[best]:
                    best = index
        if best >= 0:
            credit[best] -= total
        return best
