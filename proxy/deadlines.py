"""One timer for all connections: each says when it expires, one sweep looks at them.

A timer per request would cost more than the request's own bookkeeping; a
sweep every half second costs nothing that can be measured and is exact enough
for time-outs of seconds.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

# Seconds between sweeps: time-outs are late by that much at most.
SWEEP: Final = 0.5
NEVER: Final = float("inf")


class Expiring(Protocol):
    """Something that ends when the loop's clock passes ``deadline``."""

    deadline: float

    def expired(self) -> None:
        """The deadline has passed; called once per sweep until it is moved."""


class Deadlines:
    """The set of what may expire."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._members: set[Expiring] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, member: Expiring) -> None:
        """Watch ``member`` until ``discard``."""
        self._members.add(member)
        if self._timer is None:
            self._timer = self._loop.call_later(SWEEP, self._sweep)

    def discard(self, member: Expiring) -> None:
        """Stop watching."""
        self._members.discard(member)

    def _sweep(self) -> None:
        # First of all: a member that fails must not end the time-outs of all others.
        self._timer = self._loop.call_later(SWEEP, self._sweep) if self._members else None
        now = self._loop.time()
        for member in [member for member in self._members if member.deadline <= now]:
            self._loop.call_soon(member.expired)
