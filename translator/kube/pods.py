"""Pods of an API server as the compiler sees them. Pure; ``translator.kube.source`` calls it for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from ipaddress import ip_address
from sys import intern
from types import MappingProxyType
from typing import Any, Final

from proxy.contract.ports import MESH
from smi.meta import Meta
from smi.workloads import Pod

PROXY_CONTAINER: Final = "smi-mesh-proxy"
"""The sidecar's container; a pod that has it is meshed."""

FINISHED: Final = frozenset({"Succeeded", "Failed"})

_READ = ("smi-mesh.io/", "linkerd.io/inject")
"""Annotations that are read; of the others, some of which are long, none is kept."""


_NO_PORTS: Final[Mapping[int, int]] = MappingProxyType({})


@lru_cache(maxsize=4096)
def _shared(items: tuple[tuple[str, Any], ...]) -> Mapping[str, Any]:
    """One mapping for all pods that have the same: replicas differ by name and address only."""
    return MappingProxyType({intern(name): intern(value) if type(value) is str else value for name, value in items})


def _same(items: Iterable[tuple[str, Any]]) -> Mapping[str, Any]:
    return _shared(tuple(items))


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
        service_account=intern(spec.get("serviceAccountName") or "default"),
        workload=intern(workload),
        workload_kind=intern(kind),
        ports=_same(_named_ports(spec)),
        listen_ports=_NO_PORTS,
        ready=has_condition(thing, "Ready") and not thing["metadata"].get("deletionTimestamp"),
        mesh_port=MESH if has_sidecar(spec) else 0,
        node=intern(str(spec.get("nodeName") or "")),
        host_network=bool(spec.get("hostNetwork")),
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
        namespace=intern(meta.get("namespace", "default")),
        labels=_same((meta.get("labels") or {}).items()),
        annotations=_same((name, text) for name, text in annotations.items() if name.startswith(_READ)),
        uid=meta.get("uid", ""),
        created=datetime.fromisoformat(meta["creationTimestamp"]) if meta.get("creationTimestamp") else None,
    )


def _address(text: object) -> str:
    try:
        return str(ip_address(str(text)))
    except ValueError:
        return ""


def _named_ports(spec: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Ports without a name are listed by their number: they, too, may be called.

    As Kubernetes finds them: a name that several containers have is the first one's, native sidecars come last.
    """
    native = [one for one in spec.get("initContainers") or () if one.get("restartPolicy") == "Always"]
    known = set()
    for container in (*(spec.get("containers") or ()), *native):
        for port in container.get("ports") or ():
            if port.get("protocol", "TCP") == "TCP" and container.get("name") != PROXY_CONTAINER:
                number = int(port["containerPort"])
                name = port.get("name") or str(number)
                if name not in known:
                    known.add(name)
                    yield name, number
