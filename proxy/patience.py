"""The clock of one request under a policy: its time-outs, and the pause before it is sent again.

One timer at most, set for the first time to run out; progress puts times off
without touching it, and when it rings too early it is set anew. ``proxy.call`` knows the times.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy.call import Call, CallPolicy
from proxy.expiry import NEVER, Expired
from proxy.matching import Request


class Patience:
    """``expired`` is called with what has run out; nothing is after ``stop``. All moments are the loop's own."""

    __slots__ = ("_due", "_expired", "_loop", "_pause", "_timer", "call")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        policy: CallPolicy,
        request: Request,
        expired: Callable[[Expired], None],
    ) -> None:
        self.call = Call(policy, request, loop.time())
        self._loop = loop
        self._expired = expired
        self._due = NEVER
        self._timer: asyncio.TimerHandle | None = None
        self._pause: asyncio.TimerHandle | None = None

    def waits(self) -> bool:
        """No endpoint is ready: whether the request waits for one."""
        return self.call.waits(self._loop.time())

    def tried(self) -> None:
        """An attempt begins."""
        self.call.tried = self._loop.time()
        self.call.waits_until = NEVER
        self.watch()

    def progress(self, *, sent: bool, answered: bool) -> None:
        """Bytes went on; ``sent``: the whole request is out, ``answered``: the answer's head is here."""
        call = self.call
        if not call.timed:
            return
        now = call.last = self._loop.time()
        if sent and call.sent == NEVER:
            call.sent = now
        if answered and call.answered == NEVER:
            call.answered = now
        self.watch()

    def watch(self) -> None:
        """See to it that the first of the times to run out is noticed."""
        if not self.call.timed:
            return
        due, _ = self.call.next()
        if due < self._due:
            if self._timer is not None:
                self._timer.cancel()
            self._due = due
            self._timer = self._loop.call_at(due, self._ring)

    def again(self, seconds: float, attempt: Callable[[], None]) -> None:
        """The present attempt is given up; the next begins after a pause."""
        self.call.try_again()
        self._pause = self._loop.call_later(seconds, attempt)
        self.watch()

    def stop(self) -> None:
        """The request is over."""
        for timer in (self._timer, self._pause):
            if timer is not None:
                timer.cancel()
        self._timer = self._pause = None
        self._due = NEVER

    def _ring(self) -> None:
        self._timer = None
        self._due = NEVER
        due, what = self.call.next()
        if due > self._loop.time():
            self.watch()
        else:
            self.stop()
            self._expired(what)
