"""Which of several controllers writes status and Events: the one that holds the Lease (coordination.k8s.io/v1).

The rules are client-go's, so that people and tools know what they see. A Lease is held for 15 s from its last renewal
*as we saw it change*: times in it are another machine's and are only shown. Who writes with an old resourceVersion
is refused by the API server; so of two that take a Lease at once one gets it. ``Election`` decides, ``Leader`` does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from smi.sources.apiserver import ApiError, Object
from translator.kube.names import CONTROLLER, LABELS

LEASE_SECONDS: Final = 15
"""Of silence of the holder, after which another may take the Lease."""

RENEW_SECONDS: Final = 10.0
"""Without a renewal that went through, after which the holder stops by itself: well before another begins."""

RETRY_SECONDS: Final = 2.0
"""Between two attempts, to get the Lease or to keep it."""

RELEASE_SECONDS: Final = 1.0
"""For giving it back at the end; if that fails it runs out by itself."""

GROUP: Final = "coordination.k8s.io/v1"

log = logging.getLogger("translator.leader")


class Leases(Protocol):
    """What is asked of the API server."""

    async def get(self, path: str, **params: str) -> Object:
        """The object at ``path``."""

    async def create(self, path: str, body: Object) -> Object:
        """POST to a collection."""

    async def replace(self, path: str, body: Object) -> Object:
        """PUT, refused with 409 where ``metadata.resourceVersion`` is not the newest."""


class Election:
    """Decides from what the Lease says and when that was seen to change. Pure; times are monotonic seconds."""

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self._seen: object = None
        self._seen_at = 0.0

    def observed(self, lease: Object, now: float) -> None:
        """What the Lease is at ``now``."""
        spec = lease.get("spec") or {}
        if spec != self._seen:
            self._seen, self._seen_at = spec, now

    def may_take(self, lease: Object, now: float) -> bool:
        """Whether the Lease, just observed, is ours, nobody's, or of one who has been silent for too long."""
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        return holder in ("", self.identity) or now >= self._seen_at + _duration(spec)

    def taken(self, lease: Object | None, stamp: str) -> Object:
        """The Lease to write so that it is ours; None: there is none yet. ``stamp`` is the time of day."""
        old = (lease or {}).get("spec") or {}
        ours = old.get("holderIdentity") == self.identity
        before = old.get("leaseTransitions") or 0
        spec = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": LEASE_SECONDS,
            "acquireTime": old.get("acquireTime") or stamp if ours else stamp,
            "renewTime": stamp,
            "leaseTransitions": before if ours or lease is None else before + 1,
        }
        return _lease(lease, spec)

    def released(self, lease: Object, stamp: str) -> Object:
        """The Lease to write so that anybody may take it at once."""
        old = lease.get("spec") or {}
        spec = {
            "holderIdentity": "",
            "leaseDurationSeconds": 1,
            "acquireTime": stamp,
            "renewTime": stamp,
            "leaseTransitions": old.get("leaseTransitions") or 0,
        }
        return _lease(lease, spec)


class Leader:
    """One candidate. ``clock`` gives monotonic seconds, ``pause`` waits so many of them."""

    def __init__(
        self,
        api: Leases,
        namespace: str,
        identity: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._api, self._clock, self._pause = api, clock, pause
        self._collection = f"/apis/{GROUP}/namespaces/{namespace}/leases"
        self._path = f"{self._collection}/{CONTROLLER}"
        self._election = Election(identity)
        self._lease: Object | None = None
        self._said = ""

    async def lead(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Runs ``work`` whenever the Lease is ours and cancels it when that ends, until cancelled itself.

        What ``work`` raises ends it all; it has given the Lease back then.
        """
        while True:
            while not await self._try():
                await self._pause(RETRY_SECONDS)
            log.info("leading identity=%s", self._election.identity)
            try:
                async with asyncio.TaskGroup() as group:
                    working = group.create_task(work(), name="what the leader does")
                    await self._keep()
                    working.cancel()
            finally:
                await self._release()
            log.warning("not leading any more identity=%s", self._election.identity)

    async def _keep(self) -> None:
        """Renews the Lease; returns when it is lost or could not be renewed in time."""
        renewed = self._clock()
        while True:
            await self._pause(RETRY_SECONDS)
            left = RENEW_SECONDS - (self._clock() - renewed)
            if left <= 0:
                return
            try:
                async with asyncio.timeout(left):
                    if await self._try():
                        renewed = self._clock()
                    elif not self._holds():
                        return
            except TimeoutError:
                return

    def _holds(self) -> bool:
        spec = (self._lease or {}).get("spec") or {}
        return bool(spec.get("holderIdentity") == self._election.identity)

    async def _try(self) -> bool:
        """Whether the Lease is ours now; False when it is not, or nobody can say."""
        try:
            return await self._take()
        except ApiError as error:
            if error.status == 409:
                return False  # somebody was faster; what they wrote is seen next time
            if str(error) != self._said:
                log.warning("no Lease error=%s", error)
            self._said = str(error)
            return False

    async def _take(self) -> bool:
        try:
            self._lease = await self._api.get(self._path)
        except ApiError as error:
            if error.status != 404:
                raise
            self._lease = await self._api.create(self._collection, self._election.taken(None, _stamp()))
            self._said = ""
            self._election.observed(self._lease, self._clock())
            return True
        self._said = ""
        self._election.observed(self._lease, self._clock())
        if not self._election.may_take(self._lease, self._clock()):
            return False
        self._lease = await self._api.replace(self._path, self._election.taken(self._lease, _stamp()))
        self._election.observed(self._lease, self._clock())
        return True

    async def _release(self) -> None:
        """Gives the Lease back if it is ours, so that the next one need not wait."""
        with suppress(ApiError, TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS):
                lease = await self._api.get(self._path)
                if (lease.get("spec") or {}).get("holderIdentity") == self._election.identity:
                    await self._api.replace(self._path, self._election.released(lease, _stamp()))


def _lease(lease: Object | None, spec: dict[str, Any]) -> Object:
    if lease is None:
        meta: dict[str, Any] = {"name": CONTROLLER, "labels": {**LABELS, "app.kubernetes.io/component": "controller"}}
        return {"apiVersion": GROUP, "kind": "Lease", "metadata": meta, "spec": spec}
    return {**lease, "spec": {**(lease.get("spec") or {}), **spec}}


def _duration(spec: Object) -> float:
    """Seconds for which the holder said to hold it; what cannot be read is our own."""
    seconds = spec.get("leaseDurationSeconds")
    return float(seconds) if isinstance(seconds, int) and seconds > 0 else float(LEASE_SECONDS)


def _stamp() -> str:
    """metav1.MicroTime."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
