"""One try of a request at one endpoint: what the endpoint's load and breaker are told of it, each once. Pure.

An answer that has begun may still break, so that it was a good one is said at the end.
"""

from __future__ import annotations

from collections.abc import Callable

from proxy.breaker import is_failure
from proxy.contract.config import Breaker
from proxy.endpoints import EndpointState


class Attempt:
    """Begins when it is made; ``sent`` is when it was first written.

    ``answered``: the answer's head is here. ``failed`` is the verdict against the endpoint, ``over`` the end.
    """

    __slots__ = ("_answered", "_breaker", "_judged", "_probe", "_random", "endpoint", "sent")

    def __init__(
        self, endpoint: EndpointState, breaker: Breaker | None, now: float, random: Callable[[], float]
    ) -> None:
        self.endpoint = endpoint
        self.sent = now
        self._breaker = breaker
        self._random = random
        self._answered = False
        self._judged = False
        self._probe = endpoint.begin(breaker, now)

    def answered(self, status: int, grpc: int, now: float) -> None:
        """The answer's head is here. Time counts from the first write: opening a connection says nothing of it."""
        if is_failure(status, grpc):
            self.failed(now)
        else:
            self._answered = True
            self.endpoint.answered(now - self.sent, now, probe=self._probe)

    def failed(self, now: float) -> None:
        """There is no answer, or it broke, and that is the endpoint's fault."""
        if not self._judged:
            self._judged = True
            self.endpoint.failed(self._breaker, now, self._random, probe=self._probe)

    def over(self, now: float) -> None:
        """Nothing of it is in flight any more."""
        self.endpoint.load.pending -= 1
        if self._judged:
            return
        if self._answered:
            self.endpoint.succeeded()
        else:
            self.endpoint.unanswered(now - self.sent, now, probe=self._probe)
