"""Runs at saturation in pairs: two contenders side by side, A B B A."""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.estimate import abba
from benchmarks.peers.contenders import Arena, entered
from benchmarks.saturation import Sample, counts_of, saturated

WARM = 1.0
"""Seconds of load before the first run: connections are opened, caches filled, branches of the code seen once."""

ROUND = 4
"""Pairs that the same two processes run. Two processes of one program differ all their lives (where their memory lies),
which no number of runs evens out, but several processes do. Even, so that each process is first as often as last."""

Pair = tuple[Sample, Sample]


def compared(where: Arena, first: str, second: str, pairs: int, seconds: float) -> list[Pair]:
    """Runs of two contenders; one that is named twice is two processes of the same kind."""
    runs: list[Pair] = []
    while len(runs) < pairs:
        runs += _round(where, first, second, min(ROUND, pairs - len(runs)), seconds)
    return runs


def _round(where: Arena, first: str, second: str, pairs: int, seconds: float) -> list[Pair]:
    with ExitStack() as stack:
        both = [stack.enter_context(entered(where, name)) for name in (first, second)]
        for contender in both:
            saturated(where, contender, WARM)
        runs: list[Pair] = []
        for order in abba(pairs):
            taken = {turn: saturated(where, both[turn], seconds) for turn in order}
            runs.append((taken[0], taken[1]))
        return runs


def counts(where: Arena, name: str, seconds: float) -> dict[str, float | None]:
    """System calls and instructions a request of a contender; see ``saturation.counts_of``."""
    with entered(where, name) as contender:
        saturated(where, contender, WARM)
        return counts_of(where, contender, seconds)
