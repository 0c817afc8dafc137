"""Annotations of pods and namespaces: the pod's wins over its namespace's. Their names: ``translator.vocabulary``."""

from __future__ import annotations

import functools

from proxy.contract.ports import BadRule, numbers, port_list
from smi.meta import Meta
from smi.workloads import Pod
from translator.findings import Finding, Kind, Reason
from translator.vocabulary import OPAQUE_PORTS, Annotation
from translator.world import World


def annotation(world: World, pod: Pod, wanted: Annotation) -> tuple[str | None, list[Finding]]:
    """The value of an annotation that holds for a pod, None where the mesh's own setting does.

    One that is not among its values is a finding, and the next level counts.
    """
    findings: list[Finding] = []
    for kind, meta in _levels(world, pod):
        value = meta.annotations.get(wanted.name)
        if value in wanted.values:
            return value, findings
        if value is not None:
            message = f"{wanted.name}: {value!r} is not one of {', '.join(wanted.values)}; it does not count"
            findings.append(Finding.on(kind, meta, Reason.INVALID_ANNOTATION, message))
    return None, findings


def opaque_ports(world: World, pod: Pod) -> tuple[frozenset[int], list[Finding]]:
    """Container ports of a pod whose bytes are relayed unread."""
    findings: list[Finding] = []
    for kind, meta in _levels(world, pod):
        value = meta.annotations.get(OPAQUE_PORTS.name)
        if value is not None:
            try:
                return _ports(value), findings
            except BadRule as error:
                message = f"{OPAQUE_PORTS.name}: {error}; it does not count"
                findings.append(Finding.on(kind, meta, Reason.INVALID_ANNOTATION, message))
    return opaque_by_default(world), findings


def opaque_by_default(world: World) -> frozenset[int]:
    """Ports of whoever says nothing about it, relayed unread."""
    return _ports(world.settings.opaque_ports)


@functools.lru_cache(maxsize=1024)
def _ports(text: str) -> frozenset[int]:
    return frozenset(numbers(port_list(text)))


def _levels(world: World, pod: Pod) -> list[tuple[Kind, Meta]]:
    levels: list[tuple[Kind, Meta]] = [("Pod", pod.meta)]
    namespace = world.objects.namespaces.get(pod.meta.namespace)
    if namespace is not None:
        levels.append(("Namespace", namespace.meta))
    return levels
