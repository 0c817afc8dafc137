"""Annotations ``smi-mesh.io/…`` of pods and namespaces: the pod's wins over its namespace's."""

from __future__ import annotations

from smi.meta import Meta
from smi.workloads import Pod
from translator.findings import Finding, Kind, Reason
from translator.world import World

_PREFIX = "smi-mesh.io/"


def annotation(world: World, pod: Pod, name: str, values: tuple[str, ...]) -> tuple[str | None, list[Finding]]:
    """The value of annotation ``name`` that holds for a pod, None where the mesh's own setting does.

    One of another value than ``values`` is a finding, and the next level counts.
    """
    levels: list[tuple[Kind, Meta]] = [("Pod", pod.meta)]
    namespace = world.objects.namespaces.get(pod.meta.namespace)
    if namespace is not None:
        levels.append(("Namespace", namespace.meta))
    findings: list[Finding] = []
    for kind, meta in levels:
        value = meta.annotations.get(_PREFIX + name)
        if value in values:
            return value, findings
        if value is not None:
            message = f"{_PREFIX}{name}: {value!r} is not one of {', '.join(values)}; it does not count"
            findings.append(Finding.on(kind, meta, Reason.INVALID_ANNOTATION, message))
    return None, findings
