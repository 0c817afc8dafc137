"""Who leads: one at a time, the next one when the first is silent or gives it back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from apiserver import FakeApiServer, serving
from eventually import eventually

from smi.sources.apiserver import ApiServer
from translator.kube.leader import LEASE_SECONDS, Election, Leader

LEASES = "/apis/coordination.k8s.io/v1/namespaces/smi-mesh/leases"
STAMP = "2026-05-01T10:00:00.000000Z"


def test_a_lease_is_nobody_elses_until_its_holder_was_silent() -> None:
    held = Election("a").taken(None, STAMP)
    other = Election("b")
    other.observed(held, 100.0)
    assert not other.may_take(held, 100.0 + LEASE_SECONDS - 0.1)
    assert other.may_take(held, 100.0 + LEASE_SECONDS)
    renewed = Election("a").taken(held, "later")
    other.observed(renewed, 100.0 + LEASE_SECONDS)
    assert not other.may_take(renewed, 100.0 + LEASE_SECONDS + 1)


def test_transitions_are_counted_and_a_release_opens_it() -> None:
    held = Election("a").taken(None, STAMP)
    assert held["spec"]["leaseTransitions"] == 0
    released = Election("a").released(held, STAMP)
    other = Election("b")
    other.observed(released, 0.0)
    assert other.may_take(released, 0.0)
    taken = other.taken(released, STAMP)
    assert (taken["spec"]["holderIdentity"], taken["spec"]["leaseTransitions"]) == ("b", 1)


class Candidate:
    """A leader whose seconds pass as fast as the loop turns."""

    def __init__(self, api: ApiServer, name: str) -> None:
        self.works = False
        self.now = 0.0
        self.leader = Leader(api, "smi-mesh", name, clock=lambda: self.now, pause=self._pause)
        self.task = asyncio.ensure_future(self.leader.lead(self._work))

    async def _pause(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0.01)

    async def _work(self) -> None:
        self.works = True
        try:
            await asyncio.Event().wait()
        finally:
            self.works = False

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@asynccontextmanager
async def two() -> AsyncIterator[tuple[FakeApiServer, Candidate, Candidate]]:
    server = FakeApiServer(LEASES)
    async with serving(server) as api:
        first = Candidate(api, "a")
        await eventually(lambda: first.works)
        second = Candidate(api, "b")
        try:
            yield server, first, second
        finally:
            await first.end()
            await second.end()


def test_the_next_one_leads_when_the_first_ends() -> None:
    async def scene() -> None:
        async with two() as (server, first, second):
            asked = len(server.asked)
            await eventually(lambda: len(server.asked) > asked + 20)
            assert first.works
            assert not second.works
            await first.end()
            await eventually(lambda: second.works)
            assert server.collections[LEASES]["smi-mesh-controller"]["spec"]["holderIdentity"] == "b"

    asyncio.run(scene())


def test_one_who_lost_the_lease_stops() -> None:
    async def scene() -> None:
        async with two() as (server, first, second):
            lease = server.collections[LEASES]["smi-mesh-controller"]
            taken = {**lease, "spec": {**lease["spec"], "holderIdentity": "somebody", "leaseDurationSeconds": 10**6}}
            server.put(LEASES, "smi-mesh-controller", taken)
            await eventually(lambda: not first.works)
            assert not second.works

    asyncio.run(scene())
