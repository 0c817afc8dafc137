"""Annotations of pods and namespaces: the pod's wins over its namespace's. Their names: ``translator.vocabulary``."""

from __future__ import annotations

from smi.meta import Meta
from smi.workloads import Pod
from translator.findings import Finding, Kind, Reason
from translator.vocabulary import Annotation
from translator.world import World


def annotation(world: World, pod: Pod, wanted: Annotation) -> tuple[str | None, list[Finding]]:
    """The value of an annotation that holds for a pod, None where the mesh's own setting does.

    One that is not among its values is a finding, and the next level counts.
    """
    levels: list[tuple[Kind, Meta]] = [("Pod", pod.meta)]
    namespace = world.objects.namespaces.get(pod.meta.namespace)
    if namespace is not None:
        levels.append(("Namespace", namespace.meta))
    findings: list[Finding] = []
    for kind, meta in levels:
        value = meta.annotations.get(wanted.name)
        if value in wanted.values:
            return value, findings
        if value is not None:
            message = f"{wanted.name}: {value!r} is not one of {', '.join(wanted.values)}; it does not count"
            findings.append(Finding.on(kind, meta, Reason.INVALID_ANNOTATION, message))
    return None, findings
