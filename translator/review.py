"""Findings on a whole world, whoever is affected: what the API lists and a linter would say."""

from __future__ import annotations

from translator.findings import Finding, ordered
from translator.policy import grant
from translator.splits import effective_splits, split_findings
from translator.subjects import binding_findings, destination_findings
from translator.world import World


def review(world: World) -> tuple[Finding, ...]:
    """Every remark on every split, target and binding."""
    findings: list[Finding] = []
    for split in world.objects.splits.values():
        findings += split_findings(world, split)
    for root in world.index.splits_by_root:
        service = world.objects.services.get(root)
        if service is not None:
            findings += effective_splits(world, service)[1]
    for target in world.objects.targets.values():
        remarks = destination_findings(world, target)
        findings += remarks or grant(world, target)[1]
    for binding in world.objects.bindings.values():
        findings += binding_findings(world, binding)
    return ordered(findings)
