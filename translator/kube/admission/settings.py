"""What all injected pods of a mesh have in common."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.contract.config import AccessLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """Settings of the injector."""

    image: str = "localhost/smi-mesh:dev"
    """The mesh's own image: sidecar and init are the same."""

    pull_policy: str = "IfNotPresent"

    namespace: str = "smi-mesh"
    """Where the controller is."""

    trust_domain: str = "cluster.local"
    cluster_domain: str = "cluster.local"
    control_port: int = 8443

    cpu_request: str = "10m"
    memory_request: str = "48Mi"
    """An idle sidecar takes 33 MB and no CPU worth naming. No limits by default: one that is throttled slows the
    application it stands before."""

    log_level: str = "info"
    access_log: AccessLog = ""

    linkerd_alias: bool = True
    """Whether ``linkerd.io/inject`` is read: not where Linkerd's own webhook would inject the same pods."""
