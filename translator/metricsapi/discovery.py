"""What there is, as clients discover it: groups, versions, resources, and the aggregated form of all. Pure."""

from __future__ import annotations

from typing import Any, Final

from translator.metricsapi.kinds import EDGES, GROUP, KIND, RESOURCES, VERSIONS, Kind

Body = dict[str, Any]

VERBS: Final = ("get", "list")
"""Not watch, though ``kubectl get -w`` is answered: what lists and watches is cached whole by GitOps tools."""


def group() -> Body:
    """An APIGroup."""
    versions = [{"groupVersion": f"{GROUP}/{version}", "version": version} for version in VERSIONS]
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": GROUP,
        "versions": versions,
        "preferredVersion": versions[0],
    }


def groups() -> Body:
    """The APIGroupList of a server that has this group alone."""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group()]}


def resources(version: str, *, spec_exact: bool = False) -> Body:
    """An APIResourceList. ``spec_exact``: every resource has the Kind TrafficMetrics, as SMI's text has it."""
    found: list[Body] = []
    for kind in RESOURCES.values():
        entry: Body = {
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": _kind(kind, spec_exact=spec_exact),
            "verbs": list(VERBS),
        }
        if kind.short:
            entry["shortNames"] = list(kind.short)
        found.append(entry)
        if kind.measured:
            edges = {"name": f"{kind.plural}/{EDGES}", "singularName": "", "namespaced": kind.namespaced}
            found.append({**edges, "kind": KIND, "verbs": ["get"]})
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{GROUP}/{version}",
        "resources": found,
    }


def aggregated(*, spec_exact: bool = False) -> Body:
    """An ``apidiscovery.k8s.io/v2`` APIGroupDiscoveryList."""
    versions = [
        {
            "version": version,
            "freshness": "Current",
            "resources": [_discovered(kind, version, spec_exact=spec_exact) for kind in RESOURCES.values()],
        }
        for version in VERSIONS
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": [{"metadata": {"name": GROUP}, "versions": versions}],
    }


def _discovered(kind: Kind, version: str, *, spec_exact: bool) -> Body:
    found: Body = {
        "resource": kind.plural,
        "responseKind": {"group": GROUP, "version": version, "kind": _kind(kind, spec_exact=spec_exact)},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(VERBS),
    }
    if kind.short:
        found["shortNames"] = list(kind.short)
    if kind.measured:
        response = {"group": GROUP, "version": version, "kind": KIND}
        found["subresources"] = [{"subresource": EDGES, "responseKind": response, "verbs": ["get"]}]
    return found


def _kind(kind: Kind, *, spec_exact: bool) -> str:
    return KIND if spec_exact else kind.kind
