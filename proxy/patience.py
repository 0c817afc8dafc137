"""The clock of one request under a policy: its time-outs, and the pause before it is sent again.

One alarm at most, set for the first time to run out; progress puts times off
without touching it, and when it rings too early it is set anew. ``proxy.call`` knows the times.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from proxy.alarms import Alarms
from proxy.call import Call
from proxy.expiry import NEVER, Expired


def _nobody(_: Expired) -> None:
    """Who is told once the request is over."""


class Patience:
    """``expired`` is called with what has run out; nothing is after ``stop``. Moments are those of ``time.monotonic``.

    ``due`` is when ``alarms`` rings.
    """

    __slots__ = ("_alarms", "_expired", "_loop", "_pause", "call", "due")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        alarms: Alarms,
        call: Call,
        expired: Callable[[Expired], None],
    ) -> None:
        self.call = call
        self.due = NEVER
        self._loop = loop
        self._alarms = alarms
        self._expired = expired
        self._pause: asyncio.TimerHandle | None = None

    def waits(self) -> bool:
        """No endpoint is ready: whether the request waits for one."""
        return self.call.waits(monotonic())

    def tried(self, now: float) -> None:
        """An attempt begins."""
        call = self.call
        call.tried = now
        call.waits_until = NEVER
        self.watch()

    def progress(self, *, sent: bool, answered: bool) -> None:
        """Bytes went on; ``sent``: the whole request is out, ``answered``: the answer's head is here."""
        call = self.call
        if not call.timed:
            return
        now = call.last = monotonic()
        if answered and call.answered == NEVER:
            call.answered = now
        if sent and call.sent == NEVER:
            # Only from here on a time may be earlier than the one that is watched.
            call.sent = now
            self.watch()

    def watch(self) -> None:
        """See to it that the first of the times to run out is noticed."""
        if not self.call.timed:
            return
        due, _ = self.call.next()
        if due < self.due:
            self.due = due
            self._alarms.set(self)

    def again(self, seconds: float, attempt: Callable[[], None]) -> None:
        """The present attempt is given up; the next begins after a pause."""
        self.call.try_again()
        self._pause = self._loop.call_later(seconds, attempt)
        self.watch()

    def stop(self) -> None:
        """The request is over."""
        self._cancel()
        # The exchange knows its patience: without this, the two would lie about until the collector comes.
        self._expired = _nobody

    def _cancel(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self.due != NEVER:
            self.due = NEVER
            self._alarms.discard(self)

    def ring(self) -> None:
        """See ``proxy.alarms``."""
        if self.due == NEVER:
            return
        self.due = NEVER
        self._alarms.discard(self)  # it may have been set again since the call was planned
        due, what = self.call.next()
        if due > monotonic():
            self.watch()
        else:
            self._cancel()
            self._expired(what)
