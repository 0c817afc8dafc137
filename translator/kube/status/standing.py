"""How each SMI object stands, and what there is to remark, from all that a controller knows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from smi.workloads import Pod
from translator.dependencies import ObjectKey, dependencies
from translator.findings import Finding
from translator.kube.admission.decide import INJECT, wanted
from translator.kube.source import Known, KubernetesSource
from translator.kube.status.conditions import Standing
from translator.kube.status.events import Remark
from translator.kube.status.progress import Count, Progress, Row, by_object, key_of, not_connected, together
from translator.kube.status.subscribed import Subscribed
from translator.kube.status.summary import summary_of
from translator.review import Review
from translator.scope import reachable, ways
from translator.world import World

REMARKED = "v1"
"""API version of what is remarked on beside SMI objects: Services, pods, namespaces; and of EndpointSlices:"""
DISCOVERY = "discovery.k8s.io/v1"

Findings = dict[ObjectKey, list[Finding]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """``objects`` are SMI's, those that may stand otherwise than before; ``remarks`` are all there are, about any."""

    objects: Sequence[tuple[Known, Standing]]
    remarks: Sequence[Remark]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Elsewhere:
    """What other controllers said."""

    rows: Mapping[ObjectKey, Sequence[Row]]
    missing: Mapping[ObjectKey, Sequence[str]]
    """By object, whom it waits for of whom nobody hears, wherever it was connected."""


class Standings:
    """Remembers how all stood, since of most looks it is news of a few."""

    def __init__(self, own: Subscribed) -> None:
        self._own = own
        self._findings: Findings = {}
        self._elsewhere: _Elsewhere | None = None

    def of(
        self,
        world: World,
        source: KubernetesSource,
        review: Review,
        others: Sequence[Progress] | None,
        again: Iterable[ObjectKey] | None,
    ) -> Found:
        """``others`` are the other controllers', None where not all are known. ``again`` are to be told beside those of
        which there is news; None: all are.
        """
        findings: Findings = {}
        told = (finding for part in others or () for finding in part.findings)
        for finding in sorted({*self._own.findings, *review.findings(), *told}):
            findings.setdefault((finding.kind, finding.namespace, finding.name), []).append(finding)
        bare = list(unmeshed(world, linkerd=source.linkerd.present))
        before, elsewhere = self._elsewhere, self._heard(world, others, bare) if others is not None else None
        touched, moved = source.smi_objects_touched(), self._own.news()
        if again is None or moved is None or (before is None) != (elsewhere is None):
            news = list(source.smi_objects())
        else:
            news = [*touched, *moved, *again, *_others(self._findings, findings)]
        if before is not None and elsewhere is not None:
            news += [*_others(before.rows, elsewhere.rows), *_others(before.missing, elsewhere.missing)]
        self._findings, self._elsewhere = findings, elsewhere
        worth = (*source.unreadable(), *findings, *sorted(self._refused()))
        remarks = [*_about_smi(self._standing(source, worth)), *_about_others(world, findings), *_about_bare(bare)]
        return Found(objects=list(self._standing(source, news)), remarks=remarks)

    def _standing(self, source: KubernetesSource, keys: Iterable[ObjectKey]) -> Iterator[tuple[Known, Standing]]:
        """Of those that there are, each once."""
        for key in dict.fromkeys(keys):
            found = source.smi_object(key)
            if found is None:
                continue
            known, thing, problems = found
            yield (
                known,
                Standing(
                    uid=known.uid,
                    generation=known.generation,
                    summary=summary_of(thing),
                    problems=problems,
                    findings=tuple(self._findings.get(key, ())),
                    count=self._count(key),
                ),
            )

    def _refused(self) -> set[ObjectKey]:
        """What any sidecar does not take."""
        if self._elsewhere is None:
            return set()
        elsewhere = (key for key, rows in self._elsewhere.rows.items() if any(row.refused for row in rows))
        return self._own.refused.union(elsewhere)

    def _count(self, key: ObjectKey) -> Count | None:
        """Of the sidecars that it concerns, None where that is not known now."""
        if self._elsewhere is None:
            return None
        rows = (*self._own.rows(key), *self._elsewhere.rows.get(key, ()))
        return together(rows, self._elsewhere.missing.get(key, ()))

    def _heard(self, world: World, others: Sequence[Progress], bare: Iterable[Pod]) -> _Elsewhere:
        """Pods without the sidecar that they should have are missing, too."""
        elsewhere = {pod for part in others for pod in part.connected}
        away = [*self._own.away, *(gone for part in others for gone in part.away)]
        missing: dict[ObjectKey, list[str]] = {}
        for key, text in (*not_connected(away, self._own.connected, elsewhere), *_without_sidecar(world, bare)):
            missing.setdefault(key, []).append(text)
        return _Elsewhere(rows=by_object(others), missing=missing)


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


def _without_sidecar(world: World, bare: Iterable[Pod]) -> Iterator[tuple[ObjectKey, str]]:
    """Each object that concerns one of them, and what to say of that pod."""
    for pod in bare:
        found = ways(world, pod)
        for version in dependencies(world, pod, reachable(found), (way for way, _ in found)):
            yield key_of(version), f"{pod.meta.key} (has no sidecar)"


def _about_smi(worth: Iterable[tuple[Known, Standing]]) -> Iterator[Remark]:
    """Of the few of which there is anything to say."""
    for known, standing in worth:
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
