"""What is known of how busy and how sound one endpoint is; ``proxy.balance`` chooses by it.

Load = estimated response time × (requests in flight + 1) × (1 + trouble). The
estimate jumps up at once with a slow answer and decays towards fast ones, the
sooner the further it is above them: an endpoint that was slow and has healed is
chosen so seldom that its few answers have to count for much.
Failures are no samples of it, else failing fast would look like being fast; they
are trouble, which grows with each one in a row and goes within a few answers, so
that an endpoint that is sound again is not left alone for long. One that has just
become ready looks busier than it is, so that it gets its share little by little. Pure.
"""

from __future__ import annotations

import math
from typing import Final

# Seconds: what an endpoint that has not been measured is taken to need.
DEFAULT_RTT: Final = 0.030
# Seconds by which response times differ without meaning anything: added to each before they are compared.
NOISE: Final = 0.005
# Seconds until a sample has lost 63 % of its weight.
DECAY: Final = 10.0
# How many times as fast the estimate falls, at most, towards an answer as many times quicker: slowness is forgotten
# within seconds then, and a slow answer among quick ones is still remembered for half a second.
MOST_HASTE: Final = 20.0
# Seconds until an endpoint that has become ready is like any other: code is loaded, caches fill, pools open.
SLOW_START: Final = 10.0
# The part of its share that it begins with: enough to warm up by.
COLDEST: Final = 0.1
# Trouble after the first failure, by how much more it grows with each further one, and the most there can be: a dead
# endpoint is chosen over one that has fewer requests in flight than that for certain not.
FIRST_TROUBLE: Final = 10.0
GROWTH: Final = 3.0
MAX_TROUBLE: Final = 100.0
# Trouble that no longer makes a difference.
_FORGOTTEN: Final = 0.01


class Load:
    """The running estimate for one endpoint; lives as long as the endpoint does, over config swaps."""

    __slots__ = ("_measured", "_rtt", "_since", "_stamp", "_trouble", "_troubled", "pending")

    def __init__(self, now: float) -> None:
        self._rtt = DEFAULT_RTT
        self._measured = False
        self._stamp = now
        self._since = now
        self._trouble = 0.0
        self._troubled = now
        self.pending = 0

    def observe(self, rtt: float, now: float) -> None:
        """Take in one response time (seconds). The first and a peak are believed at once, an improvement gradually."""
        self._take(rtt, now)
        if self._trouble:
            self._trouble = self._trouble / 2.0 if self._trouble > _FORGOTTEN else 0.0

    def failed(self, now: float) -> None:
        """Take in a failure."""
        self._trouble = min(MAX_TROUBLE, GROWTH * self.trouble(now) + FIRST_TROUBLE)
        self._troubled = now

    def unanswered(self, waited: float, now: float) -> None:
        """Take in that there was no answer for ``waited`` seconds and then nobody to wait for it any more."""
        if waited > self._rtt:
            self._take(waited, now)

    def forget(self, now: float) -> None:
        """Nothing measured so far counts."""
        self._rtt = DEFAULT_RTT
        self._measured = False
        self._stamp = now
        self._trouble = 0.0

    def restart(self, now: float) -> None:
        """The endpoint is as if it had just become ready; what is in flight stays counted."""
        self.forget(now)
        self._since = now

    def cost(self, now: float) -> float:
        """The load to compare by; between samples the estimate decays, so that nobody starves."""
        idle = now - self._stamp
        rtt = self._rtt if idle <= 0.0 else self._rtt * math.exp(-idle / DECAY)
        return (rtt + NOISE) * self.crowd(now)

    def crowd(self, now: float) -> float:
        """The same without the response time."""
        crowd = float(self.pending + 1)
        if self._trouble:
            crowd *= 1.0 + self.trouble(now)
        return crowd if now - self._since >= SLOW_START else crowd / self.warmth(now)

    def warmth(self, now: float) -> float:
        """The part of its share that the endpoint should have, from ``COLDEST`` to 1."""
        return min(1.0, max(COLDEST, (now - self._since) / SLOW_START))

    def trouble(self, now: float) -> float:
        """What recent failures weigh: an answer halves it, time lets it decay."""
        return self._trouble * math.exp(-max(now - self._troubled, 0.0) / DECAY)

    def _take(self, rtt: float, now: float) -> None:
        if rtt >= self._rtt or not self._measured:
            self._rtt = rtt
            self._measured = True
        else:
            haste = min(max(self._rtt / (rtt + NOISE), 1.0), MOST_HASTE)
            weight = math.exp(-max(now - self._stamp, 0.0) * haste / DECAY)
            self._rtt = self._rtt * weight + rtt * (1.0 - weight)
        self._stamp = now
