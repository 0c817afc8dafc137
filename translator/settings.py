"""What the operator sets for the whole mesh, apart from SMI objects.

Read by ``translator.compiler`` (policy, names) and ``translator.controller``.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.contract.config import DefaultPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of one mesh."""

    trust_domain: str = "cluster.local"
    """The domain of all SPIFFE IDs. The default is what Kubernetes' own tools assume."""

    cluster_domain: str = "cluster.local"
    """The suffix of fully qualified Service names. The default is Kubernetes' own."""

    federated: tuple[str, ...] = ()
    """Foreign trust domains whose bundle is configured, so that an IdentityBinding may name their identities. None by
    default: whom another domain calls by which name is not for this mesh to guess."""

    mtls: bool = True
    """Whether sidecars speak mTLS to each other. Without, nobody has an identity: TrafficTargets let nobody in."""

    opaque_ports: str = ""
    """Container ports that are relayed unread, where no annotation says otherwise. None on one machine, where
    applications use the sidecar as an HTTP proxy."""

    default_policy: DefaultPolicy = "same-identity"
    """Who may call a pod that no TrafficTarget names: the least that lets replicas of one workload talk."""
