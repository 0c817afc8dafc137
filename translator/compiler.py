"""The compiler: a world and a pod in, the config of that pod's sidecar out. Pure.

Down from here: ``translator.scope`` (what is in it), ``translator.splits``
(where requests go), ``translator.endpoints`` (who answers),
``translator.retries`` (how they want to be called), ``translator.policy`` (who
may call). ``translator.publish`` decides what is sent of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from msgspec.structs import replace

from proxy.contract.config import Cluster, Config, Host
from proxy.contract.config import Service as ServiceConfig
from smi.workloads import Pod
from translator import endpoints, scope, splits
from translator.annotations import annotation
from translator.dependencies import ObjectVersion, dependencies
from translator.findings import Finding, ordered
from translator.policy import inbound
from translator.retries import calls
from translator.vocabulary import ACCESS_LOG
from translator.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """``config`` has version 0; ``findings`` are about the objects that went into it, ``objects`` are the SMI ones."""

    config: Config
    findings: tuple[Finding, ...] = ()
    objects: frozenset[ObjectVersion] = frozenset()


def compile_sidecar(world: World, pod: Pod, hosts: frozenset[str]) -> Compiled:
    """The config of the sidecar of ``pod``, which has been asked for ``hosts`` (canonical, without port).

    The same world, pod and hosts give the same config, down to the order of entries.
    """
    answers = {host: scope.answer(world, pod, host) for host in sorted(hosts)}
    ways = scope.ways(world, pod)
    keys = scope.reachable(ways) | {answer.service for answer in answers.values() if answer.service}
    findings: list[Finding] = []
    services: dict[str, ServiceConfig] = {}
    for key in sorted(keys):
        service = world.objects.services[key]
        wanted = calls(world, service)
        called, remarks = splits.service_config(world, service)
        services[key] = replace(called, policy=wanted.policy)
        findings += remarks + wanted.findings(service.meta)
    clusters: dict[str, Cluster] = {}
    for key in _referenced(services.values(), answers.values()):
        clusters[key], remarks = _cluster(world, key)
        findings += remarks
    access, remarks = inbound(world, pod)
    _, more = annotation(world, pod, ACCESS_LOG)  # read where the sidecar is started
    config = Config(
        services=services,
        clusters=clusters,
        hosts=answers,
        inbound=access,
    )
    objects = dependencies(world, pod, services, (target for target, _ in ways))
    return Compiled(config=config, findings=ordered(findings + remarks + more), objects=objects)


def _referenced(services: Iterable[ServiceConfig], hosts: Iterable[Host]) -> list[str]:
    keys = {key for host in hosts for key in host.pod.values()}
    for service in services:
        for port in service.ports.values():
            keys.add(port.cluster)
            keys.update(backend.cluster for rule in port.rules for backend in rule.backends)
    return sorted(keys)


def _cluster(world: World, key: str) -> tuple[Cluster, list[Finding]]:
    """What stands behind a cluster key of this compilation."""
    owner, _, number = key.rpartition(":")
    address = owner.removeprefix("pod:")
    if address != owner:
        return endpoints.pod_cluster(world, world.index.pods_by_ip[address], int(number)), []
    service = world.objects.services[owner]
    wanted = calls(world, service)
    port = endpoints.find_port(service, int(number))
    ready = () if port is None else endpoints.service_endpoints(world, service, port)
    cluster = Cluster(endpoints=ready, balance=wanted.balance, breaker=wanted.breaker)
    return cluster, wanted.findings(service.meta)
