"""One sweep for all time-outs, on a loop whose clock the test turns."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Any, cast

from proxy.deadlines import NEVER, SWEEP, Deadlines


class Clock:
    """The part of a loop that ``Deadlines`` uses."""

    def __init__(self) -> None:
        self.now = 0.0
        self.failures: list[Exception] = []
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._order = 0

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], object]) -> Any:
        self._order += 1
        heapq.heappush(self._due, (self.now + delay, self._order, callback))
        return object()

    def call_soon(self, callback: Callable[[], object]) -> Any:
        return self.call_later(0.0, callback)

    def turn(self, until: float) -> None:
        while self._due and self._due[0][0] <= until:
            self.now, _, callback = heapq.heappop(self._due)
            try:
                callback()
            except Exception as error:
                self.failures.append(error)
        self.now = until

    @property
    def timers(self) -> int:
        return len(self._due)


class Member:
    def __init__(self, clock: Clock, deadline: float, then: float = NEVER) -> None:
        self.deadline = deadline
        self.ends: list[float] = []
        self._clock = clock
        self._then = then

    def expired(self) -> None:
        self.ends.append(self._clock.now)
        self.deadline = self._then


class Faulty(Member):
    def expired(self) -> None:
        super().expired()
        raise RuntimeError("our own mistake")


def deadlines(clock: Clock) -> Deadlines:
    return Deadlines(cast(asyncio.AbstractEventLoop, clock))


def test_members_expire_within_a_sweep_and_once() -> None:
    clock = Clock()
    watched = deadlines(clock)
    soon, late, never = Member(clock, 1.2), Member(clock, 3.0), Member(clock, NEVER)
    for member in (soon, late, never):
        watched.add(member)
    clock.turn(10.0)

    assert [1.2 <= end <= 1.2 + SWEEP for end in soon.ends] == [True]
    assert [3.0 <= end <= 3.0 + SWEEP for end in late.ends] == [True]
    assert never.ends == []


def test_a_deadline_that_was_moved_is_not_missed() -> None:
    clock = Clock()
    watched = deadlines(clock)
    member = Member(clock, 1.0)
    watched.add(member)
    clock.turn(0.9)
    member.deadline = 5.0
    clock.turn(4.9)
    assert member.ends == []

    clock.turn(6.0)
    assert len(member.ends) == 1


def test_a_member_may_expire_again() -> None:
    clock = Clock()
    watched = deadlines(clock)
    member = Member(clock, 1.0, then=2.0)
    watched.add(member)
    clock.turn(1.6)
    member._then = NEVER
    clock.turn(10.0)

    assert len(member.ends) == 2


def test_nothing_to_watch_needs_no_timer() -> None:
    clock = Clock()
    watched = deadlines(clock)
    member = Member(clock, 1.0)
    watched.add(member)
    watched.discard(member)
    watched.discard(member)
    clock.turn(5.0)
    assert clock.timers == 0
    assert member.ends == []

    watched.add(member)
    clock.turn(10.0)
    assert len(member.ends) == 1


def test_a_member_that_fails_does_not_end_the_others() -> None:
    clock = Clock()
    watched = deadlines(clock)
    faulty, good = Faulty(clock, 1.0), Member(clock, 1.0)
    later = Member(clock, 3.0)
    for member in (faulty, good, later):
        watched.add(member)
    clock.turn(5.0)

    assert len(good.ends) == len(later.ends) == 1
    assert [str(error) for error in clock.failures] == ["our own mistake"]
