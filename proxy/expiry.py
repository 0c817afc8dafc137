"""Which time-out of an exchange is next, and when. Pure: moments in, a moment out.

Four may run at once: the policy's for the whole exchange, for the answer and for
silence, and the retry policy's for one try. ``proxy.forward`` asks when one of
the moments changes, or lazily when the moment given last has come.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from proxy.contract.config import Policy

NEVER: Final = float("inf")


class Expired(Enum):
    """What has run out."""

    TRY = "try"
    """No answer from this endpoint: a failed attempt, which is retried (``Outcome.expired``), else 504."""
    REQUEST = "request"
    """The whole exchange: 504, or the answer that has begun is broken off."""
    RESPONSE = "response"
    """The answer is not complete: 504, or broken off."""
    IDLE = "idle"
    """Not a byte either way: 504, or broken off."""
    WAIT = "wait"
    """No endpoint has become ready: 503. Said by ``proxy.call``."""


class Moments:
    """When things happened, in seconds of one clock; ``NEVER``: not yet.

    ``began``: the request's head was read. ``tried``: the present attempt
    began. ``sent``: the request's last byte went out in this attempt. ``last``:
    a byte went either way. ``answered``: the answer's head was read.
    """

    __slots__ = ("answered", "began", "last", "sent", "tried")

    def __init__(
        self,
        began: float,
        tried: float = NEVER,
        sent: float = NEVER,
        last: float = NEVER,
        answered: float = NEVER,
    ) -> None:
        self.began = began
        self.tried = tried
        self.sent = sent
        self.last = last
        self.answered = answered


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The time-outs of a Service in seconds, infinite where there is none."""

    request: float = NEVER
    response: float = NEVER
    idle: float = NEVER
    one_try: float = NEVER

    @classmethod
    def of(cls, policy: Policy) -> Limits:
        """Those of ``policy``."""
        retry = policy.retry
        return cls(
            request=_seconds(policy.request_timeout),
            response=_seconds(policy.response_timeout),
            idle=_seconds(policy.idle_timeout),
            one_try=_seconds(None if retry is None else retry.try_timeout),
        )

    def next(self, moments: Moments, *, repeats: bool) -> tuple[float, Expired]:
        """The moment at which the first of them runs out, and which; ``NEVER`` if none runs.

        ``repeats``: the request is one that the retry policy repeats, so the time for one try counts.
        """
        due, what = moments.began + self.request, Expired.REQUEST
        waiting = moments.answered == NEVER
        if repeats and waiting and moments.tried + self.one_try < due:
            due, what = moments.tried + self.one_try, Expired.TRY
        if moments.sent + self.response < due:
            due, what = moments.sent + self.response, Expired.RESPONSE
        if moments.last + self.idle < due:
            due, what = moments.last + self.idle, Expired.IDLE
        return due, what


def _seconds(limit: float | None) -> float:
    return NEVER if limit is None else limit
