"""How each SMI object stands, and what there is to remark, from all that a controller knows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from smi.workloads import Pod
from translator.dependencies import dependencies
from translator.findings import Finding
from translator.kube.admission.decide import INJECT, wanted
from translator.kube.source import Known, KubernetesSource
from translator.kube.status.conditions import Standing
from translator.kube.status.events import Remark
from translator.kube.status.progress import Count, Progress, key_of, together
from translator.kube.status.progress import Key as ObjectKey
from translator.kube.status.summary import summary_of
from translator.reconcile import Reconciler
from translator.review import review
from translator.scope import reachable, ways
from translator.world import World

REMARKED = "v1"
"""API version of what is remarked on beside SMI objects: Services, pods, namespaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """``objects`` are SMI's, ``remarks`` are about any."""

    objects: Sequence[tuple[Known, Standing]]
    remarks: Sequence[Remark]


class Standings:
    """Remembers what a world's review found: it is the dear part, and of most looks nothing but counts is new."""

    def __init__(self) -> None:
        self._reviewed: World | None = None
        self._findings: tuple[Finding, ...] = ()

    def of(
        self, world: World, source: KubernetesSource, reconciler: Reconciler, parts: Sequence[Progress] | None
    ) -> Found:
        """``parts`` are all controllers', None where not all are known."""
        if self._reviewed is not world:
            self._reviewed, self._findings = world, review(world)
        findings: dict[ObjectKey, list[Finding]] = {}
        said = {one for known in reconciler.subscribers.values() for one in known.findings}
        for finding in sorted(said.union(self._findings)):
            findings.setdefault((finding.kind, finding.namespace, finding.name), []).append(finding)
        bare = list(unmeshed(world))
        counts = counted(world, parts, bare) if parts is not None else None
        objects = [
            (known, _standing(known, summary_of(thing), problems, findings, counts))
            for known, thing, problems in source.smi_objects()
        ]
        remarks = [*_about_smi(objects, findings), *_about_others(world, findings), *_about_bare(bare)]
        return Found(objects=objects, remarks=remarks)


def unmeshed(world: World) -> Iterator[Pod]:
    """Pods that should have a sidecar and have none."""
    for pod in world.pods:
        if not pod.meshed:
            namespace = world.objects.namespaces.get(pod.meta.namespace)
            if wanted(pod.meta.annotations, namespace.meta.annotations if namespace is not None else {}):
                yield pod


def counted(world: World, parts: Sequence[Progress], bare: Iterable[Pod]) -> Mapping[ObjectKey, Count]:
    """Pods without the sidecar that they should have count among those that an object concerns."""
    counts = dict(together(parts))
    for pod in bare:
        found = ways(world, pod)
        for version in dependencies(world, pod, reachable(found), (way for way, _ in found)):
            count = counts.setdefault(key_of(version), Count())
            count.concerned += 1
            count.waiting.append(f"{pod.meta.key} (has no sidecar)")
    return counts


def _standing(
    known: Known,
    summary: str,
    problems: tuple[str, ...],
    findings: Mapping[ObjectKey, list[Finding]],
    counts: Mapping[ObjectKey, Count] | None,
) -> Standing:
    key = known.kind, known.namespace, known.name
    return Standing(
        uid=known.uid,
        generation=known.generation,
        summary=summary,
        problems=problems,
        findings=tuple(findings.get(key, ())),
        count=counts.get(key, Count()) if counts is not None else None,
    )


def _about_smi(
    objects: Iterable[tuple[Known, Standing]], findings: Mapping[ObjectKey, list[Finding]]
) -> Iterator[Remark]:
    for known, standing in objects:
        said = [("Invalid", text) for text in standing.problems]
        said += [(one.reason.value, one.message) for one in findings.get((known.kind, known.namespace, known.name), ())]
        if standing.count is not None:
            said += [
                ("Rejected", f"the sidecar of {pod} does not take it: {why}") for pod, why in standing.count.refused
            ]
        for reason, note in said:
            yield Remark(
                api_version=known.api_version,
                kind=known.kind,
                namespace=known.namespace,
                name=known.name,
                uid=known.uid,
                reason=reason,
                note=note,
            )


def _about_others(world: World, findings: Mapping[ObjectKey, list[Finding]]) -> Iterator[Remark]:
    for (kind, namespace, name), found in findings.items():
        things: Mapping[str, Mapping[str, object]] = {
            "Service": world.objects.services,
            "Namespace": world.objects.namespaces,
            "Pod": world.index.pods,
        }
        thing = things.get(kind, {}).get(name if kind == "Namespace" else f"{namespace}/{name}")
        meta = getattr(thing, "meta", None)
        if meta is not None:
            for one in found:
                yield Remark(
                    api_version=REMARKED,
                    kind=kind,
                    namespace="" if kind == "Namespace" else namespace,
                    name=name,
                    uid=meta.uid,
                    reason=one.reason.value,
                    note=one.message,
                )


def _about_bare(bare: Iterable[Pod]) -> Iterator[Remark]:
    for pod in bare:
        yield Remark(
            api_version=REMARKED,
            kind="Pod",
            namespace=pod.meta.namespace,
            name=pod.meta.name,
            uid=pod.meta.uid,
            reason="NotInjected",
            note=f"{INJECT}: enabled asks for a sidecar, and there is none: the pod is older than the mesh or the "
            "annotation, or could not be given one; make it anew",
        )
