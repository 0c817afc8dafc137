"""The CustomResourceDefinition of each kind: names, versions, columns, and the one schema at every version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from smi.crds.fields import FIELDS, status
from smi.crds.schema import Schema, described, mapping
from smi.kept import Manifest
from smi.wire.kinds import SMI_KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """``short`` is exactly what SMI publishes: its conformance suite compares."""

    plural: str
    short: str
    about: str


_KINDS: Mapping[str, _Kind] = {
    "TrafficSplit": _Kind(plural="trafficsplits", short="ts", about="Shares the requests for a Service among others."),
    "TrafficTarget": _Kind(plural="traffictargets", short="tt", about="Says who may call whom, and with what."),
    "IdentityBinding": _Kind(plural="identitybindings", short="ib", about="Names a set of identities."),
    "HTTPRouteGroup": _Kind(plural="httproutegroups", short="htr", about="Named conditions on HTTP requests."),
    "TCPRoute": _Kind(plural="tcproutes", short="tr", about="TCP traffic to some ports."),
    "UDPRoute": _Kind(plural="udproutes", short="ur", about="UDP traffic to some ports."),
}

_PROGRAMMED = '.status.conditions[?(@.type=="Programmed")].status'
_COLUMNS = (
    ("Summary", "string", ".status.summary"),
    ("Programmed", "string", _PROGRAMMED),
    ("Age", "date", ".metadata.creationTimestamp"),
)
_MORE_COLUMNS = {"TrafficSplit": (("Service", "string", ".spec.service"),)}


def definitions() -> Mapping[str, Manifest]:
    """Every CustomResourceDefinition, by the name of its file."""
    found = {}
    for kind, (group, versions) in SMI_KINDS.items():
        names = _KINDS[kind]
        found[f"{group}_{names.plural}.yaml"] = {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {
                "name": f"{names.plural}.{group}",
                "labels": {"app.kubernetes.io/name": "smi-mesh", "app.kubernetes.io/component": "crds"},
            },
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": {
                    "kind": kind,
                    "listKind": f"{kind}List",
                    "plural": names.plural,
                    "singular": kind.lower(),
                    "shortNames": [names.short],
                    "categories": ["smi"],
                },
                "conversion": {"strategy": "None"},
                "versions": [_version(version, kind, stored=version == max(versions)) for version in versions],
            },
        }
    return found


def _version(version: str, kind: str, *, stored: bool) -> Manifest:
    columns = (*_MORE_COLUMNS.get(kind, ()), *_COLUMNS)
    return {
        "name": version,
        "served": True,
        "storage": stored,
        "schema": {"openAPIV3Schema": schema_of(kind)},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [{"name": name, "type": of, "jsonPath": path} for name, of, path in columns],
    }


def schema_of(kind: str) -> Schema:
    """The structural schema of a kind of SMI."""
    fields = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    return described(mapping(**fields, **FIELDS[kind], status=status()), _KINDS[kind].about)
