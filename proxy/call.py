"""One request under the policy of the Service that it names: retries it may have, time it has. Pure.

``CallPolicy`` is that policy made ready once per table, ``Call`` what one
request has had of it. ``proxy.forward`` acts on what is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.budget import Budget
from proxy.contract.config import Policy
from proxy.expiry import NEVER, Expired, Limits, Moments
from proxy.matching import Request
from proxy.retry import Attempts, RetryPolicy, Scope, compile_retry, wait_left


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPolicy:
    """``retry`` and ``budget`` are both there or both None. ``request_timeout`` is in seconds, None for none."""

    retry: RetryPolicy | None
    budget: Budget | None
    limits: Limits
    request_timeout: float | None
    timed: bool
    """Whether there is any time-out."""

    @property
    def looks_at_path(self) -> bool:
        """Whether the canonical path must be known."""
        return self.retry is not None and self.retry.looks_at_path


def compile_policy(policy: Policy, budget: Budget | None) -> CallPolicy:
    """Make a policy ready. Raises ``ConfigRejected`` for a pattern that is not RE2."""
    limits = Limits.of(policy)
    return CallPolicy(
        retry=None if policy.retry is None else compile_retry(policy.retry),
        budget=budget,
        limits=limits,
        request_timeout=policy.request_timeout,
        timed=limits != Limits(),
    )


class Call(Moments):
    """What a request has had so far. ``attempts`` is None for one that is not repeated.

    ``waits_until``: it waits for an endpoint till then. ``kept``: its body is not too large to be sent again.
    """

    __slots__ = ("_policy", "_scope", "attempts", "kept", "waits_until")

    def __init__(self, policy: CallPolicy, request: Request, began: float) -> None:
        super().__init__(began, last=began)
        self._policy = policy
        self._scope = Scope.NOTHING
        self.attempts: Attempts | None = None
        if policy.retry is not None and policy.budget is not None:
            policy.budget.request(began)
            self._scope = policy.retry.scope(request)
            if self._scope is Scope.REPEATS:
                self.attempts = Attempts(policy.retry, policy.budget)
        self.kept = True
        self.waits_until = NEVER

    @property
    def timed(self) -> bool:
        """Whether anything can run out now."""
        return self._policy.timed or self.waits_until != NEVER

    def waits(self, now: float) -> bool:
        """No endpoint is ready: whether the request waits for one (then ``waits_until`` says how long)."""
        left = wait_left(self._scope, self.began, self._policy.request_timeout, now)
        if left > 0.0 and self.waits_until == NEVER:
            self.waits_until = now + left
        return left > 0.0

    def try_again(self) -> None:
        """The present attempt is given up; the next begins later."""
        self.tried = self.sent = self.waits_until = NEVER

    def next(self) -> tuple[float, Expired]:
        """When the first of its times runs out, and which."""
        due, what = self._policy.limits.next(self, repeats=self.kept and self.attempts is not None)
        if self.waits_until <= due:
            return self.waits_until, Expired.WAIT
        return due, what
