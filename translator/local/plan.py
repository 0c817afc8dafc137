"""Which pods to start and to stop: the folder's workloads against the pods there are. Pure.

Called by ``translator.local.supervisor`` after every change of either; it takes
one step at a time and is called again when a pod became ready or has ended.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import msgspec

from smi.workloads import Workload

DEPLOYMENT = "Deployment"
STATEFUL_SET = "StatefulSet"
POD = "Pod"

Owner = tuple[str, str, str]
"""Kind, namespace and name of a workload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A pod as the plan sees it. ``serial`` grows with every pod started."""

    owner: Owner
    name: str
    template: str
    ready: bool = False
    stopping: bool = False
    serial: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.owner[1], self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Start a pod of this workload under this name."""

    workload: Workload
    name: str
    template: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do now. ``stop`` has (namespace, name), ``unplaced`` the workloads that lack room for their pods."""

    start: tuple[Start, ...] = ()
    stop: tuple[tuple[str, str], ...] = ()
    unplaced: tuple[Owner, ...] = ()


def owner_of(workload: Workload) -> Owner:
    """The identity of a workload."""
    return workload.kind, workload.meta.namespace, workload.meta.name


def template_hash(workload: Workload) -> str:
    """Ten hexadecimal digits of what a pod of this workload is made of; replicas are not part of it."""
    parts = (
        sorted(workload.template.labels.items()),
        sorted(workload.template.annotations.items()),
        workload.service_account,
        workload.containers,
        workload.folder,
    )
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:10]


def plan(workloads: Iterable[Workload], instances: Iterable[Instance], fresh: Callable[[], str], room: int) -> Plan:
    """One step towards what the workloads ask for. ``fresh`` gives name suffixes that nobody has.

    No more than ``room`` pods are started, and what it costs does not grow with the ``replicas`` that are asked for.

    Pods whose workload is gone are stopped. Two pods never have one name: a
    pod waits until the one that ends under its name has gone.
    """
    by_owner: dict[Owner, list[Instance]] = {}
    for instance in sorted(instances, key=lambda instance: instance.serial):
        by_owner.setdefault(instance.owner, []).append(instance)
    names = {instance.key for pods in by_owner.values() for instance in pods}
    start: list[Start] = []
    stop: list[tuple[str, str]] = []
    unplaced: list[Owner] = []
    for workload in sorted(workloads, key=owner_of):
        step = _step(workload, by_owner.pop(owner_of(workload), []), fresh, room - len(start))
        unplaced.extend(step.unplaced)
        for one in step.start:
            if (workload.meta.namespace, one.name) not in names:
                names.add((workload.meta.namespace, one.name))
                start.append(one)
        stop.extend(step.stop)
    stop.extend(pod.key for pods in by_owner.values() for pod in pods if not pod.stopping)
    return Plan(start=tuple(start), stop=tuple(stop), unplaced=tuple(unplaced))


def _step(workload: Workload, pods: list[Instance], fresh: Callable[[], str], room: int) -> Plan:
    template = template_hash(workload)
    if workload.kind == DEPLOYMENT:
        return _deployment(workload, template, [pod for pod in pods if not pod.stopping], fresh, room)
    if workload.kind == STATEFUL_SET:
        return _stateful_set(workload, template, pods, room)
    if not pods:
        return _one(workload, workload.meta.name, template, room)
    return Plan(stop=tuple(pod.key for pod in pods if pod.template != template and not pod.stopping))


def _one(workload: Workload, name: str, template: str, room: int) -> Plan:
    if room < 1:
        return Plan(unplaced=(owner_of(workload),))
    return Plan(start=(Start(workload=workload, name=name, template=template),))


def _deployment(
    workload: Workload, template: str, pods: Sequence[Instance], fresh: Callable[[], str], room: int
) -> Plan:
    """New pods first; an old one goes when enough are ready without it. Of too many the youngest go, unready first."""
    current = [pod for pod in pods if pod.template == template]
    old = [pod for pod in pods if pod.template != template]
    missing = max(0, workload.replicas - len(current))
    surplus = sorted(current, key=lambda pod: (pod.ready, -pod.serial))[: max(0, len(current) - workload.replicas)]
    ready = sum(pod.ready for pod in current if pod not in surplus)
    needed = max(0, workload.replicas - ready)
    kept = [pod for pod in old if pod.ready][:needed]
    prefix = f"{workload.meta.name}-{template[:8]}"
    placed = min(missing, max(0, room))
    return Plan(
        start=tuple(Start(workload=workload, name=f"{prefix}-{fresh()}", template=template) for _ in range(placed)),
        stop=tuple(pod.key for pod in (*surplus, *old) if pod not in kept),
        unplaced=(owner_of(workload),) if placed < missing else (),
    )


def _stateful_set(workload: Workload, template: str, pods: Sequence[Instance], room: int) -> Plan:
    """Kubernetes' OrderedReady: up one by one from 0, down and over one by one from the highest ordinal."""
    if any(pod.stopping for pod in pods):
        return Plan()
    by_name = {pod.name: pod for pod in pods}
    beyond = [pod for pod in pods if _ordinal(pod.name) >= workload.replicas]
    if beyond:
        return Plan(stop=(max(beyond, key=lambda pod: _ordinal(pod.name)).key,))
    for name in (f"{workload.meta.name}-{ordinal}" for ordinal in range(workload.replicas)):
        if name not in by_name:
            return _one(workload, name, template, room)
        if not by_name[name].ready and by_name[name].template == template:
            return Plan()
    outdated = [pod for pod in pods if pod.template != template]
    return Plan(stop=(max(outdated, key=lambda pod: _ordinal(pod.name)).key,)) if outdated else Plan()


def _ordinal(name: str) -> int:
    suffix = name.rpartition("-")[2]
    return int(suffix) if suffix.isdecimal() else 0


def settled(workloads: Iterable[Workload], instances: Iterable[Instance], unstartable: frozenset[str]) -> bool:
    """Whether nothing is left to do and all pods are ready; pods of an ``unstartable`` template are not waited for."""
    pods = [replace(pod, ready=True) if pod.template in unstartable else pod for pod in instances]
    return plan(workloads, pods, lambda: "", room=1) == Plan() and all(pod.ready and not pod.stopping for pod in pods)
