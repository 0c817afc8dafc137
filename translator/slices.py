"""EndpointSlices: who answers for a Service without selector, as somebody wrote it down. Pure.

Which slices count is ``translator.world``'s index. Here they are read port by port, as kube-proxy reads them: a port of
theirs is the Service's of the same name, and the Service's ``targetPort`` means nothing. ``translator.endpoints`` makes
endpoints of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from smi.workloads import EndpointSlice, Pod, Service, ServicePort, SliceEndpoint, SlicePort
from translator.findings import Finding, Reason
from translator.world import FQDN, World

Answering = tuple[SliceEndpoint, int]
"""An endpoint and its port."""


def answering(world: World, service: Service, port: ServicePort) -> tuple[Answering, ...]:
    """Endpoints that are ready; where none is, those that still serve while they end (KEP-1669)."""
    everything = all_answering(world, service, port)
    ready = tuple(one for one in everything if one[0].ready)
    return ready or tuple(one for one in everything if one[0].serving and one[0].terminating)


def all_answering(world: World, service: Service, port: ServicePort) -> tuple[Answering, ...]:
    """Every endpoint, ready or not."""
    return tuple(
        (endpoint, found.port) for written, found in _ports(world, service, port) for endpoint in written.endpoints
    )


def app_protocol(world: World, service: Service, port: ServicePort) -> str:
    """What the slices say is spoken at a port; of several the first that says anything counts."""
    return next((found.app_protocol for _, found in _ports(world, service, port) if found.app_protocol), "")


def services_at(world: World, pod: Pod) -> tuple[Service, ...]:
    """The Services of a pod's own namespace with its address in their slices: no others tell how it is called."""
    found: dict[str, Service] = {}
    for written in world.index.slices_by_ip.get(pod.ip, ()):
        service = world.objects.services.get(f"{written.meta.namespace}/{written.service}")
        if service is not None and written.meta.namespace == pod.meta.namespace and world.slices_of(service):
            found[service.meta.key] = service
    return tuple(found.values())


def numbers_at(world: World, pod: Pod) -> set[int]:
    """The TCP ports of a pod that slices speak of."""
    return {
        port.port
        for service in services_at(world, pod)
        for written in world.slices_of(service)
        if any(endpoint.address == pod.ip for endpoint in written.endpoints)
        for port in written.ports
        if port.protocol == "TCP"
    }


def slice_findings(world: World, written: EndpointSlice) -> list[Finding]:
    """What is of no use in a slice."""
    service = world.objects.services.get(f"{written.meta.namespace}/{written.service}")
    if service is None or service.selector:
        return []
    if written.address_type == FQDN:
        message = "addressType: FQDN has no meaning to Services; its endpoints are left out"
        return [Finding.on("EndpointSlice", written.meta, Reason.UNSUPPORTED_KIND, message)]
    known = {(port.name, port.protocol) for port in service.ports}
    return [
        Finding.on(
            "EndpointSlice",
            written.meta,
            Reason.PORT_NOT_FOUND,
            f"ports: {service.meta.name!r} has no {port.protocol} port {_named(port.name)}; {port.port} is left out",
        )
        for port in written.ports
        if (port.name, port.protocol) not in known and world.slices_of(service)
    ]


def _ports(world: World, service: Service, port: ServicePort) -> Iterator[tuple[EndpointSlice, SlicePort]]:
    for written in world.slices_of(service):
        for found in written.ports:
            if (found.name, found.protocol) == (port.name, port.protocol):
                yield written, found


def _named(name: str) -> str:
    return f"named {name!r}" if name else "without a name"
