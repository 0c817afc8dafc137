"""How long to wait before something is tried again: between retries, and while an endpoint is ejected. Pure."""

from __future__ import annotations

from typing import Final

# Doublings that are counted: more would leave what a float can hold, and any limit is reached long before.
_MAX_STEP: Final = 60


def backoff(low: float, high: float, step: int, jitter: float) -> float:
    """Seconds, from ``low`` to ``high``: ``low`` doubled ``step`` times and up to half as much again.

    ``jitter`` in [0, 1) says how much of that half, so that those who failed together do not come back together.
    """
    whole = min(high, low * 2.0 ** min(step, _MAX_STEP))
    return min(high, whole * (1.0 + jitter / 2.0))
