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
from translator.scope import reachable, ways
from translator.world import World

REMARKED = "v1"
"""API version of what is remarked on beside SMI objects: Services, pods, namespaces; and of EndpointSlices:"""
DISCOVERY = "discovery.k8s.io/v1"

Findings = dict[ObjectKey, list[Finding]]
Counts = Mapping[ObjectKey, Count]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """``objects`` are SMI's, those that may stand otherwise than before; ``remarks`` are all there are, about any."""

    objects: Sequence[tuple[Known, Standing]]
    remarks: Sequence[Remark]


class Standings:
    """Remembers how all stood, since of most looks it is news of a few."""

    def __init__(self) -> None:
        self._findings: Findings = {}
        self._counts: Counts | None = None

    def of(
        self,
        world: World,
        source: KubernetesSource,
        reconciler: Reconciler,
        parts: Sequence[Progress] | None,
        again: Iterable[ObjectKey] | None,
    ) -> Found:
        """``parts`` are all controllers', None where not all are known. ``again`` are to be told beside those of which
        there is news; None: all are.
        """
        findings: Findings = {}
        said = {one for known in reconciler.subscribers.values() for one in known.findings}
        for finding in sorted(said.union(reconciler.review.findings())):
            findings.setdefault((finding.kind, finding.namespace, finding.name), []).append(finding)
        bare = list(unmeshed(world, linkerd=source.linkerd.present))
        counts = counted(world, parts, bare) if parts is not None else None
        news = source.smi_objects_touched()
        if again is None or (counts is None) != (self._counts is None):
            news = list(source.smi_objects())
        else:
            news += [*again, *_others(self._findings, findings), *_others(self._counts or {}, counts or {})]
        self._findings, self._counts = findings, counts
        objects = [
            _standing(found, findings, counts) for key in dict.fromkeys(news) if (found := source.smi_object(key))
        ]
        remarks = [*_about_smi(source, findings, counts), *_about_others(world, findings), *_about_bare(bare)]
        return Found(objects=objects, remarks=remarks)


def _others(before: Mapping[ObjectKey, object], after: Mapping[ObjectKey, object]) -> list[ObjectKey]:
    """What is not as it was."""
    return [key for key in {*before, *after} if before.get(key) != after.get(key)]


def unmeshed(world: World, *, linkerd: bool = False) -> Iterator[Pod]:
    """Pods that should have a sidecar and have none; ``linkerd``: Linkerd's annotation is its own."""
    for name, pods in world.tables["unmeshed_by_namespace"].items():
        namespace = world.objects.namespaces.get(name)
        inherited = namespace.meta.annotations if namespace is not None else {}
        for pod in pods:
            if wanted(pod.meta.annotations, inherited, linkerd_alias=not linkerd) and not pod.host_network:
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
    found: tuple[Known, object, tuple[str, ...]], findings: Findings, counts: Counts | None
) -> tuple[Known, Standing]:
    known, thing, problems = found
    key = known.kind, known.namespace, known.name
    standing = Standing(
        uid=known.uid,
        generation=known.generation,
        summary=summary_of(thing),
        problems=problems,
        findings=tuple(findings.get(key, ())),
        count=counts.get(key, Count()) if counts is not None else None,
    )
    return known, standing


def _about_smi(source: KubernetesSource, findings: Findings, counts: Counts | None) -> Iterator[Remark]:
    """Of the few of which there is anything to say."""
    refused = [key for key, count in (counts or {}).items() if count.refused]
    for key in dict.fromkeys((*source.unreadable(), *findings, *refused)):
        found = source.smi_object(key)
        if found is None:
            continue
        known, standing = _standing(found, findings, counts)
        said = [("Invalid", text) for text in standing.problems]
        said += [(one.reason.value, one.message) for one in standing.findings]
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


def _about_others(world: World, findings: Findings) -> Iterator[Remark]:
    for (kind, namespace, name), found in findings.items():
        things: Mapping[str, Mapping[str, object]] = {
            "Service": world.objects.services,
            "EndpointSlice": world.objects.slices,
            "Namespace": world.objects.namespaces,
            "Pod": world.index.pods,
        }
        thing = things.get(kind, {}).get(name if kind == "Namespace" else f"{namespace}/{name}")
        meta = getattr(thing, "meta", None)
        if meta is not None:
            for one in found:
                yield Remark(
                    api_version=DISCOVERY if kind == "EndpointSlice" else REMARKED,
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
