"""Endpoints: who stands behind a Service port or a pod's address, ready to be called.

Used by ``translator.splits`` (which ports there are) and ``translator.compiler``
(what stands behind a cluster key). A Service's endpoints are the pods that it
selects; one without selector has those of its EndpointSlices
(``translator.slices``). Only TCP ports count.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from msgspec.structs import replace

from proxy.contract.config import Cluster, Endpoint, spiffe_id
from smi.workloads import Pod, Service, ServicePort, SliceEndpoint
from translator import slices
from translator.annotations import opaque_by_default, opaque_ports
from translator.names import pod_cluster_key
from translator.world import World

TEXTS: Final = 64
"""Of workloads and of identities that are remembered: those of a Service's pods, and of others looked at meanwhile."""


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
    """Who is ready behind one port of a Service; of one with ``publishNotReadyAddresses`` all are, as in Kubernetes."""
    endpoints: dict[tuple[str, int], Endpoint] = {}
    for pod in world.pods_of(service):
        number = target_port(pod, port)
        if (pod.ready or service.publish_not_ready) and pod.ip and number is not None:
            # One address is one endpoint, also while a source still lists the pod that had it before.
            endpoints.setdefault((pod.ip, number), endpoint_of(world, pod, number))
    for answering, number in slices.answering(world, service, port):
        endpoints.setdefault((answering.address, number), _sliced(world, answering, number))
    return tuple(endpoints.values())


def port_numbers(world: World, service: Service, port: ServicePort) -> set[int]:
    """The container ports, or those of other endpoints, that a Service port stands for, ready or not."""
    selected = {number for pod in world.pods_of(service) if (number := target_port(pod, port)) is not None}
    return selected | {number for _, number in slices.all_answering(world, service, port)}


def numbers_of(world: World, service: Service, port: ServicePort, pod: Pod) -> list[int]:
    """Those of them that are ports of one pod among the Service's, in order."""
    if service.selector:
        number = target_port(pod, port)
        return [] if number is None else [number]
    written = slices.all_answering(world, service, port)
    return sorted({number for endpoint, number in written if endpoint.address == pod.ip})


def is_opaque(world: World, service: Service, port: ServicePort) -> bool:
    """Whether somebody behind the port says that its bytes are not to be read; findings are told with its policy.

    For who is no pod the mesh's own setting speaks.
    """
    if any(target_port(pod, port) in opaque_ports(world, pod)[0] for pod in world.pods_of(service)):
        return True
    for answering, number in slices.all_answering(world, service, port):
        pod = _pod_at(world, answering)
        if number in (opaque_ports(world, pod)[0] if pod is not None else opaque_by_default(world)):
            return True
    return False


def pod_cluster(world: World, pod: Pod, port: int) -> Cluster:
    """One container port of one pod, ready or not.

    Who dials a pod's own address means this pod: members of a StatefulSet find each other before any of them is ready.
    """
    return Cluster(endpoints=(endpoint_of(world, pod, port),))


def pod_ports(world: World, pod: Pod) -> dict[int, str]:
    """Cluster keys of all ports a pod may be called on by its address.

    Container ports, the target ports of the Services that select it, those in
    EndpointSlices of its namespace with its address, and where another port is bound in its
    place that one too.
    """
    numbers = set(pod.ports.values()) | slices.numbers_at(world, pod)
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
    workload = _workload(pod.workload_kind, pod.workload) if pod.workload else ""
    if pod.meshed and world.settings.mtls:
        identity = _identity(world.settings.trust_domain, pod.meta.namespace, pod.service_account)
        return Endpoint(ip=pod.ip, port=port, mesh=pod.mesh_port, identity=identity, pod=name, workload=workload)
    bound = pod.listen_ports.get(port, port)
    return Endpoint(ip=pod.ip, port=port, pod=name, listen=0 if bound == port else bound, workload=workload)


# The pods of a workload say the same, and come one after another: one text for all of them. Not interned, for the table
# of all that is never shrinks, and doubles at once.


@lru_cache(TEXTS)
def _workload(kind: str, name: str) -> str:
    return f"{kind}/{name}"


@lru_cache(TEXTS)
def _identity(trust_domain: str, namespace: str, account: str) -> str:
    return spiffe_id(trust_domain, namespace, account)


def _sliced(world: World, answering: SliceEndpoint, port: int) -> Endpoint:
    """An endpoint of a slice: a pod with all that is known of it, or somebody who has no identity."""
    pod = _pod_at(world, answering)
    if pod is None:
        return Endpoint(ip=answering.address, port=port)
    return replace(endpoint_of(world, pod, port), ip=answering.address)


def _pod_at(world: World, answering: SliceEndpoint) -> Pod | None:
    """The pod that an endpoint of a slice is: the address says so, or the slice.

    The slice alone is enough for a pod's second address. Where that is a lie nothing comes of it: whoever is called
    instead of a meshed pod has not its certificate.
    """
    said = world.index.pods.get(answering.pod)
    if said is not None and said.ip == answering.address:
        return said
    return world.index.pods_by_ip.get(answering.address, said)
