"""TrafficSplits: what becomes of a request to a Service, port by port.

The one place where SMI weights turn into the weights of the contract's
``Rule``; ``proxy.split`` then picks by them. Leaves are never split again.
"""

from __future__ import annotations

from fractions import Fraction
from math import gcd, lcm

from proxy.contract.check import MAX_WEIGHT
from proxy.contract.config import Backend, HttpMatch, Port, Rule
from proxy.contract.config import Service as ServiceConfig
from smi.split import TrafficSplit
from smi.workloads import Service, ServicePort
from translator import slices
from translator.endpoints import find_port, is_headless, is_opaque, port_numbers, tcp_ports
from translator.findings import Finding, Reason
from translator.names import cluster_key, service_key
from translator.routes import split_matches
from translator.world import World, own_address

_PROTOCOLS = frozenset({"http", "http2", "h2c", "https", "grpc", "ws", "wss", "tcp", "tls"})


def service_config(world: World, service: Service) -> tuple[ServiceConfig, list[Finding]]:
    """What a caller of ``service`` needs to know, with the findings on its splits."""
    effective, findings = effective_splits(world, service)
    leaves = [(split, *_leaves(world, split)) for split in effective]
    conditions = [split_matches(world, split) for split in effective]
    for (_, _, missing), (_, unresolved) in zip(leaves, conditions, strict=True):
        findings += missing + unresolved
    ports: dict[int, Port] = {}
    for port in tcp_ports(service):
        rules = []
        for (split, services, _), (matches, _) in zip(leaves, conditions, strict=True):
            rules.append(_rule(split, services, port.port, matches))
        cluster = cluster_key(service.meta.key, port.port)
        protocol = "opaque" if is_opaque(world, service, port) else _protocol(world, service, port)
        ports[port.port] = Port(cluster=cluster, rules=tuple(rules), protocol=protocol)
    if is_headless(service):
        _add_target_ports(world, service, ports)
    return ServiceConfig(ports=ports, cluster_ip=own_address(service)), findings


def effective_splits(world: World, service: Service) -> tuple[tuple[TrafficSplit, ...], list[Finding]]:
    """The splits of a root in the order they are asked: all with ``matches``, then the first plain one."""
    effective: list[TrafficSplit] = []
    findings: list[Finding] = []
    plain: TrafficSplit | None = None
    for split in world.index.splits_by_root.get(service.meta.key, ()):
        if split.matches:
            effective.append(split)
        elif plain is None:
            plain = split
            effective.append(split)
        else:
            message = f"TrafficSplit {plain.meta.name!r} already splits {service.meta.name!r}; this one is ignored"
            findings.append(Finding.on("TrafficSplit", split.meta, Reason.CONFLICTED, message))
    return tuple(effective), findings


def split_findings(world: World, split: TrafficSplit) -> list[Finding]:
    """Findings on one split by itself, whoever calls its root."""
    root = service_key(split.service, split.meta.namespace, world.settings.cluster_domain)
    if root is None:
        message = f"service: {split.service!r} is not a Service of namespace {split.meta.namespace!r}; ignored"
        return [Finding.on("TrafficSplit", split.meta, Reason.ROOT_IN_OTHER_NAMESPACE, message)]
    service = world.objects.services.get(root)
    if service is None:
        message = f"service: Service {root} does not exist"
        return [Finding.on("TrafficSplit", split.meta, Reason.SERVICE_NOT_FOUND, message)]
    if service.type == "ExternalName":
        return [
            Finding.on(
                "TrafficSplit",
                split.meta,
                Reason.EXTERNAL_NAME,
                f"service: {root} is an ExternalName; it cannot be split",
            )
        ]
    services, findings = _leaves(world, split)
    for leaf, _ in services:
        lacking = [port.port for port in tcp_ports(service) if find_port(leaf, port.port) is None]
        if lacking:
            message = f"backends: {leaf.meta.name!r} has no port {lacking[0]}; it gets nothing on that port"
            findings.append(Finding.on("TrafficSplit", split.meta, Reason.PORT_NOT_FOUND, message))
    return findings + split_matches(world, split)[1]


def normalized(weights: list[Fraction]) -> list[int]:
    """Whole numbers in the same ratio without a common divisor; zeros stay zeros.

    Only where one would exceed what the contract takes are they rounded, to at least 1.
    """
    scale = lcm(*(weight.denominator for weight in weights))
    whole = [int(weight * scale) for weight in weights]
    divisor = gcd(*whole) or 1
    coprime = [weight // divisor for weight in whole]
    largest = max(coprime, default=0)
    if largest <= MAX_WEIGHT:
        return coprime
    return normalized([Fraction(max(1, weight * MAX_WEIGHT // largest) if weight else 0) for weight in coprime])


def _leaves(world: World, split: TrafficSplit) -> tuple[list[tuple[Service, Fraction]], list[Finding]]:
    """The backends that are there, in their written order and each once (weights of the same one are summed)."""
    weights: dict[str, Fraction] = {}
    findings: list[Finding] = []
    for backend in split.backends:
        key = service_key(backend.service, split.meta.namespace, world.settings.cluster_domain)
        service = None if key is None else world.objects.services.get(key)
        if key is None or service is None:
            message = f"backends: Service {backend.service!r} does not exist in {split.meta.namespace!r}; left out"
            findings.append(Finding.on("TrafficSplit", split.meta, Reason.SERVICE_NOT_FOUND, message))
        elif service.type == "ExternalName":
            message = f"backends: {backend.service!r} is an ExternalName; left out"
            findings.append(Finding.on("TrafficSplit", split.meta, Reason.EXTERNAL_NAME, message))
        else:
            weights[key] = weights.get(key, Fraction(0)) + backend.weight
    if not any(weights.values()):
        findings.append(
            Finding.on(
                "TrafficSplit", split.meta, Reason.WEIGHTS_ZERO, "backends: no weight is left; its requests get a 503"
            )
        )
    return [(world.objects.services[key], weight) for key, weight in weights.items()], findings


def _rule(
    split: TrafficSplit,
    leaves: list[tuple[Service, Fraction]],
    port: int,
    matches: tuple[HttpMatch, ...] | None,
) -> Rule:
    """One split on one root port. No backends: no Service is left; weights all 0: as the split says."""
    callable_leaves = [(leaf, weight) for leaf, weight in leaves if find_port(leaf, port) is not None]
    weights = normalized([weight for _, weight in callable_leaves])
    backends = tuple(
        Backend(service=leaf.meta.key, cluster=cluster_key(leaf.meta.key, port), weight=weight)
        for (leaf, _), weight in zip(callable_leaves, weights, strict=True)
    )
    return Rule(split=split.meta.key, backends=backends, matches=matches)


def _protocol(world: World, service: Service, port: ServicePort) -> str:
    """``appProtocol`` without its ``kubernetes.io/``, else what the port's name says (``http``, ``http-admin``)."""
    said = port.app_protocol or slices.app_protocol(world, service, port)
    if said:
        return said.lower().removeprefix("kubernetes.io/")
    word = port.name.lower().partition("-")[0]
    return word if word in _PROTOCOLS else ""


def _add_target_ports(world: World, service: Service, ports: dict[int, Port]) -> None:
    """Clients of a headless Service dial the container port itself, so its number means the same port."""
    for port in tcp_ports(service):
        for number in sorted(port_numbers(world, service, port)):
            ports.setdefault(number, ports[port.port])
