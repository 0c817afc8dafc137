"""Tells the cluster how its SMI objects stand: the leader's work.

Looks a moment after something changed, so that a change that every sidecar takes at once is written once. Only a
status that is other than what is there is written, by server-side apply under our own field manager; ``spec`` never.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from smi.sources.apiserver import APPLY, ApiError, ApiServer
from translator.dependencies import ObjectKey
from translator.kube.names import CONTROLLER
from translator.kube.source import Known, KubernetesSource
from translator.kube.status.conditions import status_of
from translator.kube.status.events import Remark, Said, event_of, path_of
from translator.kube.status.progress import Progress
from translator.kube.status.standing import Standings
from translator.kube.status.subscribed import Subscribed
from translator.world import World

SETTLE_SECONDS: Final = 0.25
"""After a change, before the first look: sidecars acknowledge within some milliseconds."""

POLL_SECONDS: Final = 0.1
CALM_SECONDS: Final = 1.0
"""For a moment to come in which the world is what has been read and every sidecar was compiled for. While something
changes all the time such moments are short: looking every ``POLL_SECONDS`` may never hit one."""

CALM_POLL: Final = 0.002

PEERS_SECONDS: Final = 2.0
"""Between looks at other controllers' sidecars, of whose changes nothing is heard here."""

IDLE_SECONDS: Final = 60.0
"""Between looks when nothing has changed: a status that somebody else wrote is mended, an Event said again."""

LAG_SECONDS: Final = 30.0
"""For another controller to see the SMI objects that are seen here, and to compile them; after that it counts as one
that does not answer."""

SILENT_SECONDS: Final = 3.0
"""In which another controller may miss an answer: it is busy, or its end is not known yet. After that it is said of all
objects that nobody knows; of one that answers again a moment later everything would be written twice."""

GATHER_SECONDS: Final = 8.0
"""For sidecars to come, they try every five: before a controller that has begun to lead looks for the first time, and
when another one is gone. One that is not there is not counted, and what waits for it would be said to be in force."""

SHARE: Final = 10.0
"""A look that took a second is followed by as many without one, whatever came of it: statuses must not cost what
traffic needs."""

REVIEWED_AT_ONCE: Final = 50
"""Objects: some milliseconds."""

AT_ONCE: Final = 8
"""Requests to the API server."""

log = logging.getLogger("translator.status")

Peers = Callable[[], Awaitable[Sequence[Progress] | None]]


async def calm(holds: Callable[[], bool], seconds: float) -> bool:
    """Waits so long for a moment in which it holds, and returns in it; False if there was none."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() >= until:
            return False
        await asyncio.sleep(CALM_POLL)
    return True


class StatusWriter:
    """``own`` are this controller's sidecars, ``fresh`` tells whether their world is what ``source`` has, ``several``
    whether there are other controllers; ``peers`` asks these, None if not all answered. ``instance`` is our pod.
    """

    def __init__(
        self,
        api: ApiServer,
        source: KubernetesSource,
        own: Subscribed,
        *,
        fresh: Callable[[], bool],
        peers: Peers,
        several: Callable[[], bool],
        instance: str,
    ) -> None:
        self._api, self._source, self._own, self._reconciler = api, source, own, own.reconciler
        self._fresh, self._peers, self._several, self._instance = fresh, peers, several, instance
        self._said = Said()
        self._complaints: set[str] = set()
        self._standings = Standings(own)
        self._heard: Sequence[Progress] | None = None
        """What the other controllers said at the last look."""
        self._written: list[ObjectKey] = []
        """Of which objects another status was due at the last look: it is not certain that it came to be."""
        self._lags: float | None = None
        """Since when any of the others does not answer, or is not as far as this one."""
        self._controllers = 0
        self._gather_until = 0.0
        self._whole = True
        """Whether the next look is at everything: to begin with. What is told from then on is enough."""

    async def run(self) -> None:
        """Writes until cancelled."""
        seen, self._whole, self._lags = -1, True, None
        self._gather_until = time.monotonic() + GATHER_SECONDS
        earliest = looked = asked = 0.0
        while True:
            await asyncio.sleep(max(POLL_SECONDS, earliest - time.monotonic()))
            changed = seen != self._reconciler.revision
            if not self._fresh() and not changed:
                continue
            now = time.monotonic()
            if not changed and now - looked < IDLE_SECONDS:
                if now - asked < PEERS_SECONDS:
                    continue
                asked = now
                if not self._several() or await self._peers() == self._heard:
                    continue
            seen = self._reconciler.revision
            if changed:
                await asyncio.sleep(SETTLE_SECONDS)
            began = time.process_time()
            if await self.look():
                looked = asked = time.monotonic()
            else:
                seen = -1
            earliest = time.monotonic() + (time.process_time() - began) * SHARE

    async def look(self) -> bool:
        """Writes what is to be written now; False when it cannot be said yet."""
        while self._reconciler.review.some(REVIEWED_AT_ONCE):  # noqa: ASYNC110 - it is work in steps, others get turns
            await asyncio.sleep(0)
        if not await self._calm():
            return False
        others = await self._peers()
        if not await self._calm() or (world := self._reconciler.world) is None:
            return False
        if self._lag(others):
            if time.monotonic() - (self._lags or 0.0) < (SILENT_SECONDS if others is None else LAG_SECONDS):
                return False
            others = None
        if others is not None and not self._gathered(world, others):
            return False
        self._own.look()
        self._heard = others
        again, self._whole = None if self._whole else self._written, False
        found = self._standings.of(world, self._source, self._reconciler.review, others, again)
        gate = asyncio.Semaphore(AT_ONCE)
        now = datetime.now(UTC)
        stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        writes, self._written = [], []
        for known, standing in found.objects:
            status = status_of(standing, known.status, stamp)
            if status != known.status:
                self._written.append((known.kind, known.namespace, known.name))
                writes.append(self._guarded(gate, self._write(known, status)))
        writes += [
            self._guarded(gate, self._say(remark, now)) for remark in self._said.news(found.remarks, time.monotonic())
        ]
        await asyncio.gather(*writes)
        return True

    async def _calm(self) -> bool:
        return await calm(lambda: self._fresh() and self._reconciler.settled, CALM_SECONDS)

    def _lag(self, others: Sequence[Progress] | None) -> bool:
        """Whether any does not answer or is not as far; one of an older version does not say what it has seen."""
        own = self._source.fingerprint
        lags = others is None or any(not part.settled or part.seen not in ("", own) for part in others)
        self._lags = (self._lags or time.monotonic()) if lags else None
        return lags

    def _gathered(self, world: World, others: Sequence[Progress]) -> bool:
        """Whether each pod that serves has been heard of by some controller, or had time for it."""
        if len(others) < self._controllers:
            self._gather_until = time.monotonic() + GATHER_SECONDS
        self._controllers = len(others)
        if time.monotonic() >= self._gather_until:
            return True
        heard = {*self._reconciler.subscribers, *(pod for part in others for pod in part.connected)}
        heard.update(gone.pod for part in others for gone in part.away)
        if not all(pod.meta.key in heard for pod in world.pods if pod.meshed and pod.ready):
            return False
        self._gather_until = 0.0
        return True

    async def _guarded(self, gate: asyncio.Semaphore, work: Awaitable[None]) -> None:
        async with gate:
            try:
                await work
            except ApiError as error:
                # Gone or changed meanwhile: the next look sees it. Of anything else one line is enough.
                if error.status not in (404, 409) and str(error) not in self._complaints:
                    self._complaints.add(str(error))
                    log.warning("not written error=%s", error)

    async def _write(self, known: Known, status: Mapping[str, object]) -> None:
        body = {
            "apiVersion": known.api_version,
            "kind": known.kind,
            "metadata": {"name": known.name, "namespace": known.namespace, "uid": known.uid},
            "status": status,
        }
        params = {"fieldManager": CONTROLLER, "force": "true"}
        await self._api.send("PATCH", f"{known.path}/status", body, APPLY, params)

    async def _say(self, remark: Remark, now: datetime) -> None:
        event = event_of(remark, self._instance, now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
        try:
            await self._api.create(path_of(event), event)
        except ApiError as error:
            if error.status != 409:
                raise
        self._said.told(remark, time.monotonic())
