"""From a changed world to the sidecars it concerns.

A source hands over a whole new ``World``, a sidecar the hosts it asked for;
both mark sidecars, and one task recompiles the marked ones in turn with
whatever is newest by then. However fast changes come, each sidecar is compiled
once for all of them, none is starved, and the last change is never lost.
Neighbours: ``translator.compiler`` (pure), ``translator.publish`` (what becomes
of a compiled config), ``translator.push`` (the sockets).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import msgspec

from proxy.contract.check import is_host
from proxy.contract.config import Config, Trust, spiffe_id
from proxy.contract.messages import Hello, Nack
from smi.workloads import Pod
from translator.compiler import Compiled
from translator.dependencies import ObjectVersion
from translator.findings import Finding
from translator.identity.rollout import SidecarTrust
from translator.publish import Slot
from translator.world import World

MAX_HOSTS = 1024
"""Hosts kept in one sidecar's scope; the one asked for longest ago goes first. Bounds what an application that
invents names can make of its sidecar's config (some 30 KB)."""

MAX_REASON_CHARS = 2000
"""Of a NACK's reason are kept: a sidecar must not fill the controller's memory."""

SLICE_SECONDS = 0.005
"""Compiling yields to the streams this often, so that a large mesh does not delay acknowledgements."""

log = logging.getLogger("translator.reconcile")

Compile = Callable[[World, Pod, frozenset[str]], Compiled]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The last NACK of a sidecar."""

    version: int
    reason: str
    at: datetime


class Subscriber:
    """One pod's sidecar, over all its streams: what it asked for, what it runs on.

    ``pod`` is ``namespace/name``, ``identity`` the SPIFFE ID it showed, ``issuer`` who signed its certificate
    (key identifier in hex). ``slot`` belongs to the newest stream, ``changed`` wakes that stream's writer.
    """

    __slots__ = (
        "_objects",
        "acknowledged",
        "changed",
        "compiled_from",
        "connected_since",
        "findings",
        "hosts",
        "identity",
        "issuer",
        "objects",
        "pod",
        "programmed",
        "refusal",
        "slot",
    )

    def __init__(self, pod: str, identity: str) -> None:
        self.pod = pod
        self.identity = identity
        self.issuer = ""
        self.hosts: dict[str, None] = {}
        self.slot = Slot(Hello())
        self.changed = asyncio.Event()
        self.acknowledged: Config | None = None
        """What the sidecar said it runs on, as far as this controller knows."""
        self.connected_since: datetime | None = None
        self.refusal: Refusal | None = None
        self.findings: tuple[Finding, ...] = ()
        self.compiled_from: World | None = None
        self.objects: frozenset[ObjectVersion] = frozenset()
        """What its newest config is made of, which is of the world ``compiled_from``."""
        self.programmed: frozenset[ObjectVersion] = frozenset()
        """What the config that it acknowledged is made of."""
        self._objects: dict[int, frozenset[ObjectVersion]] = {}

    @property
    def refuses(self) -> Refusal | None:
        """Why the sidecar does not take what it should run on, if it has said so."""
        return self.refusal if self.slot.is_refused else None

    def offer(self, compiled: Compiled, world: World, *, urgent: bool) -> None:
        """It should run on ``compiled``, which is of ``world``."""
        self.findings, self.objects, self.compiled_from = compiled.findings, compiled.objects, world
        self.slot.offer(compiled.config, urgent=urgent)
        if self.slot.desired is not None:
            # Another object may well be the same config: what was acknowledged is of this one then, too.
            self._objects[self.slot.desired.version] = compiled.objects
        self.settle()

    def refused(self, nack: Nack, refusal: Refusal) -> None:
        """It stays with what it had, or with what is not known here."""
        before = self.slot.desired
        self.refusal = refusal
        self.slot.nack(nack)
        if before is not None and self.slot.desired is not None and before.version in self._objects:
            self._objects[self.slot.desired.version] = self._objects[before.version]
        if self.slot.acknowledged is None:
            self.programmed = frozenset()
        self.settle()

    def settle(self) -> None:
        """After the slot changed: what is in force, and its writer looks again."""
        slot = self.slot
        if slot.acknowledged is not None:
            self.acknowledged = slot.acknowledged
            self.programmed = self._objects.get(slot.acknowledged.version, self.programmed)
        kept = {one.version for one in (slot.acknowledged, slot.in_flight, slot.desired) if one is not None}
        self._objects = {version: objects for version, objects in self._objects.items() if version in kept}
        self.changed.set()

    def reopened(self, slot: Slot) -> None:
        """A new stream, whose sidecar may have been told things by another controller meanwhile."""
        self.slot = slot
        self._objects = {}


@dataclass(slots=True, kw_only=True)
class Counts:
    """Counters since the start, for ``/metrics``."""

    pushes: int = 0
    push_bytes: int = 0
    acks: int = 0
    nacks: int = 0
    compiles: int = 0
    compile_failures: int = 0
    compile_seconds: float = 0.0


class Reconciler:
    """Keeps every subscriber's slot up to date with the world."""

    def __init__(self, compile_sidecar: Compile, clock: Callable[[], float] = time.monotonic) -> None:
        self.world: World | None = None
        """None until the sources have been read once: nobody is pushed an empty world."""
        self.trust: Trust | None = None
        """A part of every config."""
        self.subscribers: dict[str, Subscriber] = {}
        self.counts = Counts()
        self.revision = 0
        """Another number after whatever changed here: who looks now and then sees by it whether to look closer."""
        self.clock = clock
        self._compile = compile_sidecar
        self._asked: dict[str, None] = {}
        self._marked: dict[str, None] = {}
        self._work = asyncio.Event()

    def world_changed(self, world: World) -> None:
        """From now on sidecars are compiled from ``world``."""
        self.world = world
        self.revision += 1
        for key in [key for key, known in self.subscribers.items() if self._gone(known)]:
            del self.subscribers[key]
        self._marked.update(dict.fromkeys(self.subscribers))
        self._work.set()

    def trust_changed(self, trust: Trust) -> None:
        """From now on sidecars are told ``trust``."""
        self.trust = trust
        self._marked.update(dict.fromkeys(self.subscribers))
        self._work.set()

    @property
    def settled(self) -> bool:
        """Whether every sidecar has been compiled for since the last change."""
        return not self._marked and not self._asked

    def sidecar_trust(self) -> list[SidecarTrust] | None:
        """What each sidecar trusts and holds, None while the world is not known.

        A pod that has not acknowledged anything yet counts as soon as it is ready: it serves, and is on its way
        here. Before that it is starting, with what is in force when it enrols.
        """
        if self.world is None:
            return None
        found = []
        for pod in self.world.pods:
            known = self.subscribers.get(pod.meta.key)
            if pod.meshed and (pod.ready or (known is not None and known.acknowledged is not None)):
                found.append(_trust_of(pod.meta.key, known))
        return found

    def opened(self, pod: str, identity: str, hello: Hello, issuer: str = "") -> Subscriber:
        """A sidecar opened a stream; an older stream of the same pod is no longer served."""
        subscriber = self.subscribers.get(pod)
        floor = 0 if subscriber is None else subscriber.slot.version
        if subscriber is None or subscriber.identity != identity:
            subscriber = self.subscribers[pod] = Subscriber(pod, identity)
        subscriber.issuer = issuer
        subscriber.reopened(Slot(hello, floor))
        subscriber.connected_since = datetime.now(UTC)
        self.revision += 1
        subscriber.hosts = {}
        self.asked(subscriber, hello.hosts)
        return subscriber

    def closed(self, subscriber: Subscriber) -> None:
        """The subscriber's newest stream ended."""
        subscriber.connected_since = None
        self.revision += 1
        if self._gone(subscriber):
            self.subscribers.pop(subscriber.pod, None)

    def asked(self, subscriber: Subscriber, hosts: Iterable[str]) -> None:
        """Takes hosts into a sidecar's scope; what cannot be a host name is passed over."""
        for host in filter(is_host, hosts):
            subscriber.hosts.pop(host, None)
            subscriber.hosts[host] = None
        while len(subscriber.hosts) > MAX_HOSTS:
            del subscriber.hosts[next(iter(subscriber.hosts))]
        self._asked[subscriber.pod] = None
        self._work.set()

    def acked(self, subscriber: Subscriber, version: int) -> None:
        """The sidecar put a push in force."""
        self.counts.acks += 1
        if not subscriber.slot.ack(version):
            log.warning("stray ack pod=%s version=%d", subscriber.pod, version)
        subscriber.settle()
        self.revision += 1

    def nacked(self, subscriber: Subscriber, nack: Nack) -> None:
        """The sidecar refused a push and runs on with what it had."""
        self.counts.nacks += 1
        reason = nack.reason[:MAX_REASON_CHARS]
        log.warning("nack pod=%s version=%d current=%d reason=%s", subscriber.pod, nack.version, nack.current, reason)
        subscriber.refused(nack, Refusal(version=nack.version, reason=reason, at=datetime.now(UTC)))
        self.revision += 1

    async def run(self) -> None:
        """Recompiles what is marked, until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            sliced = time.monotonic()
            while self.world is not None and (self._asked or self._marked):
                self._next(self.world)
                if time.monotonic() - sliced > SLICE_SECONDS:
                    await asyncio.sleep(0)
                    sliced = time.monotonic()

    def compiled(self, pod: Pod, hosts: frozenset[str]) -> Compiled | None:
        """What a sidecar should run on now; None if it cannot be said."""
        if self.world is None:
            return None
        began = time.perf_counter()
        try:
            compiled = self._compile(self.world, pod, hosts)
            return replace(compiled, config=msgspec.structs.replace(compiled.config, trust=self.trust))
        except Exception:
            # One sidecar's config fails to compile: it keeps what it has, all others go on.
            self.counts.compile_failures += 1
            log.exception("compiling failed pod=%s", pod.meta.key)
            return None
        finally:
            self.counts.compiles += 1
            self.counts.compile_seconds += time.perf_counter() - began

    def _next(self, world: World) -> None:
        """Compiles one marked sidecar, those that wait for an answer first."""
        urgent = bool(self._asked)
        key = next(iter(self._asked or self._marked))
        self._asked.pop(key, None)
        self._marked.pop(key, None)
        subscriber = self.subscribers.get(key)
        pod = world.index.pods.get(key)
        if subscriber is None or pod is None or subscriber.connected_since is None:
            return
        if subscriber.identity != spiffe_id(world.settings.trust_domain, pod.meta.namespace, pod.service_account):
            log.warning("nothing for pod=%s: it shows identity=%s", key, subscriber.identity)
            return
        compiled = self.compiled(pod, frozenset(subscriber.hosts))
        if compiled is None:
            return
        subscriber.offer(compiled, world, urgent=urgent)
        self.revision += 1

    def _gone(self, subscriber: Subscriber) -> bool:
        known = self.world is None or subscriber.pod in self.world.index.pods
        return subscriber.connected_since is None and not known


def _trust_of(pod: str, known: Subscriber | None) -> SidecarTrust:
    acknowledged = known.acknowledged.trust if known is not None and known.acknowledged is not None else None
    return SidecarTrust(
        pod=pod,
        generation=acknowledged.generation if acknowledged is not None else -1,
        issuer=known.issuer if known is not None else "",
    )
