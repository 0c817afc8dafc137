"""How many retries a Service's callers may add to its load: one bucket per Service in each sidecar.

The bucket starts with min × ttl, holds at most min × ttl + ratio × the requests
of the last ttl, and gains min a second and ratio a request; each retry takes
one. So in a time T with x requests there are never more than
min × (T + ttl) + ratio × x retries, whatever fails. Buckets live beside the
routing table and outlive its swaps, and so does the count of what became of a
Service's retries. Pure: time is an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from proxy.contract.config import Retry

# Parts into which the last ttl is cut to count requests; what is older than ttl less one part may be forgotten already.
_SLOTS: Final = 10
# A whole token, less what ten times 0.1 is short of 1.
_TOKEN: Final = 1.0 - 1e-9


class Terms(NamedTuple):
    """``minimum`` retries a second and ``ratio`` retries a request, over ``ttl`` seconds."""

    minimum: float
    ratio: float
    ttl: float


def terms_of(retry: Retry) -> Terms:
    """The terms that a retry policy sets."""
    return Terms(retry.budget_min, retry.budget_ratio, retry.budget_ttl)


class Retried:
    """What became of the retries of one Service, since its bucket was made; ``proxy.retry`` counts.

    ``requests`` were granted, ``successes`` of them ended a request well; a failure that is to be repeated was
    not, because of the limit of its request (``limit_exceeded``) or because the bucket was empty (``overflow``).
    """

    __slots__ = ("limit_exceeded", "overflow", "requests", "successes")

    def __init__(self) -> None:
        self.requests = 0
        self.successes = 0
        self.limit_exceeded = 0
        self.overflow = 0


class Budget:
    """The bucket of one Service, and what was ``retried`` out of it."""

    __slots__ = ("_at", "_level", "_requests", "_slot", "_terms", "_within", "retried")

    def __init__(self, terms: Terms, now: float) -> None:
        self.retried = Retried()
        self._at = now
        self._level = terms.minimum * terms.ttl
        self._begin(terms)

    def adjust(self, terms: Terms) -> None:
        """Go on under ``terms`` with what is left; more than they allow is not kept."""
        if terms != self._terms:
            self._begin(terms)

    def _begin(self, terms: Terms) -> None:
        self._terms = terms
        # Which part of another ttl a request fell into is not known, so their count begins anew.
        self._requests = [0] * _SLOTS
        self._within = 0
        self._slot = self._slot_of(self._at)
        self._level = min(self._level, self._most())

    def request(self, now: float) -> None:
        """Count one request (not its retries)."""
        self._advance(now)
        self._requests[self._slot % _SLOTS] += 1
        self._within += 1
        self._level = min(self._level + self._terms.ratio, self._most())

    def spend(self, now: float) -> bool:
        """Take what one retry costs; False if there is not enough."""
        self._advance(now)
        if self._level < _TOKEN:
            return False
        self._level -= 1.0
        return True

    def left(self, now: float) -> float:
        """Retries there are now."""
        self._advance(now)
        return self._level

    def _advance(self, now: float) -> None:
        slot = self._slot_of(now)
        for passed in range(max(self._slot + 1, slot - _SLOTS + 1), slot + 1):
            self._within -= self._requests[passed % _SLOTS]
            self._requests[passed % _SLOTS] = 0
        self._slot = max(self._slot, slot)
        self._level = min(self._level + self._terms.minimum * max(0.0, now - self._at), self._most())
        self._at = max(self._at, now)

    def _most(self) -> float:
        return self._terms.minimum * self._terms.ttl + self._terms.ratio * self._within

    def _slot_of(self, now: float) -> int:
        return int(now / self._terms.ttl * _SLOTS)


class Budgets:
    """The buckets of all Services with a retry policy, by service key; they outlive config swaps.

    A config that is being looked at is not in force yet: ``get`` changes nothing, ``keep`` does.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._budgets: dict[str, Budget] = {}

    def get(self, service: str, retry: Retry) -> Budget:
        """The bucket of ``service``, with what is left in it; else a new and full one, as ``retry`` has it."""
        budget = self._budgets.get(service)
        return Budget(terms_of(retry), self._now()) if budget is None else budget

    def retried(self) -> dict[str, Retried]:
        """What became of retries, by service key."""
        return {key: budget.retried for key, budget in self._budgets.items()}

    def keep(self, wanted: Mapping[str, tuple[Budget, Terms]]) -> None:
        """These are in force now, under these terms; forget every other."""
        for budget, terms in wanted.values():
            budget.adjust(terms)
        self._budgets = {key: budget for key, (budget, _) in wanted.items()}
