"""Counts and the world they are about: which resource a counted request came from and went to. Pure.

A sidecar is exact about its own side: it knows its pod, and the pod of each
endpoint it calls. Of its callers it knows the identity alone. Used by ``translator.views``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from proxy.contract.config import spiffe_id
from smi.workloads import Pod
from translator.resources import NAMESPACE, POD, SERVICE, WORKLOAD, WORKLOADS, Resource, end_of
from translator.rows import Stats
from translator.traffic import Entry, Totals, Window
from translator.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What was counted within ``seconds``; ``pods`` are those that run and those that lately did.

    ``received``, if it is given, says for less what the inbound ones of ``entries`` say of pods (``Window.received``);
    where nothing else is asked, ``entries`` may then be left out.
    """

    entries: list[Entry]
    seconds: float
    pods: Mapping[str, Pod]
    world: World
    received: list[Entry] | None = None

    @classmethod
    def of(cls, window: Window, pods: Mapping[str, Pod], world: World) -> Observed:
        """Reads a window out, which takes its time."""
        return cls(entries=window.entries(), seconds=window.seconds, pods=pods, world=world, received=window.received())

    def servers(self) -> list[Entry]:
        """What servers' sidecars counted, for whom all series of a pod are the same."""
        return inbound(self.entries) if self.received is None else self.received

    def own(self, entry: Entry, kind: str) -> Resource | None:
        """What the counting sidecar belongs to; of workloads one of another kind rather than none."""
        pod = self.pods.get(entry.pod)
        return end_of(pod, kind) if pod is not None else None

    def endpoint(self, entry: Entry, kind: str) -> Resource | None:
        """What the pod that was called belongs to (outbound); as ``own``."""
        pod = self.pods.get(entry.labels.pod)
        if pod is not None:
            return end_of(pod, kind)
        # Not a pod of now: what the caller's config said of it.
        namespace, slash, name = entry.labels.pod.partition("/")
        workload_kind, _, workload = entry.labels.workload.partition("/")
        if not slash:
            return None
        if kind == NAMESPACE:
            return Resource(NAMESPACE, "", namespace)
        if kind == POD:
            return Resource(POD, namespace, name)
        return Resource(workload_kind, namespace, workload) if kind in (WORKLOAD, *WORKLOADS) and workload else None

    def called(self, entry: Entry, kind: str) -> set[Resource]:
        """What was called (outbound): of Services the one that was named, and the one a split chose."""
        if kind != SERVICE:
            found = self.endpoint(entry, kind)
            return {found} if found is not None else set()
        return services(entry)

    def identity(self, entry: Entry) -> str:
        """The identity that the counting sidecar showed at the other end; empty for a connection without."""
        pod = self.pods.get(entry.pod)
        if pod is None or entry.labels.tls != "true":
            return ""
        return spiffe_id(self.world.settings.trust_domain, pod.meta.namespace, pod.service_account)

    def callers(self, identity: str, kind: str) -> set[Resource]:
        """What an identity may stand for: everything that runs under it."""
        account = self.account(identity)
        found = (end_of(pod, kind) for pod in self.world.pods_as(*account)) if account is not None else ()
        return {one for one in found if one is not None}

    def account(self, identity: str) -> tuple[str, str] | None:
        """Namespace and name of the ServiceAccount that an identity of this mesh is of."""
        parts = identity.split("/")
        if len(parts) != 7 or not (parts[4] and parts[6]):
            return None
        if spiffe_id(self.world.settings.trust_domain, parts[4], parts[6]) != identity:
            return None
        return parts[4], parts[6]


def services(entry: Entry) -> set[Resource]:
    """The Services of an outbound entry."""
    named, _, _ = entry.labels.destination.rpartition(":")
    keys = {named, entry.labels.backend}
    return {Resource(SERVICE, *key.split("/", 1)) for key in keys if "/" in key}


def outbound(entries: Iterable[Entry]) -> list[Entry]:
    """What callers' sidecars counted."""
    return [entry for entry in entries if entry.labels.direction == "outbound"]


def inbound(entries: Iterable[Entry]) -> list[Entry]:
    """What servers' sidecars counted."""
    return [entry for entry in entries if entry.labels.direction == "inbound"]


def totals(entries: Iterable[Entry]) -> Totals:
    """All of these together."""
    result = Totals()
    for entry in entries:
        for cell in entry.cells:
            result.add(cell)
    return result


def stats(counted: Totals, seconds: float) -> Stats:
    """The numbers of one row, for a window of so many seconds."""
    requests = counted.requests
    best, p50, p95, p99, worst = map(_milliseconds, counted.percentiles((0.0, 0.50, 0.95, 0.99, 1.0)))
    return Stats(
        requests=requests,
        success=counted.successes,
        failure=counted.failures,
        success_rate=counted.successes / requests if requests else None,
        rps=round(requests / seconds, 3),
        best_ms=best,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        worst_ms=worst,
    )


def _milliseconds(seconds: float | None) -> float | None:
    """Rounded to a microsecond, or for what is shorter than ten of them to a tenth of one."""
    return None if seconds is None else round(seconds * 1e3, 3 if seconds > 1e-5 else 4)
