"""What traffic can be asked about: kinds by all names that kubectl knows them by, and ``KIND[/NAME]``. Pure."""

from __future__ import annotations

from typing import NamedTuple

from smi.workloads import Pod

POD = "Pod"
NAMESPACE = "Namespace"
NODE = "Node"
SERVICE = "Service"
TRAFFIC_SPLIT = "TrafficSplit"
TRAFFIC_TARGET = "TrafficTarget"
WORKLOAD = "Workload"
"""Of a question: workloads of every kind, and pods that belong to none."""

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job")

TEMPLATE_HASH = "pod-template-hash"
"""Label of a Deployment's pods that ends the name of their ReplicaSet."""

_SHORT = {
    POD: ("po",),
    NAMESPACE: ("ns",),
    NODE: ("no",),
    SERVICE: ("svc",),
    TRAFFIC_SPLIT: ("ts",),
    TRAFFIC_TARGET: ("tt",),
    "Deployment": ("deploy",),
    "StatefulSet": ("sts",),
    "DaemonSet": ("ds",),
    "ReplicaSet": ("rs",),
    "ReplicationController": ("rc",),
    "Job": (),
}
KINDS = {
    word: kind
    for kind, short in _SHORT.items()
    for word in (kind.lower(), f"{kind.lower()}s", *short)
} | {"workload": WORKLOAD, "workloads": WORKLOAD}  # fmt: skip
"""Every word for a kind, in lower case."""


class NoSuchKind(ValueError):
    """A word that names no kind, or none that can be asked about like this."""


class Resource(NamedTuple):
    """One object. A Namespace or Node has no namespace; an empty name or namespace in a question stands for all."""

    kind: str
    namespace: str
    name: str


def kind_of(word: str) -> str:
    """``deploy`` → ``Deployment``. Raises ``NoSuchKind``."""
    kind = KINDS.get(word.lower())
    if kind is None:
        known = ", ".join((short or (kind.lower(),))[0] for kind, short in _SHORT.items())
        raise NoSuchKind(f'"{word}" is no kind of resource: there are {known}')
    return kind


def resource(text: str, namespace: str) -> Resource:
    """``KIND[/NAME]`` in a namespace. Raises ``NoSuchKind``."""
    word, slash, name = text.partition("/")
    kind = kind_of(word)
    if slash and not name:
        raise NoSuchKind(f'"{text}" has no name behind the slash')
    return Resource(kind, "" if kind in (NAMESPACE, NODE) else namespace, name)


def of_pod(pod: Pod, kind: str) -> Resource | None:
    """The resource of ``kind`` that a pod is, or belongs to."""
    if kind == POD:
        return Resource(POD, pod.meta.namespace, pod.meta.name)
    if kind == NAMESPACE:
        return Resource(NAMESPACE, "", pod.meta.namespace)
    if kind == NODE:
        return Resource(NODE, "", pod.node) if pod.node else None
    if kind == WORKLOAD:
        return of_pod(pod, pod.workload_kind)
    if pod.workload_kind == kind:
        return Resource(kind, pod.meta.namespace, pod.workload)
    revision = pod.meta.labels.get(TEMPLATE_HASH)
    if kind == "ReplicaSet" and pod.workload_kind == "Deployment" and revision:
        return Resource(kind, pod.meta.namespace, f"{pod.workload}-{revision}")
    return None


def end_of(pod: Pod, kind: str) -> Resource | None:
    """What a pod is at its end of a request that workloads of ``kind`` are asked about.

    A Deployment that calls a StatefulSet calls something: where a pod is of no workload of that kind, it is its own.
    """
    return of_pod(pod, kind) or (of_pod(pod, WORKLOAD) if kind in WORKLOADS else None)


def covers(asked: Resource, found: Resource | None) -> bool:
    """Whether ``found`` is what was asked about, or among it."""
    return (
        found is not None
        and (asked.kind == found.kind or (asked.kind == WORKLOAD and found.kind in (POD, *WORKLOADS)))
        and asked.namespace in ("", found.namespace)
        and asked.name in ("", found.name)
    )
