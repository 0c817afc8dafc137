"""Scope: which part of the world one sidecar is told about.

What TrafficTargets let its pod reach, and what it has asked for. The size of
a config follows what a pod calls and not the size of the cluster.
"""

from __future__ import annotations

from collections.abc import Iterable

from proxy.contract.config import Host
from smi.access import TrafficTarget
from smi.workloads import Pod, Service
from translator.endpoints import is_headless, numbers_of, pod_ports, target_port, tcp_ports
from translator.names import cluster_key, pod_cluster_key
from translator.retries import calls
from translator.routes import target_traffic
from translator.slices import services_at
from translator.subjects import destination_pods, names_source
from translator.world import World, is_carried


def ways(world: World, pod: Pod) -> list[tuple[TrafficTarget, frozenset[str]]]:
    """The TrafficTargets that let ``pod`` reach some Service, each with the keys of those."""
    namespace = pod.meta.namespace
    by_account = world.index.targets_by_source.get((namespace, pod.service_account), ())
    by_binding = world.index.targets_by_binding_namespace.get(namespace, ())
    candidates = {target.meta.key: target for target in (*by_account, *by_binding)}
    named = (target for target in candidates.values() if names_source(world, target, pod))
    found = ((target, world.derived(_opened, target.meta.key)) for target in named)
    return [(target, keys) for target, keys in found if keys]


def _opened(world: World, key: str) -> frozenset[str]:
    """Keys of the Services that a TrafficTarget (by key) lets its sources reach."""
    target = world.objects.targets[key]
    if target_traffic(world, target)[0].nothing:
        return frozenset()
    services = (service for pod in destination_pods(world, target) for service in world.services_of(pod))
    return frozenset(service.meta.key for service in services if is_carried(service))


def reachable(found: Iterable[tuple[TrafficTarget, frozenset[str]]]) -> set[str]:
    """Keys of the Services that ``ways`` lead to."""
    return {key for _, keys in found for key in keys}


def answer(world: World, caller: Pod, host: str) -> Host:
    """What a canonical host means to ``caller``; ``Host()`` when it is not of this mesh.

    ``a.b`` is the Service ``a`` of namespace ``b``; where there is none, the
    pod ``a`` of the headless Service ``b`` next to the caller, as in
    Kubernetes' DNS search path.
    """
    return world.derived(_meaning, (caller.meta.namespace, host))


def named(namespace: str, host: str) -> str:
    """The key that a canonical host has in ``namespace`` if it names a Service; empty if it may mean anything else."""
    name, dot, rest = host.partition(".")
    if "." in rest or ":" in host or host[:1].isdigit():  # the latter may be addresses
        return ""
    return f"{rest if dot else namespace}/{name}"


def _meaning(world: World, asked: tuple[str, str]) -> Host:
    """What a host means in a namespace."""
    own_namespace, host = asked
    index = world.index
    if host in index.services_by_ip:
        service = index.services_by_ip[host]
        return Host(service=service.meta.key) if _is_known(world, service) else Host()
    if host in index.pods_by_ip:
        addressed = index.pods_by_ip[host]
        return Host(pod=pod_ports(world, addressed), headless=_headless(world, addressed))
    labels = host.split(".")
    if len(labels) == 1:
        labels.append(own_namespace)
    match labels:
        case [name, namespace] if _has_service(world, f"{namespace}/{name}"):
            return Host(service=f"{namespace}/{name}")
        case [pod, governing]:
            return _pod_of_service(world, own_namespace, governing, pod)
        case [pod, governing, namespace]:
            return _pod_of_service(world, namespace, governing, pod)
        case _:
            return Host()


def _headless(world: World, pod: Pod) -> dict[int, tuple[str, ...]]:
    """The headless Services of a pod whose names mean more than the pod: clients that resolve one get its address."""
    found: dict[int, dict[str, int]] = {}
    services = {one.meta.key: one for one in (*world.services_of(pod), *services_at(world, pod))}
    for _, service in sorted(services.items()):
        split = service.meta.key in world.index.splits_by_root
        if is_headless(service) and (split or calls(world, service).policy is not None):
            for port in tcp_ports(service):
                for number in numbers_of(world, service, port, pod):
                    found.setdefault(number, {}).setdefault(service.meta.key, port.port)
    return {
        number: tuple(cluster_key(service, port) for service, port in ports.items()) for number, ports in found.items()
    }


def _is_known(world: World, service: Service) -> bool:
    """Whether it is known here who stands behind the address of a Service; all others are passed through.

    One without selector and slices may be the root of a split, whose leaves have endpoints.
    """
    if not is_carried(service):
        return False
    split = service.meta.key in world.index.splits_by_root
    return bool(service.selector) or split or bool(world.slices_of(service))


def _has_service(world: World, key: str) -> bool:
    service = world.objects.services.get(key)
    return service is not None and is_carried(service)


def _pod_of_service(world: World, namespace: str, name: str, pod_name: str) -> Host:
    """A pod by its own host name: only a headless Service gives its pods names."""
    service = world.objects.services.get(f"{namespace}/{name}")
    pod = world.index.pods.get(f"{namespace}/{pod_name}")
    if service is None or pod is None or not is_headless(service) or pod not in world.pods_of(service):
        return Host()
    ports = pod_ports(world, pod)
    # A URL without port means 80, also where the container listens elsewhere: the Service's numbers are understood.
    for port in tcp_ports(service):
        number = target_port(pod, port)
        if number is not None:
            ports.setdefault(port.port, pod_cluster_key(pod.ip, number))
    return Host(pod=ports)
