"""One timer for all requests: who is rung, and who is not."""

from __future__ import annotations

import asyncio
from time import monotonic

from eventually import eventually

from proxy.alarms import Alarms
from proxy.expiry import NEVER


class Member:
    """Notes that it was rung."""

    def __init__(self, due: float) -> None:
        self.due = due
        self.rung = 0

    def ring(self) -> None:
        self.rung += 1


def alarms_for(*members: Member) -> Alarms:
    """Set for all of them, in this order."""
    alarms = Alarms(asyncio.get_running_loop())
    for member in members:
        alarms.set(member)
    return alarms


def test_each_is_rung_once_when_it_is_due() -> None:
    async def scene() -> None:
        now = monotonic()
        later, soon, never = Member(now + 0.03), Member(now + 0.01), Member(now + 3600)
        alarms_for(never, later, soon)
        await eventually(lambda: later.rung == 1)
        assert (soon.rung, later.rung, never.rung) == (1, 1, 0)
        assert monotonic() >= later.due

    asyncio.run(scene())


def test_who_is_discarded_or_has_put_it_off_is_not_rung_early() -> None:
    async def scene() -> None:
        now = monotonic()
        gone, put_off, last = Member(now + 0.01), Member(now + 0.01), Member(now + 0.02)
        alarms = alarms_for(gone, put_off, last)
        alarms.discard(gone)
        put_off.due = now + 3600
        await eventually(lambda: last.rung == 1)
        assert (gone.rung, put_off.rung) == (0, 0)

    asyncio.run(scene())


def test_one_that_fails_does_not_keep_the_others_from_ringing() -> None:
    class Failing(Member):
        def ring(self) -> None:
            raise RuntimeError("on purpose")

    async def scene() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        now = monotonic()
        failing, other, following = Failing(now), Member(now), Member(NEVER)
        alarms = alarms_for(failing, other)
        await eventually(lambda: other.rung == 1)
        following.due = monotonic() + 0.01
        alarms.set(following)
        await eventually(lambda: following.rung == 1)

    asyncio.run(scene())
