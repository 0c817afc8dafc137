"""HTTPRouteGroups, TCPRoutes and UDPRoutes: what a TrafficTarget or a TrafficSplit says about the traffic itself.

References are looked up in the namespace of the object that makes them. What
does not resolve matches nothing; it never makes anything unconditional.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from proxy.contract.config import HttpMatch
from smi.access import TargetRule, TrafficTarget
from smi.specs import HTTPMatch, HTTPRouteGroup
from smi.split import TrafficSplit
from translator.findings import Finding, Reason
from translator.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """The traffic that a TrafficTarget lets in; None as in the contract's ``Grant``: no condition."""

    ports: tuple[int, ...] | None
    http: tuple[HttpMatch, ...] | None

    @property
    def nothing(self) -> bool:
        """Whether no traffic at all can meet both conditions."""
        return self.ports == () or self.http == ()


NOTHING = Traffic(ports=(), http=())


def split_matches(world: World, split: TrafficSplit) -> tuple[tuple[HttpMatch, ...] | None, list[Finding]]:
    """The matches of a split: None for every request, empty when none of its groups is there."""
    if not split.matches:
        return None, []
    matches: list[HttpMatch] = []
    findings: list[Finding] = []
    for reference in split.matches:
        group = world.objects.groups.get(f"{split.meta.namespace}/{reference.name}")
        if reference.kind != "HTTPRouteGroup":
            message = f"matches: a {reference.kind} cannot be a condition of a TrafficSplit; it never matches"
            findings.append(Finding.on("TrafficSplit", split.meta, Reason.UNSUPPORTED_KIND, message))
        elif group is None:
            message = f"matches: HTTPRouteGroup {reference.name!r} does not exist; it never matches"
            findings.append(Finding.on("TrafficSplit", split.meta, Reason.ROUTE_NOT_FOUND, message))
        else:
            matches += (http_match(group, match) for match in group.matches)
    return _once(matches), findings


def target_traffic(world: World, target: TrafficTarget) -> tuple[Traffic, list[Finding]]:
    """What the rules and the port of a TrafficTarget let in, over TCP.

    Kinds are ANDed, routes of one kind ORed. A kind of which no route is
    there voids the target. UDPRoutes say nothing about TCP.
    """
    by_kind: dict[str, list[TargetRule]] = {}
    for rule in target.rules:
        by_kind.setdefault(rule.kind, []).append(rule)
    tcp = by_kind.pop("TCPRoute", [])
    http = by_kind.pop("HTTPRouteGroup", [])
    findings = _missing_udp(world, target, by_kind.pop("UDPRoute", []))
    for kind in by_kind:
        message = f"rules: {kind!r} is not a kind of route; a condition that cannot be read lets nothing in"
        findings.append(Finding.on("TrafficTarget", target.meta, Reason.UNSUPPORTED_KIND, message))
    ports, tcp_findings = _tcp_ports(world, target, tcp) if tcp else (None, [])
    matches, http_findings = _http_matches(world, target, http) if http else (None, [])
    findings += tcp_findings + http_findings
    if by_kind or not (tcp or http):
        return NOTHING, findings
    if target.port is not None:
        ports = (target.port,) if ports is None or target.port in ports else ()
    return Traffic(ports=ports, http=matches), findings


def _missing_udp(world: World, target: TrafficTarget, rules: Iterable[TargetRule]) -> list[Finding]:
    known = world.objects.udp_routes
    return [_route_not_found(target, rule) for rule in rules if f"{target.meta.namespace}/{rule.name}" not in known]


def _tcp_ports(
    world: World, target: TrafficTarget, rules: Iterable[TargetRule]
) -> tuple[tuple[int, ...] | None, list[Finding]]:
    """The union of the routes' ports, None for all; no route found: no port."""
    ports: set[int] = set()
    findings: list[Finding] = []
    every = False
    for rule in rules:
        route = world.objects.tcp_routes.get(f"{target.meta.namespace}/{rule.name}")
        if route is None:
            findings.append(_route_not_found(target, rule))
        else:
            every = every or not route.ports
            ports.update(route.ports)
    return (None if every else tuple(sorted(ports))), findings


def _http_matches(
    world: World, target: TrafficTarget, rules: Iterable[TargetRule]
) -> tuple[tuple[HttpMatch, ...], list[Finding]]:
    matches: list[HttpMatch] = []
    findings: list[Finding] = []
    for rule in rules:
        group = world.objects.groups.get(f"{target.meta.namespace}/{rule.name}")
        if group is None:
            findings.append(_route_not_found(target, rule))
            continue
        matches += (http_match(group, m) for m in group.matches if rule.matches is None or m.name in rule.matches)
        known = {match.name for match in group.matches}
        for name in rule.matches or ():
            if name not in known:
                message = f"rules: HTTPRouteGroup {rule.name!r} has no match {name!r}"
                findings.append(Finding.on("TrafficTarget", target.meta, Reason.ROUTE_NOT_FOUND, message))
    return _once(matches), findings


def http_match(group: HTTPRouteGroup, match: HTTPMatch) -> HttpMatch:
    """One match of a group in the contract's terms."""
    return HttpMatch(
        name=f"{group.meta.name}/{match.name}",
        methods=() if "*" in match.methods else match.methods,
        path=match.path_regex,
        headers=tuple((name.lower(), pattern) for name, pattern in match.headers),
    )


def _once(matches: Iterable[HttpMatch]) -> tuple[HttpMatch, ...]:
    return tuple(dict.fromkeys(matches))


def _route_not_found(target: TrafficTarget, rule: TargetRule) -> Finding:
    return Finding.on(
        "TrafficTarget", target.meta, Reason.ROUTE_NOT_FOUND, f"rules: {rule.kind} {rule.name!r} does not exist"
    )
