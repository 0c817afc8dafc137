"""Pods of an API server as the compiler sees them. Pure; ``translator.kube.source`` calls it for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from ipaddress import ip_address
from typing import Any, Final

from proxy.contract.ports import MESH
from smi.meta import Meta
from smi.workloads import Pod

PROXY_CONTAINER: Final = "smi-mesh-proxy"
"""The sidecar's container; a pod that has it is meshed."""

FINISHED: Final = frozenset({"Succeeded", "Failed"})

_READ = ("smi-mesh.io/", "linkerd.io/inject")
"""Annotations that are read; of the others, some of which are long, none is kept."""


def running_pod(thing: Mapping[str, Any]) -> Pod | None:
    """A pod (core/v1) that has an address and has not ended, else None.

    One that is being deleted is not ready from that moment on, as in EndpointSlices.
    """
    spec, status = thing.get("spec") or {}, thing.get("status") or {}
    address = _address(status.get("podIP"))
    if not address or status.get("phase") in FINISHED:
        return None
    kind, workload = owner_of(thing["metadata"])
    return Pod(
        meta=_meta(thing["metadata"]),
        ip=address,
        service_account=spec.get("serviceAccountName") or "default",
        workload=workload,
        workload_kind=kind,
        ports=dict(_named_ports(spec.get("containers") or ())),
        ready=has_condition(thing, "Ready") and not thing["metadata"].get("deletionTimestamp"),
        mesh_port=MESH if has_sidecar(spec) else 0,
        node=str(spec.get("nodeName") or ""),
    )


def containers_of(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All containers of a pod's spec, init containers first."""
    return [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]


def has_sidecar(spec: Mapping[str, Any]) -> bool:
    """Whether a pod is meshed, by its spec."""
    return any(one.get("name") == PROXY_CONTAINER for one in containers_of(spec))


def has_condition(thing: Mapping[str, Any], kind: str) -> bool:
    """Whether an object of the API server has a condition of ``kind`` that is true."""
    conditions = (thing.get("status") or {}).get("conditions") or ()
    return any(one.get("type") == kind and one.get("status") == "True" for one in conditions)


def owner_of(meta: Mapping[str, Any]) -> tuple[str, str]:
    """(kind, name) of the workload that a pod belongs to; the pod itself where nobody owns it.

    A ReplicaSet's pods are its Deployment's where its name ends with the hash in their label ``pod-template-hash``.
    """
    owners = meta.get("ownerReferences") or ()
    owner = next((one for one in owners if one.get("controller")), None)
    if owner is None:
        return "Pod", str(meta.get("name") or meta.get("generateName", "").rstrip("-"))
    kind, name = str(owner["kind"]), str(owner["name"])
    ending = f"-{(meta.get('labels') or {}).get('pod-template-hash', '')}"
    if kind == "ReplicaSet" and len(ending) > 1 and name.endswith(ending):
        return "Deployment", name.removesuffix(ending)
    return kind, name


def _meta(meta: Mapping[str, Any]) -> Meta:
    annotations = meta.get("annotations") or {}
    return Meta(
        name=meta["name"],
        namespace=meta.get("namespace", "default"),
        labels=meta.get("labels") or {},
        annotations={name: text for name, text in annotations.items() if name.startswith(_READ)},
        uid=meta.get("uid", ""),
        created=datetime.fromisoformat(meta["creationTimestamp"]) if meta.get("creationTimestamp") else None,
    )


def _address(text: object) -> str:
    try:
        return str(ip_address(str(text)))
    except ValueError:
        return ""


def _named_ports(containers: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, int]]:
    """Ports without a name are listed by their number: they, too, may be called."""
    for container in containers:
        for port in container.get("ports") or ():
            if port.get("protocol", "TCP") == "TCP":
                number = int(port["containerPort"])
                yield port.get("name") or str(number), number
