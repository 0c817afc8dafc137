"""Is a request sent again? Decided per failed attempt, from the retry policy of the Service that the request names.

What a policy never overrides: an answer that has begun to reach the client is
not taken back, more than ``REPLAY_LIMIT`` bytes of body are not kept, a peer's
refusal is final, and an answer marked ``smi-mesh-retry: spent`` has been
retried further down already. Nobody is asked twice about what is not
idempotent unless the policy's routes name the method. ``proxy.budget`` has the
budgets, ``proxy.forward`` does the sending. Pure: time and randomness are arguments.

Failures of our own and answers of the peer's sidecar are put alike, as the
``Outcome`` that a client would see: 502 ``reset`` is the same whichever side of
the mesh noticed it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final, TypeVar

from proxy.backoff import backoff
from proxy.budget import Budget
from proxy.contract.config import Retry
from proxy.errors import Reason, Refusal, Unavailable
from proxy.matching import Matcher, Request, compile_match

# Methods that may be carried out twice (RFC 9110 §9.2.2).
IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
# Bytes of a request's body kept for sending it again.
REPLAY_LIMIT: Final = 64 * 1024
# Seconds to wait for an endpoint where the request has no time-out.
WAIT: Final = 30.0
# The header and its value that say: this failure has been retried further down, do not do it again.
MARK: Final = b"smi-mesh-retry"
SPENT: Final = b"spent"
# Refusals that no other pod would take back, and what would go round in circles.
_FINAL: Final = frozenset({Reason.DENIED, Reason.NO_IDENTITY, Reason.BAD_REQUEST, Reason.TOO_LARGE, Reason.LOOP})

T = TypeVar("T")


class Scope(IntEnum):
    """What a policy does for a request, decided once from its head; each includes the ones before."""

    NOTHING = 0
    WAITS = 1
    """It waits for an endpoint when none is ready: nothing has been sent yet, so any method may."""
    REPEATS = 2


class Decision(Enum):
    """What becomes of a failed attempt."""

    RETRY = "retry"
    """Send it again after ``Attempts.pause``; limit and budget are charged."""
    PASS = "pass"
    """Pass on what came."""
    SPENT = "retried in vain"
    """Pass on what came, and tell ``Amplification``: retrying further up would multiply."""
    LIMIT = "no retries left"
    """As ``SPENT``: it would have been sent again, but the request has had all its retries."""
    BUDGET = "no budget left"
    """As ``SPENT``: it would have been sent again, but the Service's budget is spent."""

    @property
    def spent(self) -> bool:
        """Whether ``Amplification`` is told."""
        return self is not Decision.RETRY and self is not Decision.PASS


class Outcome:
    """How an attempt ended: the status, and whose words they are.

    ``word`` is the first word of ``smi-mesh-reason``, the peer's sidecar's or
    our own; empty for the application's answer. ``grpc`` is the grpc-status, 0
    without one. ``spent``: the answer carried the mark. ``expired``: there was
    no answer within the time for one try.
    """

    __slots__ = ("expired", "grpc", "spent", "status", "word")

    def __init__(self, status: int, word: str = "", grpc: int = 0, spent: bool = False, expired: bool = False) -> None:
        self.status = status
        self.word = word
        self.grpc = grpc
        self.spent = spent
        self.expired = expired


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """A ``Retry`` made ready to be asked. ``try_timeout`` is infinite where there is none."""

    limit: int
    statuses: frozenset[int]
    grpc: frozenset[int]
    connect_failure: bool
    reset: bool
    try_timeout: float
    backoff_min: float
    backoff_max: float
    routes: tuple[Matcher, ...] | None

    @property
    def looks_at_path(self) -> bool:
        """Whether a route has a path condition, for which the canonical path must be known."""
        return any(matcher.looks_at_path for matcher in self.routes or ())

    def scope(self, request: Request) -> Scope:
        """What the policy does for ``request``."""
        idempotent = request.method in IDEMPOTENT
        if self.routes is None:
            return Scope.REPEATS if idempotent else Scope.WAITS
        found = Scope.NOTHING
        for matcher in self.routes:
            repeats = idempotent or request.method in matcher.methods
            if (repeats or found is Scope.NOTHING) and matcher.accepts(request):
                if repeats:
                    return Scope.REPEATS
                found = Scope.WAITS
        return found

    def wants(self, outcome: Outcome) -> bool:
        """Whether an attempt that ended so is one to repeat, budget and limit apart."""
        word = outcome.word
        if outcome.spent or (word and word in _FINAL):
            return False
        if outcome.expired or outcome.status in self.statuses or (outcome.grpc and outcome.grpc in self.grpc):
            return True
        if not word:
            return False
        if word == Reason.CONNECT_FAILURE:
            return self.connect_failure
        return word == Reason.RESET and self.reset


def compile_retry(retry: Retry) -> RetryPolicy:
    """Make a policy ready. Raises ``ConfigRejected`` for a pattern that is not RE2."""
    return RetryPolicy(
        limit=retry.limit,
        statuses=frozenset(code for first, last in retry.statuses for code in range(first, last + 1)),
        grpc=frozenset(retry.grpc),
        connect_failure=retry.connect_failure,
        reset=retry.reset,
        try_timeout=float("inf") if retry.try_timeout is None else retry.try_timeout,
        backoff_min=retry.backoff_min,
        backoff_max=retry.backoff_max,
        routes=None if retry.routes is None else tuple(compile_match(match) for match in retry.routes),
    )


class Attempts:
    """What one request has had of its Service's policy; only for requests in ``Scope.REPEATS``.

    ``retries`` counts the attempts beyond the first that were granted.
    """

    __slots__ = ("_budget", "_policy", "retries")

    def __init__(self, policy: RetryPolicy, budget: Budget) -> None:
        self._policy = policy
        self._budget = budget
        self.retries = 0

    def decide(self, outcome: Outcome, size: int, now: float) -> Decision:
        """What becomes of an attempt that ended with ``outcome``; ``size`` is the bytes of body seen so far."""
        retried = self._budget.retried
        if self._policy.wants(outcome) and size <= REPLAY_LIMIT:
            if self.retries >= self._policy.limit:
                retried.limit_exceeded += 1
                return Decision.LIMIT
            if not self._budget.spend(now):
                retried.overflow += 1
                return Decision.BUDGET
            self.retries += 1
            retried.requests += 1
            return Decision.RETRY
        failed = outcome.status >= 500 or outcome.grpc != 0
        if self.retries and not failed:
            retried.successes += 1
        return Decision.SPENT if outcome.spent or (failed and self.retries) else Decision.PASS

    def pause(self, jitter: float) -> float:
        """Seconds to wait before the retry just granted; ``jitter`` in [0, 1)."""
        return backoff(self._policy.backoff_min, self._policy.backoff_max, self.retries - 1, jitter)


def decide(attempts: Attempts | None, outcome: Outcome, size: int, now: float) -> Decision:
    """``Attempts.decide``, also for requests that no policy repeats: a mark from below is handed on by them too."""
    if attempts is not None:
        return attempts.decide(outcome, size, now)
    return Decision.SPENT if outcome.spent else Decision.PASS


def told(failure: Refusal, decision: Decision) -> Refusal:
    """What a client is told of a failure of our own: the failure, or that retries were spent, on it in the end.

    The word of the last failure alone would promise too much: after ``connect-failure`` nothing was delivered, which
    need not be true of the attempts before.
    """
    if decision is not Decision.LIMIT and decision is not Decision.BUDGET:
        return failure
    return Unavailable(
        failure.status, Reason.RETRIES_SPENT, f"{decision.value}, last {failure.reason}: {failure.detail}"
    )


def first_word(reason: bytes) -> str:
    """The word of a ``smi-mesh-reason`` header, empty for none."""
    return reason.partition(b";")[0].strip().decode("latin-1")


def wait_left(scope: Scope, began: float, request_timeout: float | None, now: float) -> float:
    """Seconds that a request which began at ``began`` may still wait for an endpoint; 0: refuse it now."""
    if scope is Scope.NOTHING:
        return 0.0
    return max(0.0, began + (WAIT if request_timeout is None else request_timeout) - now)


def left_out(tried: Sequence[T], callable_now: Collection[T]) -> Sequence[T]:
    """Which endpoints the next attempt leaves out.

    ``tried`` have failed this request, in this order; ``callable_now`` are all
    that the request may go to, over all backends. Those not tried yet come
    first; then all but the one that failed last; that one only when it is alone.
    """
    if any(endpoint not in tried for endpoint in callable_now):
        return tried
    last = tried[-1:]
    return last if any(endpoint not in last for endpoint in callable_now) else ()


class Amplification:
    """Which answers of this pod's application carry the mark, so that only the lowest of several callers retries.

    A call of the application that failed with its retries spent marks the
    failures of all requests that were being answered at that moment: which of
    them made the call cannot be told.
    """

    __slots__ = ("_spent",)

    def __init__(self) -> None:
        self._spent = 0

    def opened(self) -> int:
        """An inbound request begins; the ticket is for ``marks``."""
        return self._spent

    def spent(self) -> None:
        """An outbound call ended in ``Decision.SPENT``."""
        self._spent += 1

    def marks(self, ticket: int, status: int) -> bool:
        """Whether the answer to the inbound request with ``ticket`` is marked."""
        return status >= 500 and ticket != self._spent
