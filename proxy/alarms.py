"""One timer for the time-outs of all requests: set for the first of them, and set anew when it has rung.

A timer of the loop per request would cost as much as the rest of its bookkeeping, and hardly one ever
rings. ``proxy.deadlines`` is the same for connections, whose times are longer and move with every request.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Final, Protocol

from proxy.expiry import NEVER

# Seconds between two rings at least: by so much a time-out may be late. Each ring looks at all members, so with many
# of them rings are rarer.
GRAIN: Final = 0.002
GRAIN_OF_ONE: Final = 2e-6


class Alarm(Protocol):
    """Something that is due when ``time.monotonic`` passes ``due``."""

    due: float

    def ring(self) -> None:
        """It is due, or was when this call was planned; called once, after which it is forgotten."""


class Alarms:
    """Who is to be rung, and when the first of them is."""

    __slots__ = ("_at", "_loop", "_members", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._members: set[Alarm] = set()
        self._at = NEVER
        self._timer: asyncio.TimerHandle | None = None

    def set(self, member: Alarm) -> None:
        """Ring ``member`` at its ``due``; also called when that has become earlier."""
        self._members.add(member)
        if member.due < self._at:
            self._arm(member.due)

    def discard(self, member: Alarm) -> None:
        """Do not."""
        self._members.discard(member)

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._at = at
        self._timer = self._loop.call_later(max(at - monotonic(), GRAIN, len(self._members) * GRAIN_OF_ONE), self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._at = NEVER
        now = monotonic()
        due = [member for member in self._members if member.due <= now]
        self._members.difference_update(due)
        if self._members:
            self._arm(min([member.due for member in self._members]))
        for member in due:
            # Not called here: one that fails must not keep the others from ringing.
            self._loop.call_soon(member.ring)
