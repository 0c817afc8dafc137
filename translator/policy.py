"""Access control of one pod: the TrafficTargets that name it, and what holds where none does.

Each TrafficTarget becomes one ``Grant`` or none; they are ORed as units by
``proxy.authorize`` and never flattened here. A target that grants nothing
still names its destination.
"""

from __future__ import annotations

from typing import cast

from proxy.contract.config import DefaultPolicy, Grant, Inbound
from smi.access import TrafficTarget
from smi.workloads import Pod
from translator.annotations import annotation, opaque_ports
from translator.findings import Finding, Reason
from translator.routes import target_traffic
from translator.subjects import names_destination, target_sources
from translator.vocabulary import DEFAULT_POLICY, POLICY_MODE, UNMESHED
from translator.world import World


def inbound(world: World, pod: Pod) -> tuple[Inbound, list[Finding]]:
    """Who may call ``pod``."""
    targets = targets_on(world, pod)
    granted = [world.derived(_granted, target.meta.key) for target in targets]
    default, default_findings = annotation(world, pod, DEFAULT_POLICY)
    unmeshed, unmeshed_findings = annotation(world, pod, UNMESHED)
    mode, mode_findings = annotation(world, pod, POLICY_MODE)
    opaque, opaque_findings = opaque_ports(world, pod)
    compiled = Inbound(
        default_policy=cast(DefaultPolicy, default or world.settings.default_policy),
        named=bool(targets),
        grants=tuple(one for one, _ in granted if one is not None),
        unmeshed=unmeshed == "allow",
        audit=mode == "audit",
        opaque=tuple(sorted(opaque)),
    )
    remarks = [finding for _, findings in granted for finding in findings]
    return compiled, remarks + default_findings + unmeshed_findings + mode_findings + opaque_findings


def targets_on(world: World, pod: Pod) -> list[TrafficTarget]:
    """The TrafficTargets whose destination ``pod`` is, by name."""
    namespace = pod.meta.namespace
    by_account = world.index.targets_by_destination.get((namespace, pod.service_account), ())
    by_binding = world.index.targets_by_destination_binding.get(namespace, ())
    named = (target for target in (*by_account, *by_binding) if names_destination(world, target, pod))
    return sorted(named, key=lambda target: target.meta.key)


def _granted(world: World, key: str) -> tuple[Grant | None, tuple[Finding, ...]]:
    granted, findings = grant(world, world.objects.targets[key])
    return granted, tuple(findings)


def grant(world: World, target: TrafficTarget) -> tuple[Grant | None, list[Finding]]:
    """What ``target`` grants to whom; None for nothing or nobody."""
    sources, findings = target_sources(world, target)
    traffic, remarks = target_traffic(world, target)
    findings += remarks
    if sources and not traffic.nothing:
        granted = Grant(target=target.meta.key, sources=sources, ports=traffic.ports, http=traffic.http)
        return granted, findings
    message = f"lets nothing in, and still closes its destination: {_why_nothing(target, bool(sources))}"
    findings.append(Finding.on("TrafficTarget", target.meta, Reason.GRANTS_NOTHING, message))
    return None, findings


def _why_nothing(target: TrafficTarget, somebody: bool) -> str:
    if not target.sources:
        return "no sources"
    if not target.rules:
        return "no rules"
    return "its rules leave no traffic" if somebody else "its sources are nobody now"
