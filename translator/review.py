"""Findings on a whole world, whoever is affected: what the API lists, and what ``smi lint`` says about annotations."""

from __future__ import annotations

from collections.abc import Iterator

from smi.decode import Origin, SmiObject
from smi.meta import Meta
from smi.problems import field_path
from smi.sources.snapshot import Snapshot
from smi.validate import LintWarning
from smi.workloads import Service, Workload
from translator.findings import Finding, ordered
from translator.policy import grant
from translator.retries import calls, is_about_calls
from translator.splits import effective_splits, split_findings
from translator.subjects import binding_findings, destination_findings
from translator.world import World

_METADATA = ("metadata", "annotations")
_TEMPLATE = ("spec", "template", "metadata", "annotations")


def review(world: World) -> tuple[Finding, ...]:
    """Every remark on every split, target, binding and Service."""
    findings: list[Finding] = []
    for split in world.objects.splits.values():
        findings += split_findings(world, split)
    for root in world.index.splits_by_root:
        apex = world.objects.services.get(root)
        if apex is not None:
            findings += effective_splits(world, apex)[1]
    for target in world.objects.targets.values():
        remarks = destination_findings(world, target)
        findings += remarks or grant(world, target)[1]
    for binding in world.objects.bindings.values():
        findings += binding_findings(world, binding)
    for service in world.objects.services.values():
        findings += calls(world, service).findings(service.meta)
    return ordered(findings)


def annotation_warnings(snapshot: Snapshot) -> tuple[LintWarning, ...]:
    """What is doubtful about annotations on retries, time-outs, breaking and balancing, by file and line."""
    world = World.of(snapshot.objects.values())
    found: list[LintWarning] = []
    for key, obj in snapshot.objects.items():
        origin = snapshot.origins.get(key, Origin(file="", line=0))
        for steps, message in _doubts(world, obj):
            where, line = origin.locate(field_path(steps))
            subject = f"{key[0]} {key[1]}/{key[2]}"
            found.append(LintWarning(file=origin.file, line=line, field=where, message=message, subject=subject))
    return tuple(sorted(found))


def _doubts(world: World, obj: SmiObject) -> Iterator[tuple[tuple[str, ...], str]]:
    """The path of each annotation that does not do what it seems to, and why."""
    if isinstance(obj, Service):
        for remark in calls(world, obj).remarks:
            yield (*_METADATA, remark.annotation), remark.message
        return
    places: list[tuple[tuple[str, ...], Meta]] = [(_METADATA, obj.meta)]
    if isinstance(obj, Workload) and obj.kind != "Pod":
        places.append((_TEMPLATE, obj.template))
    for path, meta in places:
        for name in meta.annotations:
            if is_about_calls(name):
                yield (*path, name), "it is read on Services only and does nothing here"
