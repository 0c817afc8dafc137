"""The table of kinds and versions: which model reads a manifest.

A new version of a kind is one more line here, and a model only if its shape differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Protocol, Self

from smi.access import IdentityBinding, TrafficTarget
from smi.names import shown
from smi.specs import HTTPRouteGroup, TCPRoute, UDPRoute
from smi.split import TrafficSplit
from smi.wire.access import Binding, FlatTarget, Target
from smi.wire.core import WireConfigMap, WireNamespace, WireService, WireServiceAccount
from smi.wire.slices import WireEndpointSlice
from smi.wire.specs import TCP, UDP, Group
from smi.wire.split import QuantitySplit, WholeSplit
from smi.wire.workloads import Replicated, WirePod
from smi.workloads import ConfigMap, EndpointSlice, Namespace, Service, ServiceAccount, Workload

SmiObject = (
    Namespace
    | Service
    | EndpointSlice
    | Workload
    | ConfigMap
    | TrafficSplit
    | TrafficTarget
    | IdentityBinding
    | HTTPRouteGroup
    | TCPRoute
    | UDPRoute
    | ServiceAccount
)

SMI_DOMAIN = "smi-spec.io"
SPLIT, ACCESS, SPECS = (f"{group}.{SMI_DOMAIN}" for group in ("split", "access", "specs"))
ALPHAS = ("v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4")

_NEAR = 0.8
_VERY_NEAR = 0.85
"""``Servce`` is a Service misspelled, but ``Config`` (of a kubeconfig) is no ConfigMap."""


class Convertible(Protocol):
    """A model that knows its hub object."""

    @classmethod
    def model_validate(cls, obj: object, *, context: object = None) -> Self:
        """The model of plain data; pydantic's ValidationError names all that is wrong. ``context``: see ``Wire``."""

    def to_hub(self) -> SmiObject:
        """The hub's object; WireError when fields contradict each other."""


SMI_KINDS: Mapping[str, tuple[str, Mapping[str, type[Convertible]]]] = {
    "TrafficSplit": (SPLIT, {ALPHAS[0]: QuantitySplit, **dict.fromkeys(ALPHAS[1:], WholeSplit)}),
    "TrafficTarget": (ACCESS, {ALPHAS[0]: FlatTarget, **dict.fromkeys(ALPHAS[1:], Target)}),
    "IdentityBinding": (ACCESS, {ALPHAS[3]: Binding}),
    "HTTPRouteGroup": (SPECS, dict.fromkeys(ALPHAS, Group)),
    "TCPRoute": (SPECS, dict.fromkeys(ALPHAS, TCP)),
    "UDPRoute": (SPECS, {ALPHAS[3]: UDP}),
}

_REPLICATED = {f"apps/{version}": Replicated for version in ("v1", "v1beta1", "v1beta2")}
OTHER_KINDS: Mapping[tuple[str, str], type[Convertible]] = {
    ("v1", "Namespace"): WireNamespace,
    ("v1", "ServiceAccount"): WireServiceAccount,
    ("v1", "ConfigMap"): WireConfigMap,
    ("v1", "Service"): WireService,
    ("discovery.k8s.io/v1", "EndpointSlice"): WireEndpointSlice,
    ("v1", "Pod"): WirePod,
    **{(version, kind): model for version, model in _REPLICATED.items() for kind in ("Deployment", "StatefulSet")},
    ("extensions/v1beta1", "Deployment"): Replicated,
}


def model_of(api_version: str, kind: str) -> type[Convertible] | tuple[str, str] | None:
    """The model for a manifest; (field, reason) for an SMI kind we cannot read; None for kinds that are not ours."""
    group, _, version = api_version.rpartition("/")
    if kind in SMI_KINDS:
        return _smi_model(group, version, kind)
    if group in (SPLIT, ACCESS, SPECS) and kind.removesuffix("List") not in SMI_KINDS:
        near = get_close_matches(kind, SMI_KINDS, n=1, cutoff=_NEAR)
        hint = f", did you mean `{near[0]}`?" if near else f": {group} has no such kind"
        return "kind", f"{shown(kind)} is not known{hint}"
    whole = [known for version, known in OTHER_KINDS if version == api_version and kind and known.startswith(kind)]
    if whole and kind not in whole:
        # The beginning of a kind is no kind: a file that is being written, not an object of somebody else's.
        return "kind", f"{shown(kind)} is not known, did you mean `{min(whole, key=len)}`?"
    known = OTHER_KINDS.get((api_version, kind))
    return known if known is not None else _misplaced(group, api_version, kind)


def _misplaced(group: str, api_version: str, kind: str) -> tuple[str, str] | None:
    """What looks like a kind of Kubernetes that we read, by another spelling or in the wrong one of its own groups.

    Groups with a dot are of somebody else, who may have a ``Service`` of his own.
    """
    if "." in group or kind.endswith("List"):
        return None
    homes = [version for version, known in OTHER_KINDS if known == kind]
    if homes:
        return "apiVersion", f"{kind} belongs to {homes[0]}, not to {shown(api_version)}"
    here = {known.lower(): known for version, known in OTHER_KINDS if version == api_version}
    near = get_close_matches(kind.lower(), here, 1, _VERY_NEAR)
    return ("kind", f"{shown(kind)} is not known, did you mean `{here[near[0]]}`?") if near else None


def _smi_model(group: str, version: str, kind: str) -> type[Convertible] | tuple[str, str] | None:
    home, versions = SMI_KINDS[kind]
    if group == home:
        known = ", ".join(versions)
        return versions.get(version) or ("apiVersion", f"{kind} has no version {shown(version)}; known: {known}")
    if group.endswith(SMI_DOMAIN) or get_close_matches(group, [home], cutoff=_NEAR):
        return "apiVersion", f"{kind} belongs to {home}, not to {shown(group)}"
    return None


def kind_of(obj: SmiObject) -> str:
    """The kind as Kubernetes names it, which for a Workload is Deployment, StatefulSet or Pod."""
    return obj.kind if isinstance(obj, Workload) else type(obj).__name__
