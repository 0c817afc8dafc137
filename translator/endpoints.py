"""Endpoints: which pods stand behind a Service port or a pod's address, ready to be called.

Used by ``translator.splits`` (which ports there are) and ``translator.compiler``
(what stands behind a cluster key). A Service without selector has no
endpoints; only TCP ports count.
"""

from __future__ import annotations

from proxy.contract.config import Cluster, Endpoint, spiffe_id
from smi.workloads import Pod, Service, ServicePort
from translator.names import pod_cluster_key
from translator.world import World


def tcp_ports(service: Service) -> tuple[ServicePort, ...]:
    """A Service's ports that carry TCP."""
    return tuple(port for port in service.ports if port.protocol == "TCP")


def find_port(service: Service, number: int) -> ServicePort | None:
    """The TCP port of a Service by number."""
    return next((port for port in tcp_ports(service) if port.port == number), None)


def is_headless(service: Service) -> bool:
    """Whether a Service has no address of its own."""
    return service.cluster_ip == "None"


def target_port(pod: Pod, port: ServicePort) -> int | None:
    """The container port behind a Service port; a named one is the pod's own, None where it has none of that name."""
    if isinstance(port.target_port, str):
        return pod.ports.get(port.target_port)
    return port.target_port or port.port


def service_endpoints(world: World, service: Service, port: ServicePort) -> tuple[Endpoint, ...]:
    """The ready pods behind one port of a Service."""
    endpoints: dict[tuple[str, int], Endpoint] = {}
    for pod in world.pods_of(service):
        number = target_port(pod, port)
        if pod.ready and pod.ip and number is not None:
            # One address is one endpoint, also while a source still lists the pod that had it before.
            endpoints.setdefault((pod.ip, number), endpoint_of(world, pod, number))
    return tuple(endpoints.values())


def pod_cluster(world: World, pod: Pod, port: int) -> Cluster:
    """One container port of one pod."""
    return Cluster(endpoints=(endpoint_of(world, pod, port),) if pod.ready else ())


def pod_ports(world: World, pod: Pod) -> dict[int, str]:
    """Cluster keys of all ports a pod may be called on by its address.

    Container ports, the target ports of the Services that select it, and
    where another port is bound in its place that one too.
    """
    numbers = set(pod.ports.values())
    for service in world.services_of(pod):
        numbers.update(n for port in tcp_ports(service) if (n := target_port(pod, port)) is not None)
    ports = {number: pod_cluster_key(pod.ip, number) for number in sorted(numbers)}
    for number, bound in sorted(pod.listen_ports.items()):
        if number in numbers:
            ports.setdefault(bound, pod_cluster_key(pod.ip, number))
    return ports


def endpoint_of(world: World, pod: Pod, port: int) -> Endpoint:
    """One container port of a pod, ready or not."""
    name = pod.meta.key
    workload = f"{pod.workload_kind}/{pod.workload}" if pod.workload else ""
    if pod.meshed and world.settings.mtls:
        identity = spiffe_id(world.settings.trust_domain, pod.meta.namespace, pod.service_account)
        return Endpoint(ip=pod.ip, port=port, mesh=pod.mesh_port, identity=identity, pod=name, workload=workload)
    bound = pod.listen_ports.get(port, port)
    return Endpoint(ip=pod.ip, port=port, pod=name, listen=0 if bound == port else bound, workload=workload)
