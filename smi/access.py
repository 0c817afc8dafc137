"""TrafficTarget and IdentityBinding (``access.smi-spec.io``), in the shape of v1alpha4."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from smi.meta import Meta


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A destination or source: kind ``ServiceAccount`` or ``IdentityBinding``.

    An empty ``namespace`` means the TrafficTarget's own.
    """

    kind: str
    name: str
    namespace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRule:
    """One entry of ``rules`` (``specs`` at v1alpha1): a route by kind and name.

    ``matches`` names matches of an HTTPRouteGroup; None means all of them
    (an empty list decodes to None: Kubernetes' clients write neither).
    """

    kind: str
    name: str
    matches: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficTarget:
    """Who may call what. ``port`` is the container port of v1alpha1/2 (also accepted later), None for any."""

    meta: Meta
    api_version: str
    destination: Subject | None
    sources: tuple[Subject, ...] = ()
    rules: tuple[TargetRule, ...] = ()
    port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityBinding:
    """A named set of identities: the union of its three schemes, within its own namespace."""

    meta: Meta
    api_version: str
    pod_labels: Mapping[str, str] = field(default_factory=dict)
    spiffe_identities: tuple[str, ...] = ()
    service_account: str = ""
