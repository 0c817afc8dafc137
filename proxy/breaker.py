"""The circuit breaker of an endpoint: after so many failures in a row it is left alone for a while.

Then it is in probation: one request is its probe. An answer that begins closes
the circuit, a failure ejects it for twice as long, also one that comes before any
answer was whole. An endpoint is one thing, whichever Service it is called by:
failures count together; who has no breaker takes no notice. The last endpoint of a
Service is ejected like any other, as in Linkerd: with all of them ejected requests
fail at once (503 ``breaker-open``), which is what gives an overloaded Service room
to come back. Pure: time and randomness are arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from proxy.backoff import backoff
from proxy.contract.config import Breaker

# grpc-status codes that say something about the server and not about the request:
# UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS.
_GRPC_FAILURES: Final = frozenset({2, 4, 13, 14, 15})


def is_failure(status: int, grpc: int = 0) -> bool:
    """Whether an answer counts against its endpoint: any 5xx, our own for a broken or silent one among them."""
    return status >= 500 or grpc in _GRPC_FAILURES


def effective(own: Breaker | None, root: Breaker | None) -> Breaker | None:
    """The breaker of a backend: its own Service's, else that of the root that the request names; None: no breaker."""
    breaker = root if own is None else own
    return breaker if breaker is not None and breaker.consecutive_failures else None


class Circuit:
    """The breaker's memory of one endpoint; it outlives config swaps, terms come with each call.

    Each attempt is announced by ``begin`` and ends in one of ``succeeded``,
    ``failed`` and ``abandoned``; ``answered`` comes before, when its answer begins. While the
    circuit is open only the probe counts: what else still ends began before.
    """

    __slots__ = ("_failures", "_penalty", "_probation", "_step", "_until", "open")

    def __init__(self) -> None:
        self.open = False
        self._failures = 0
        self._step = 0
        self._penalty = 0.0
        self._until = 0.0
        self._probation = False

    def admits(self, now: float) -> bool:
        """Whether a request may be sent: the circuit is closed, or it is time for a probe."""
        return not self.open or now >= self._until

    def begin(self, breaker: Breaker | None, now: float) -> bool:
        """An attempt is sent; whether it is the probe.

        There is one per penalty: should it stay without an answer, the next comes after as long again.
        """
        if breaker is None or not self.open or now < self._until:
            return False
        self._until = now + self._penalty
        return True

    def answered(self, *, probe: bool) -> bool:
        """An answer has begun; whether that has closed the circuit.

        A stream may go on for hours, so a probe's end is not waited for; but the
        next failure ejects again, unless an answer was whole before it.
        """
        if probe:
            self.open = False
            self._probation = True
        return probe

    def succeeded(self) -> None:
        """An attempt has ended well: its answer was whole, or went on for as long as anybody wanted it."""
        self._failures = 0
        self._probation = False

    def failed(self, breaker: Breaker | None, now: float, random: Callable[[], float], *, probe: bool) -> bool:
        """An attempt failed; whether that has ejected the endpoint (again)."""
        if self.open:
            if probe and breaker is not None:
                self._step += 1
                self._eject(breaker, now, random())
            return probe
        self._failures += 1
        if breaker is None or (self._failures < breaker.consecutive_failures and not self._probation):
            return False
        self._step = self._step + 1 if self._probation else 0
        self._probation = False
        self._eject(breaker, now, random())
        return True

    def abandoned(self, now: float, *, probe: bool) -> None:
        """An attempt ended without a verdict: the client went away. The next request is the probe instead."""
        if probe and self.open:
            self._until = now

    def _eject(self, breaker: Breaker, now: float, jitter: float) -> None:
        self.open = True
        self._penalty = backoff(breaker.min_penalty, breaker.max_penalty, self._step, jitter)
        self._until = now + self._penalty
