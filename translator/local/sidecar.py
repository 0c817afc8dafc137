"""What a pod's sidecar is told when it starts: its ``sidecar.json``. Pure.

The clear listeners follow the containers' ports and the Services that select
the pod, the access log an annotation; the supervisor restarts a sidecar for which they changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from proxy.contract.config import AccessLog, ClearListener, Control, File, Listeners, Sidecar, TlsFiles, spiffe_id
from proxy.contract.ports import ADMIN, MESH, OUTBOUND, RESERVED
from smi.workloads import Container, Namespace, Service, Workload
from translator.local.addresses import listen_port
from translator.local.records import MeshRecord, PodRecord
from translator.vocabulary import ACCESS_LOG, INJECT, LINKERD_INJECT, access_log_of

if TYPE_CHECKING:
    from translator.local.state import MeshState

TRUST_DOMAIN = "cluster.local"
CONTROLLER_IDENTITY = spiffe_id(TRUST_DOMAIN, "smi-mesh", "smi-mesh-controller")

_DISABLED = "disabled"


class Wanted(NamedTuple):
    """What a sidecar is told that may change while it runs: container ports in the clear, and its access log."""

    clear: tuple[int, ...]
    access_log: AccessLog


def is_meshed(workload: Workload, namespace: Namespace | None) -> bool:
    """Whether a pod gets a sidecar: annotation of the pod, then of its namespace; by default it does."""
    for said in (workload.template.annotations, namespace.meta.annotations if namespace else {}):
        for alias in (INJECT, LINKERD_INJECT):
            if alias.name in said:
                return said[alias.name] != _DISABLED
    return True


def access_log(workload: Workload, namespace: Namespace | None) -> AccessLog:
    """The access log of a pod: annotation of the pod, then of its namespace; one that says nonsense does not count."""
    for said in (workload.template.annotations, namespace.meta.annotations if namespace else {}):
        found = said.get(ACCESS_LOG.name)
        if found in ACCESS_LOG.values:
            return access_log_of(found)
    return ""


def container_ports(containers: Iterable[Container]) -> tuple[int, ...]:
    """Declared TCP ports, each once, in the order of the manifest."""
    return tuple(dict.fromkeys(port.port for one in containers for port in one.ports if port.protocol == "TCP"))


def target_ports(labels: Mapping[str, str], namespace: str, services: Iterable[Service]) -> frozenset[int]:
    """Numeric TCP targetPorts of the Services that select a pod. (Named ones are containerPorts already.)"""
    return frozenset(
        target
        for service in services
        if service.meta.namespace == namespace and service.selector and service.selector.items() <= labels.items()
        for port in service.ports
        if port.protocol == "TCP" and isinstance(target := port.target_port or port.port, int)
    )


def clear_ports(workload: Workload, services: Iterable[Service]) -> tuple[int, ...]:
    """Every container port at which callers in the clear may knock, in order; the sidecar's own are left out."""
    wanted = target_ports(workload.template.labels, workload.meta.namespace, services)
    return tuple(sorted({*container_ports(workload.containers), *wanted} - RESERVED))


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all sidecars of a mesh have in common. Ports below ``first_unprivileged`` are moved up by 20000."""

    mesh: MeshRecord
    state: MeshState
    first_unprivileged: int
    egress: bool


def sidecar_file(record: PodRecord, wanted: Wanted, around: Surroundings) -> File:
    """The settings of one pod's sidecar. What listens in the clear is meant for those container ports."""
    meta = record.pod.meta
    folder = around.state.pod(meta.namespace, meta.name)
    bound = {port: listen_port(port, around.first_unprivileged) for port in wanted.clear}
    sidecar = Sidecar(
        pod=meta.name,
        namespace=meta.namespace,
        service_account=record.pod.service_account,
        workload=record.pod.workload,
        workload_kind=record.pod.workload_kind,
        access_log=wanted.access_log,
        app_address=record.app_address,
        trust_domain=TRUST_DOMAIN,
        listeners=Listeners(
            address=record.pod.ip,
            outbound=OUTBOUND,
            mesh=MESH,
            admin=ADMIN,
            clear=tuple(ClearListener(port=own, target=port) for port, own in bound.items()),
        ),
        app_ports={port: own for port, own in bound.items() if port != own},
        tls=TlsFiles(
            bundle=str(around.state.bundle),
            certificate=str(folder.directory / "tls.crt"),
            key=str(folder.directory / "tls.key"),
            token=str(folder.token),
        ),
        control=Control(
            address=around.mesh.control_address, port=around.mesh.control_port, identity=CONTROLLER_IDENTITY
        ),
        egress=around.egress,
        state=str(folder.directory),
    )
    return File(sidecar=sidecar)
