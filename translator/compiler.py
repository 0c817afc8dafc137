"""The compiler: a world and a pod in, the config of that pod's sidecar out. Pure.

Down from here: ``translator.scope`` (what is in it), ``translator.splits``
(where requests go), ``translator.endpoints`` (who answers),
``translator.retries`` (how they want to be called), ``translator.policy`` (who
may call). ``translator.publish`` decides what is sent of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from proxy.contract.config import Cluster, Config, Host, Inbound
from proxy.contract.config import Service as ServiceConfig
from smi.workloads import Pod
from translator import endpoints, scope, splits
from translator.annotations import annotation
from translator.dependencies import ObjectVersion, objects_of_service, objects_of_targets, together
from translator.findings import Finding, ordered
from translator.policy import inbound
from translator.retries import calls
from translator.vocabulary import ACCESS_LOG
from translator.world import World, is_carried


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
    pieces: dict[str, _Called] = {}
    answers: dict[str, Host] = {}
    unusual: list[Host] = []
    namespace, derived = pod.meta.namespace, world.derived
    for host in sorted(hosts):
        key = scope.named(namespace, host)
        piece = derived(_called, key) if key else None
        if piece is not None and piece.host is not None:
            pieces[piece.host.service], answers[host] = piece, piece.host
        else:
            answers[host] = answer = scope.answer(world, pod, host)
            unusual.append(answer)
    rights = derived(_rights, pod.meta.key) if world.index.pods.get(pod.meta.key) is pod else _of(world, pod)
    for key in rights.reachable.union(*map(_services_of, unusual)).difference(pieces):
        piece = derived(_called, key)
        if piece is not None:
            pieces[key] = piece
    clusters: dict[str, Cluster] = {}
    for piece in pieces.values():
        clusters.update(piece.clusters)
    for key in {key for answer in unusual for key in answer.pod.values()}:
        clusters[key] = derived(_pod_cluster, key)
    config = Config(
        services={key: pieces[key].config for key in sorted(pieces)},
        clusters={key: clusters[key] for key in sorted(clusters)},
        hosts=answers,
        inbound=rights.inbound,
    )
    findings = [*rights.findings, *(finding for piece in pieces.values() for finding in piece.findings)]
    objects = together([rights.objects, *[piece.objects for piece in pieces.values()]])
    return Compiled(config=config, findings=ordered(findings) if findings else (), objects=objects)


def _services_of(answer: Host) -> list[str]:
    """Keys of the Services that come with an answer."""
    found = [answer.service] if answer.service else []
    if answer.headless:
        found += (key.rpartition(":")[0] for named in answer.headless.values() for key in named)
    return found


NOWHERE: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rights:
    """What policies say of a pod: whom it may reach, who may come in; and its annotations."""

    reachable: frozenset[str]
    inbound: Inbound
    findings: tuple[Finding, ...]
    objects: frozenset[ObjectVersion]


def _rights(world: World, key: str) -> _Rights:
    """A piece by itself, since it stays while what the pod calls changes."""
    return _of(world, world.index.pods[key])


def _of(world: World, pod: Pod) -> _Rights:
    ways = scope.ways(world, pod)
    access, remarks = inbound(world, pod)
    _, more = annotation(world, pod, ACCESS_LOG)  # read where the sidecar is started
    return _Rights(
        reachable=frozenset(scope.reachable(ways)) or NOWHERE,
        inbound=access,
        findings=(*remarks, *more),
        objects=objects_of_targets(world, pod, (target for target, _ in ways)),
    )


_NO_PORT: Final[dict[int, str]] = {}
_NO_NAMES: Final[dict[int, tuple[str, ...]]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Called:
    """One Service as all see it who call it, and the clusters that its ports lead to.

    ``host`` is what its name means, None where the mesh does not carry calls to it.
    """

    host: Host | None
    config: ServiceConfig
    clusters: tuple[tuple[str, Cluster], ...]
    findings: tuple[Finding, ...]
    objects: frozenset[ObjectVersion]


def _called(world: World, key: str) -> _Called | None:
    """None: there is no such Service."""
    service = world.objects.services.get(key)
    if service is None:
        return None
    wanted = calls(world, service)
    config, findings = splits.service_config(world, service)
    findings += wanted.findings(service.meta)
    split = any(port.rules for port in config.ports.values())
    clusters = []
    for name in _clusters_of(config):
        # Of a Service that is not split nobody else is likely to need them.
        cluster, remarks = world.derived(_cluster, name) if split else _cluster(world, name)
        clusters.append((name, cluster))
        findings += remarks
    return _Called(
        host=Host(service=service.meta.key, pod=_NO_PORT, headless=_NO_NAMES) if is_carried(service) else None,
        config=replace(config, policy=wanted.policy),
        clusters=tuple(clusters),
        findings=tuple(findings),
        objects=objects_of_service(world, service),
    )


def _clusters_of(service: ServiceConfig) -> set[str]:
    own = {port.cluster for port in service.ports.values()}
    rules = (rule for port in service.ports.values() for rule in port.rules)
    return own.union(backend.cluster for rule in rules for backend in rule.backends)


def _pod_cluster(world: World, key: str) -> Cluster:
    """One port of one pod, ``pod:ip:port``."""
    address, _, number = key.removeprefix("pod:").rpartition(":")
    return endpoints.pod_cluster(world, world.index.pods_by_ip[address], int(number))


def _cluster(world: World, key: str) -> tuple[Cluster, tuple[Finding, ...]]:
    """One port of one Service, ``namespace/name:port``."""
    owner, _, number = key.rpartition(":")
    service = world.objects.services[owner]
    wanted = calls(world, service)
    port = endpoints.find_port(service, int(number))
    ready = () if port is None else endpoints.service_endpoints(world, service, port)
    cluster = Cluster(endpoints=ready, balance=wanted.balance, breaker=wanted.breaker)
    return cluster, tuple(wanted.findings(service.meta))
