"""What the folder asks for, as the supervisor uses it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from smi.workloads import ConfigMap, Namespace, Service, Workload
from translator.local.environment import ConfigMaps


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """Workloads and what their pods are made with."""

    workloads: tuple[Workload, ...] = ()
    services: tuple[Service, ...] = ()
    config_maps: ConfigMaps = field(default_factory=dict)
    namespaces: Mapping[str, Namespace] = field(default_factory=dict)


def desired_of(objects: Iterable[object]) -> Desired:
    """Picks what matters here; SMI objects are the controller's."""
    workloads: list[Workload] = []
    services: list[Service] = []
    config_maps: dict[tuple[str, str], ConfigMap] = {}
    namespaces: dict[str, Namespace] = {}
    for one in objects:
        match one:
            case Workload():
                workloads.append(one)
            case Service():
                services.append(one)
            case ConfigMap():
                config_maps[one.meta.namespace, one.meta.name] = one
            case Namespace():
                namespaces[one.meta.name] = one
            case _:
                pass
    return Desired(workloads=tuple(workloads), services=tuple(services), config_maps=config_maps, namespaces=namespaces)
