"""The pods that local mode makes of workloads: the ones it starts, and those it would start of a folder. Pure.

``translator.local.supervisor`` starts pods made here; ``translator.explain`` is asked about a folder that nobody runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

from proxy.contract.ports import MESH
from smi.meta import Meta
from smi.workloads import Pod, Workload
from translator.local.addresses import FIRST_POD, SUBNETS, Subnet
from translator.local.desired import desired_of
from translator.local.plan import DEPLOYMENT, STATEFUL_SET, owner_of, template_hash
from translator.local.sidecar import is_meshed

_HOSTS: Final = 256 - FIRST_POD
_MOST: Final = SUBNETS * _HOSTS


def pod_of(workload: Workload, name: str, ip: str, *, meshed: bool, created: datetime | None = None) -> Pod:
    """A pod of a workload, not ready yet."""
    return Pod(
        meta=Meta(
            name=name,
            namespace=workload.meta.namespace,
            labels=workload.template.labels,
            annotations=workload.template.annotations,
            created=created,
        ),
        ip=ip,
        service_account=workload.service_account,
        workload=workload.meta.name,
        workload_kind=workload.kind,
        # A port without a name still is one: its number, which no name can be, stands for it.
        ports={port.name or str(port.port): port.port for one in workload.containers for port in one.ports},
        mesh_port=MESH if meshed else 0,
    )


def foreseen(objects: Iterable[object]) -> tuple[Pod, ...]:
    """The pods of a folder's workloads, all of them there and ready, at addresses as local mode gives them.

    Of a Deployment their names end in a number where a running mesh has a random suffix. There are no more
    than local mode has addresses for, whatever ``replicas`` says.
    """
    desired = desired_of(objects)
    pods: list[Pod] = []
    for workload in sorted(desired.workloads, key=owner_of):
        meshed = is_meshed(workload, desired.namespaces.get(workload.meta.namespace))
        for name in _names(workload):
            number, host = divmod(len(pods), _HOSTS)
            if number == SUBNETS:
                return tuple(pods)
            pod = pod_of(workload, name, Subnet(number=number).pod_ip(FIRST_POD + host), meshed=meshed)
            pods.append(replace(pod, ready=True))
    return tuple(pods)


def _names(workload: Workload) -> list[str]:
    name, replicas = workload.meta.name, min(workload.replicas, _MOST)
    if workload.kind == DEPLOYMENT:
        return [f"{name}-{template_hash(workload)[:8]}-{number}" for number in range(replicas)]
    if workload.kind == STATEFUL_SET:
        return [f"{name}-{number}" for number in range(replicas)]
    return [name]
