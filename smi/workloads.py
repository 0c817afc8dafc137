"""The Kubernetes objects that SMI speaks of: Services, Pods and what makes them.

Only the fields the mesh reads. Deployments, StatefulSets and bare Pods share
``Workload``, which local mode turns into processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from smi.meta import Meta


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """Carries annotations that its pods inherit."""

    meta: Meta


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccount:
    """An identity that pods run under and TrafficTargets name."""

    meta: Meta


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePort:
    """One port of a Service. ``target_port`` is a number or the name of a container port."""

    port: int
    name: str = ""
    target_port: int | str = 0
    protocol: str = "TCP"
    app_protocol: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A Service. ``cluster_ip`` is ``"None"`` when headless; ``type`` may be ``ExternalName``.

    ``publish_not_ready``: its pods answer for it before they are ready, and while they end.
    """

    meta: Meta
    ports: tuple[ServicePort, ...] = ()
    selector: Mapping[str, str] = field(default_factory=dict)
    type: str = "ClusterIP"
    cluster_ip: str = ""
    external_name: str = ""
    publish_not_ready: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceEndpoint:
    """One endpoint of a slice, at the first of its addresses (the others have no meaning of their own).

    ``ready`` and ``serving`` are as the API has them: what is not said is yes, or what ``ready`` says. ``pod`` is the
    pod that it says it is, ``namespace/name``.
    """

    address: str
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    pod: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlicePort:
    """One port of all endpoints of a slice; ``name`` is a Service port's."""

    port: int
    name: str = ""
    protocol: str = "TCP"
    app_protocol: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSlice:
    """Endpoints that somebody wrote for ``service`` of its namespace. ``address_type`` is IPv4, IPv6 or FQDN."""

    meta: Meta
    service: str
    address_type: str = "IPv4"
    endpoints: tuple[SliceEndpoint, ...] = ()
    ports: tuple[SlicePort, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A running pod as the compiler sees it.

    ``ports`` are named container ports (name → number). ``mesh_port`` is the
    port of its sidecar's mTLS listener on ``ip``, 0 for a pod without sidecar.
    ``listen_ports`` maps a container port to the port really bound in the clear
    on ``ip`` where they differ (local mode without root). ``host_network``: its
    address is its node's, and it can have no sidecar.
    """

    meta: Meta
    ip: str
    service_account: str = "default"
    workload: str = ""
    workload_kind: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)
    ready: bool = False
    mesh_port: int = 0
    listen_ports: Mapping[int, int] = field(default_factory=dict)
    node: str = ""
    host_network: bool = False

    @property
    def meshed(self) -> bool:
        """Whether the pod has a sidecar."""
        return self.mesh_port != 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvVar:
    """One ``env`` entry; exactly one of ``value``, ``field_path`` and ``config_map`` (name, key) is meant.

    ``optional``: the ConfigMap or its key may be missing, the variable is then not set.
    """

    name: str
    value: str | None = None
    field_path: str = ""
    config_map: tuple[str, str] | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A readiness probe: ``kind`` is ``httpGet``, ``tcpSocket`` or ``exec``. Times are in seconds."""

    kind: str
    port: int | str = 0
    path: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    command: tuple[str, ...] = ()
    initial_delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    failure_threshold: int = 3
    success_threshold: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPort:
    """A declared containerPort."""

    port: int
    name: str = ""
    protocol: str = "TCP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """What to run and how to tell that it is ready.

    ``config_mounts`` are (mountPath, ConfigMap name): a folder with a file for
    each key. ``config_files`` are (path, ConfigMap name, key): one file, from a
    ``subPath`` mount or a volume that lists ``items``.
    """

    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    ports: tuple[ContainerPort, ...] = ()
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[str, ...] = ()
    readiness: Probe | None = None
    config_mounts: tuple[tuple[str, str], ...] = ()
    config_files: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A Deployment, StatefulSet or Pod: a template and how many of it.

    ``folder`` is where its manifest lies: the processes' working directory.
    ``template`` carries the pods' labels and annotations.
    """

    kind: str
    meta: Meta
    template: Meta
    replicas: int = 1
    service_account: str = "default"
    containers: tuple[Container, ...] = ()
    service_name: str = ""
    folder: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigMap:
    """Text data by key."""

    meta: Meta
    data: Mapping[str, str] = field(default_factory=dict)
