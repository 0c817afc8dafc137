"""Scope: which part of the world one sidecar is told about.

What TrafficTargets let its pod reach, and what it has asked for. The size of
a config follows what a pod calls and not the size of the cluster.
"""

from __future__ import annotations

from collections.abc import Iterable

from proxy.contract.config import Host
from smi.access import TrafficTarget
from smi.workloads import Pod, Service
from translator.endpoints import is_headless, pod_ports, target_port, tcp_ports
from translator.names import pod_cluster_key
from translator.routes import target_traffic
from translator.subjects import destination_pods, names_source
from translator.world import World


def ways(world: World, pod: Pod) -> list[tuple[TrafficTarget, set[str]]]:
    """The TrafficTargets that let ``pod`` reach some Service, each with the keys of those."""
    namespace = pod.meta.namespace
    by_account = world.index.targets_by_source.get((namespace, pod.service_account), ())
    by_binding = world.index.targets_by_binding_namespace.get(namespace, ())
    candidates = {target.meta.key: target for target in (*by_account, *by_binding)}
    found = []
    for target in candidates.values():
        if names_source(world, target, pod) and not target_traffic(world, target)[0].nothing:
            keys: set[str] = set()
            for destination in destination_pods(world, target):
                keys.update(service.meta.key for service in world.services_of(destination) if is_callable(service))
            if keys:
                found.append((target, keys))
    return found


def reachable(found: Iterable[tuple[TrafficTarget, set[str]]]) -> set[str]:
    """Keys of the Services that ``ways`` lead to."""
    return {key for _, keys in found for key in keys}


def is_callable(service: Service) -> bool:
    """Whether the mesh carries calls to a Service; an ExternalName is another world's."""
    return service.type != "ExternalName"


def answer(world: World, caller: Pod, host: str) -> Host:
    """What a canonical host means to ``caller``; ``Host()`` when it is not of this mesh.

    ``a.b`` is the Service ``a`` of namespace ``b``; where there is none, the
    pod ``a`` of the headless Service ``b`` next to the caller, as in
    Kubernetes' DNS search path.
    """
    index = world.index
    if host in index.services_by_ip:
        service = index.services_by_ip[host]
        # Whoever stands behind one without selector (the API server, say) is none of this mesh's.
        return Host(service=service.meta.key) if service.selector else Host()
    if host in index.pods_by_ip:
        return Host(pod=pod_ports(world, index.pods_by_ip[host]))
    labels = host.split(".")
    if len(labels) == 1:
        labels.append(caller.meta.namespace)
    match labels:
        case [name, namespace] if _has_service(world, f"{namespace}/{name}"):
            return Host(service=f"{namespace}/{name}")
        case [pod, governing]:
            return _pod_of_service(world, caller.meta.namespace, governing, pod)
        case [pod, governing, namespace]:
            return _pod_of_service(world, namespace, governing, pod)
        case _:
            return Host()


def _has_service(world: World, key: str) -> bool:
    service = world.objects.services.get(key)
    return service is not None and is_callable(service)


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
