"""How soon after one change the next is taken up. Pure; ``translator.kube.controller`` waits.

A cluster is never quiet: somewhere a pod becomes ready. Were there a fixed time between two worlds, the one change that
somebody waits for would often wait for it. So the time follows from what the last world cost. How often a single
sidecar is pushed is another matter (``translator.publish``).
"""

from __future__ import annotations

from typing import Final

SHARE: Final = 10.0
"""What took a millisecond, sidecars' configs included, is followed by as many without work of that kind: a tenth of a
core at most, however much changes."""

LEAST: Final = 0.005
"""Seconds: what one client changes in one go comes within it, and is one world."""

MOST: Final = 0.1
"""Seconds: with thousands of sidecars a world costs as much as that, and what comes meanwhile is taken together."""


def rest(cost: float) -> float:
    """Seconds between the beginning of a world that cost so many and the next one."""
    return min(MOST, max(LEAST, cost * SHARE))
