"""What objects of each kind may have, at all versions together.

One schema serves all versions of a kind: stored objects are not converted, so any
version may be asked for an object in another's shape. What is wrong is ``smi.wire``'s
to tell; rules are here for what is certainly wrong and cheap to see.
"""

from __future__ import annotations

from collections.abc import Mapping

from smi.crds.schema import (
    MAX_BACKENDS,
    Schema,
    anything,
    described,
    int_or_text,
    labels,
    listed,
    mapping,
    ruled,
    text,
)
from smi.quantity import MAX_LENGTH
from smi.wire.access import SUBJECT_KINDS
from smi.wire.base import MAX_PORT
from smi.wire.split import ROUTE_KINDS

_QUANTITY = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$"
_PORT = "^(0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?$"


def _weight() -> Schema:
    """The pattern is no CEL rule: CEL counts every number-or-text as 3 MB of text, which is too dear in a list."""
    weight = int_or_text(pattern=_QUANTITY, maxLength=MAX_LENGTH)
    rule = "type(self) == int ? self >= 0 : !self.startsWith('-')"
    return described(
        ruled(weight, rule, "must not be negative"),
        "Share relative to the other backends: a quantity (900m) at v1alpha1, a whole number later.",
    )


def _port(description: str) -> Schema:
    return described(int_or_text(minimum=1, maximum=MAX_PORT, pattern=_PORT), description)


def _traffic_split() -> Mapping[str, Schema]:
    backend = mapping(
        service=described(text(), "Name of the leaf Service, in the namespace of the split."), weight=_weight()
    )
    match = mapping(
        apiGroup=text(),
        kind=described(text(*ROUTE_KINDS), "HTTPRouteGroup."),
        name=described(text(), "Name of the HTTPRouteGroup, in the namespace of the split."),
    )
    spec = mapping(
        service=described(text(), "The root Service: the name that clients call."),
        backends=described(listed(backend, MAX_BACKENDS), "Where requests for the root go, by weight."),
        matches=described(
            listed(match, MAX_BACKENDS), "Only requests that one of these accepts are split (v1alpha3 and later)."
        ),
    )
    return {"spec": spec}


def _subject(**more: Schema) -> Schema:
    return mapping(
        apiGroup=text(),
        group=text(),
        kind=described(text(*SUBJECT_KINDS), "IdentityBinding from v1alpha4 on."),
        name=text(),
        namespace=described(text(), "Empty: the namespace of the target."),
        **more,
    )


def _traffic_target() -> Mapping[str, Schema]:
    port = _port("Container port; empty: any. Since v1alpha3 TCPRoutes say it, but it still counts.")
    rule = mapping(
        apiGroup=text(),
        group=text(),
        kind=text(*ROUTE_KINDS),
        name=described(text(), "Name of the route, in the namespace of the target."),
        matches=described(listed(text()), "Names of matches of an HTTPRouteGroup; empty: all."),
    )
    rules = described(listed(rule), "What the sources may do; TCPRoutes and HTTPRouteGroups must both hold.")
    fields = {
        "destination": described(_subject(port=port), "Who may be called."),
        "sources": described(listed(_subject(port=int_or_text())), "Who may call."),
        "rules": rules,
        "specs": described(rules, "Name of rules at v1alpha1."),
    }
    return {"spec": mapping(**fields), **{name: described(field, "v1alpha1.") for name, field in fields.items()}}


def _identity_binding() -> Mapping[str, Schema]:
    expressions = described(listed({"type": "object", **anything()}), "Not supported: use matchLabels.")
    selector = ruled(
        mapping(
            matchLabels=described(labels(), "Pods with all of these labels."), matchExpressions=expressions, name=text()
        ),
        "!has(self.matchExpressions) || size(self.matchExpressions) == 0",
        "matchExpressions are not supported, use matchLabels",
    )
    both = "has(self.serviceAccount) && size(self.serviceAccount) > 0 && has(self.podLabelSelector)"
    labelled = "has(self.podLabelSelector.matchLabels) && size(self.podLabelSelector.matchLabels) > 0"
    schemes = mapping(
        podLabelSelector=selector,
        podLabelSelectors=described(listed(selector, 16), "As SMI's text has it; one entry means podLabelSelector."),
        serviceAccount=described(text(), "A ServiceAccount of this namespace; excludes a selector."),
        spiffeIdentities=described(listed(text()), "SPIFFE IDs, with spiffe:// or without."),
    )
    schemes = ruled(schemes, f"!({both} && {labelled})", "serviceAccount and podLabelSelector exclude each other")
    return {"spec": mapping(schemes=described(schemes, "Identities, all of them together."))}


def _http_route_group() -> Mapping[str, Schema]:
    match = mapping(
        name=described(text(), "What rules refer to."),
        methods=described(listed(text()), "Exactly these; none or * is any."),
        pathRegex=described(text(), "RE2, anchored at the beginning of the path only."),
        headers=described(anything(), "RE2 for the whole value by name; a map, or a list of maps that all must hold."),
    )
    matches = described(listed(match), "Conditions of which one must hold.")
    return {"spec": mapping(matches=matches), "matches": described(matches, "v1alpha1 and v1alpha2.")}


def _port_route() -> Mapping[str, Schema]:
    ports = described(listed(_port("A container port.")), "Only these ports; empty: all.")
    return {"spec": mapping(matches=mapping(name=text(), ports=ports))}


FIELDS: Mapping[str, Mapping[str, Schema]] = {
    "TrafficSplit": _traffic_split(),
    "TrafficTarget": _traffic_target(),
    "IdentityBinding": _identity_binding(),
    "HTTPRouteGroup": _http_route_group(),
    "TCPRoute": _port_route(),
    "UDPRoute": _port_route(),
}
"""By kind, what stands at the top of an object beside apiVersion, kind, metadata and status."""


def status() -> Schema:
    """What the controller tells of an object; the same for all kinds."""
    condition = mapping(
        type=described(text(), "Accepted, ResolvedRefs, Programmed, Conflicted, Ready, Reconciling or Stalled."),
        status=text("True", "False", "Unknown"),
        observedGeneration={"type": "integer", "format": "int64"},
        lastTransitionTime={"type": "string", "format": "date-time"},
        reason=text(),
        message=text(),
    )
    return mapping(
        observedGeneration=described({"type": "integer", "format": "int64"}, "The generation that all this is about."),
        summary=described(text(), "In one line, for tables."),
        conditions=listed(condition, 32),
    )
