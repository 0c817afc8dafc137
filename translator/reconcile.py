"""From a changed world to the sidecars it concerns.

A source hands over the next ``World`` and what has changed in it, a sidecar the hosts it asked for;
both mark sidecars, the former those that have read what changed, and one task recompiles the marked ones in turn with
whatever is newest by then. However fast changes come, each sidecar is compiled
once for all of them, none is starved, and the last change is never lost.
Neighbours: ``translator.compiler`` (pure), ``translator.derived`` (who has read what), ``translator.publish`` (what
becomes of a compiled config), ``translator.stream`` (the sockets).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from proxy.contract.check import is_host
from proxy.contract.config import Config, Trust, spiffe_id
from proxy.contract.messages import Hello, Nack
from smi.workloads import Pod
from translator.compiler import Compiled
from translator.dependencies import NONE, ObjectVersion
from translator.derived import Derivations
from translator.findings import Finding
from translator.identity.rollout import SidecarTrust
from translator.publish import Slot, same
from translator.review import Review
from translator.world import Read, World

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


def nobody() -> None:
    """Whom to wake where no stream is open."""


class Subscriber:
    """One pod's sidecar, over all its streams: what it asked for, what it runs on.

    ``pod`` is ``namespace/name``, ``identity`` the SPIFFE ID it showed, ``issuer`` who signed its certificate
    (key identifier in hex). ``slot`` belongs to the newest stream, ``wake`` tells that stream to look at it.
    """

    __slots__ = (
        "_objects",
        "acknowledged",
        "connected_since",
        "cost",
        "findings",
        "hosts",
        "identity",
        "issuer",
        "objects",
        "pod",
        "programmed",
        "refusal",
        "slot",
        "wake",
    )

    def __init__(self, pod: str, identity: str) -> None:
        self.pod = pod
        self.identity = identity
        self.issuer = ""
        self.hosts: dict[str, None] = {}
        self.cost = 0.0
        """Seconds that compiling what it asked for has taken; its stream takes them to account."""
        self.slot = Slot(Hello())
        self.wake: Callable[[], None] = nobody
        self.acknowledged: Config | None = None
        """What the sidecar said it runs on, as far as this controller knows."""
        self.connected_since: datetime | None = None
        self.refusal: Refusal | None = None
        self.findings: tuple[Finding, ...] = ()
        self.objects: frozenset[ObjectVersion] = NONE
        """What its newest config is made of."""
        self.programmed: frozenset[ObjectVersion] = NONE
        """What the config that it acknowledged is made of."""
        self._objects: dict[int, frozenset[ObjectVersion]] = {}

    @property
    def refuses(self) -> Refusal | None:
        """Why the sidecar does not take what it should run on, if it has said so."""
        return self.refusal if self.slot.is_refused else None

    def offer(self, compiled: Compiled, *, urgent: bool) -> None:
        """It should run on ``compiled``."""
        self.findings, self.objects = compiled.findings, compiled.objects
        self.slot.offer(compiled.config, urgent=urgent)
        if self.slot.desired is not None:
            # Another object may well be the same config: what was acknowledged is of this one then, too.
            self._objects[self.slot.desired.version] = compiled.objects
        self.settle()

    def refused(self, nack: Nack, refusal: Refusal) -> bool:
        """It stays with what it had, or with what is not known here. False if nothing like that was sent."""
        before = self.slot.desired
        if not self.slot.nack(nack):
            return False  # nor must it give another reason for what it refused before
        self.refusal = refusal
        if before is not None and self.slot.desired is not None and before.version in self._objects:
            self._objects[self.slot.desired.version] = self._objects[before.version]
        if self.slot.acknowledged is None:
            self.programmed = NONE
        self.settle()
        return True

    def settle(self) -> None:
        """After the slot changed: what is in force, and its stream looks again."""
        slot = self.slot
        if slot.acknowledged is not None:
            self.acknowledged = slot.acknowledged
            if slot.desired is not None and same(slot.desired, slot.acknowledged):
                # There and back again, before the way there was sent: then nothing is, and what is wanted is in force.
                self.programmed = self.objects
            else:
                self.programmed = self._objects.get(slot.acknowledged.version, self.programmed)
        kept = {one.version for one in (slot.acknowledged, slot.in_flight, slot.desired) if one is not None}
        self._objects = {version: objects for version, objects in self._objects.items() if version in kept}
        self.wake()

    def reopened(self, slot: Slot) -> None:
        """A new stream, whose sidecar may have been told things by another controller meanwhile, or have begun anew
        with nothing: what it runs on is not known until its ``Hello`` is compared with what it should, or it has
        acknowledged that.
        """
        self.slot = slot
        self._objects = {}
        self.programmed = NONE


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
        self._followers: list[set[str]] = []
        self.clock = clock
        self._compile = compile_sidecar
        self._derivations = Derivations(World.of())
        self.review = Review(self._derivations)
        """Of the newest world."""
        self._asked: dict[str, None] = {}
        self._marked: dict[str, None] = {}
        self._ahead = 0.0
        """Seconds by which those that asked were seen to for longer than those that were marked meanwhile."""
        self._work = asyncio.Event()

    def world_changed(self, world: World, changes: Set[Read] | None = None) -> None:
        """From now on sidecars are compiled from ``world``.

        ``changes`` are all that reads differently than in the world before (``World.updated``); None: anything may.
        """
        followed, self.world = self.world is not None and changes is not None, world
        self.revision += 1
        if followed and changes is not None:
            roots = self._derivations.moved(world, changes)
            self.review.moved(changes, roots)
            stale: Iterable[Hashable] = roots
            looked_at: Iterable[Hashable] = [key for table, key in changes if table == "pods"]
        else:
            self._derivations = Derivations(world)
            self.review = Review(self._derivations)
            stale = looked_at = self.subscribers
        self._marked.update({root: None for root in stale if isinstance(root, str)})
        for key in tuple(looked_at):
            known = self.subscribers.get(str(key))
            if known is not None and self._gone(known):
                self._forget(known.pod)
        self._work.set()

    def follow(self) -> set[str]:
        """A set that takes the pod (``namespace/name``) of every sidecar of which anything changes from now on, and of
        those there are; whoever follows empties it.
        """
        pods = set(self.subscribers)
        self._followers.append(pods)
        return pods

    def trust_changed(self, trust: Trust) -> None:
        """From now on sidecars are told ``trust``."""
        self.trust = trust
        self._marked.update(dict.fromkeys(self.subscribers))
        self._work.set()

    @property
    def settled(self) -> bool:
        """Whether every sidecar has been compiled for since the last change."""
        return not self._marked and not self._asked

    def sidecar_trust(self) -> Iterator[SidecarTrust] | None:
        """What each sidecar trusts and holds, None while the world is not known. Pods are walked as it is read.

        A pod that has not acknowledged anything yet counts as soon as it is ready: it serves, and is on its way
        here. Before that it is starting, with what is in force when it enrols.
        """
        return None if self.world is None else self._trust_in(self.world)

    def _trust_in(self, world: World) -> Iterator[SidecarTrust]:
        for pod in world.pods:
            known = self.subscribers.get(pod.meta.key)
            if pod.meshed and (pod.ready or (known is not None and known.acknowledged is not None)):
                yield _trust_of(pod.meta.key, known)

    def opened(self, pod: str, identity: str, hello: Hello, issuer: str = "") -> Subscriber:
        """A sidecar opened a stream; an older stream of the same pod is no longer served."""
        subscriber = self.subscribers.get(pod)
        floor = 0 if subscriber is None else subscriber.slot.version
        if subscriber is None or subscriber.identity != identity:
            subscriber = self.subscribers[pod] = Subscriber(pod, identity)
        subscriber.issuer = issuer
        subscriber.reopened(Slot(hello, floor))
        subscriber.connected_since = datetime.now(UTC)
        self._moved(pod)
        subscriber.hosts = {}
        self.asked(subscriber, hello.hosts)
        return subscriber

    def closed(self, subscriber: Subscriber) -> None:
        """The subscriber's newest stream ended."""
        subscriber.connected_since = None
        self._moved(subscriber.pod)
        if self._gone(subscriber):
            self._forget(subscriber.pod)

    def asked(self, subscriber: Subscriber, hosts: Sequence[str]) -> None:
        """Takes hosts into a sidecar's scope; what cannot be a host name is passed over, and so are more than fit."""
        for host in filter(is_host, hosts[-MAX_HOSTS:]):
            subscriber.hosts.pop(host, None)
            subscriber.hosts[host] = None  # not interned: some thousand names more and that table of all texts doubles
        while len(subscriber.hosts) > MAX_HOSTS:
            del subscriber.hosts[next(iter(subscriber.hosts))]
        self._asked[subscriber.pod] = None
        self._work.set()

    def acked(self, subscriber: Subscriber, version: int) -> None:
        """The sidecar put a push in force."""
        self.counts.acks += 1
        if not subscriber.slot.ack(version):
            log.debug("stray ack pod=%s version=%d", subscriber.pod, version)
            return
        subscriber.settle()
        self._moved(subscriber.pod)

    def nacked(self, subscriber: Subscriber, nack: Nack) -> None:
        """The sidecar refused a push and runs on with what it had."""
        self.counts.nacks += 1
        reason = one_line(nack.reason[:MAX_REASON_CHARS])
        if not subscriber.refused(nack, Refusal(version=nack.version, reason=reason, at=datetime.now(UTC))):
            log.debug("stray nack pod=%s version=%d", subscriber.pod, nack.version)
            return
        log.warning("nack pod=%s version=%d current=%d reason=%s", subscriber.pod, nack.version, nack.current, reason)
        self._moved(subscriber.pod)

    async def run(self) -> None:
        """Recompiles what is marked, until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            sliced = time.monotonic()
            while self.world is not None and (self._asked or self._marked):
                self._next()
                if time.monotonic() - sliced > SLICE_SECONDS:
                    await asyncio.sleep(0)
                    sliced = time.monotonic()

    def compiled(self, pod: Pod, hosts: frozenset[str]) -> Compiled | None:
        """What a sidecar should run on now; None if it cannot be said."""
        world = self.world
        return self._guarded(pod.meta.key, lambda: self._compiled(world, pod, hosts)) if world is not None else None

    def _compiled(self, world: World, pod: Pod, hosts: frozenset[str]) -> Compiled:
        began = time.perf_counter()
        try:
            compiled = self._compile(world, pod, hosts)
            config = msgspec.structs.replace(compiled.config, trust=self.trust)
            return Compiled(config=config, findings=compiled.findings, objects=compiled.objects)
        finally:
            self.counts.compiles += 1
            self.counts.compile_seconds += time.perf_counter() - began

    def _guarded(self, pod: str, compiling: Callable[[], Compiled | None]) -> Compiled | None:
        """One sidecar's config fails to compile: it keeps what it has, all others go on."""
        try:
            return compiling()
        except Exception:
            self.counts.compile_failures += 1
            log.exception("compiling failed pod=%s", pod)
            return None

    def _next(self) -> None:
        """Compiles for one sidecar. Those that wait for an answer come first, up to half of the time: some may ask
        without end.
        """
        urgent = bool(self._asked) and (not self._marked or self._ahead <= 0.0)
        key = next(iter(self._asked if urgent else self._marked))
        self._asked.pop(key, None)
        self._marked.pop(key, None)
        began = time.perf_counter()
        subscriber = self._compile_for(key, urgent=urgent)
        took = time.perf_counter() - began
        if urgent and subscriber is not None:
            subscriber.cost += took
        self._ahead = max(0.0, self._ahead + (took if urgent else -took)) if self._marked else 0.0

    def _compile_for(self, key: str, *, urgent: bool) -> Subscriber | None:
        subscriber = self.subscribers.get(key)
        if subscriber is None or subscriber.connected_since is None:
            return None

        def of(world: World) -> Compiled | None:
            pod = world.index.pods.get(key)
            if pod is None:
                return None
            if subscriber.identity != spiffe_id(world.settings.trust_domain, pod.meta.namespace, pod.service_account):
                log.warning("nothing for pod=%s: it shows identity=%s", key, subscriber.identity)
                return None
            return self._compiled(world, pod, frozenset(subscriber.hosts))

        compiled = self._guarded(key, lambda: self._derivations.root(key, of))
        if compiled is not None:
            subscriber.offer(compiled, urgent=urgent)
            self._moved(key)
        elif self.world is not None and key not in self.world.index.pods:
            subscriber.findings, subscriber.objects = (), NONE  # nothing waits for a pod that is gone
            self._moved(key)
        return subscriber

    def _gone(self, subscriber: Subscriber) -> bool:
        known = self.world is None or subscriber.pod in self.world.index.pods
        return subscriber.connected_since is None and not known

    def _forget(self, pod: str) -> None:
        del self.subscribers[pod]
        self._derivations.drop(pod)
        self._moved(pod)

    def _moved(self, pod: str) -> None:
        self.revision += 1
        for pods in self._followers:
            pods.add(pod)


def one_line(text: str) -> str:
    """What a sidecar says must not look like lines of our own."""
    return text if text.isprintable() else "".join(one if one.isprintable() else " " for one in text)


def _trust_of(pod: str, known: Subscriber | None) -> SidecarTrust:
    acknowledged = known.acknowledged.trust if known is not None and known.acknowledged is not None else None
    return SidecarTrust(
        pod=pod,
        generation=acknowledged.generation if acknowledged is not None else -1,
        issuer=known.issuer if known is not None else "",
    )
