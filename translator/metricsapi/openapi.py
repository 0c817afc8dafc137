"""OpenAPI of the group, for ``kubectl explain`` and for clients that check what they send. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from translator.metricsapi.kinds import EDGES, GROUP, KIND, LIST, RESOURCES
from translator.metricsapi.selectors import FIELDS

Body = dict[str, Any]

ABOUT: Final = (
    "What was measured of the traffic of a resource within a window: latency percentiles and counts, "
    "with one peer (edge), or of one backend of a TrafficSplit."
)

QUERY: Final = {
    "t": "How far the numbers reach back: a duration such as 30s (which it is, if not said).",
    "labelSelector": "Which items, by the labels of what was measured.",
    "fieldSelector": f"Which items, by {', '.join(FIELDS)}.",
    "limit": "How many items at most.",
    "continue": "From where on, as the page before said.",
}


def _text(about: str) -> Body:
    return {"type": "string", "description": about}


def _texts(about: str) -> Body:
    return {"type": "object", "description": about, "additionalProperties": {"type": "string"}}


def _object(about: str, **properties: Body) -> Body:
    return {"type": "object", "description": about, "properties": properties}


def _reference(about: str) -> Body:
    return _object(
        about,
        kind=_text("Kind of the resource, such as Deployment."),
        namespace=_text("Its namespace; empty for what has none."),
        name=_text("Its name."),
    )


def _properties() -> Body:
    metric = _object(
        "One number.",
        name=_text("pNN_response_latency, success_count or failure_count."),
        unit=_text("ms for latencies; counts have none."),
        value=_text("A Quantity."),
    )
    return {
        "apiVersion": _text("metrics.smi-spec.io/v1alpha1 or v1alpha2."),
        "kind": _text("Always TrafficMetrics."),
        "metadata": _object(
            "Name and namespace of what was measured, and its labels.",
            name=_text(
                "Its name; in trafficmetrics KIND.NAME, of a backend SPLIT.BACKEND, of an edge with the peer's."
            ),
            namespace=_text("Its namespace; not there for Namespaces and Nodes."),
            creationTimestamp=_text("When it was answered."),
            labels=_texts("Of a workload: what its pods have in common."),
            annotations=_texts("smi-mesh.io/partial: some controller's numbers are missing."),
        ),
        "timestamp": _text("When it was answered."),
        "window": _text("How far the numbers reach back (query parameter t)."),
        "resource": _reference("What was measured."),
        "edge": _object(
            "Which traffic is counted, and by whom.",
            direction=_text("from: requests received; to: requests sent."),
            side=_text("client or server: whose sidecar counted."),
            resource=_reference("The other end; null for all, or for one that is not known or may not be seen."),
        ),
        "backend": _object(
            "Of a TrafficSplit: the backend. Null for anything else.",
            apex=_text("The root Service."),
            name=_text("The leaf Service."),
            weight={
                "type": "string",
                "format": "int-or-string",
                "x-kubernetes-int-or-string": True,
                "description": "Its weight as written: a number, or a quantity such as 900m where v1alpha1 has one.",
            },
        ),
        "metrics": {
            "type": "array",
            "description": "p99, p90 and p50 of the latency, successes and failures, in this order.",
            "items": metric,
        },
    }


def schemas(version: str) -> Mapping[str, Body]:
    """By name; one for each Kind that discovery tells of, all alike."""
    found: dict[str, Body] = {}
    for kind in sorted({one.kind for one in RESOURCES.values()} | {KIND}):
        found[_name(version, kind)] = {
            "type": "object",
            "description": ABOUT,
            "properties": _properties(),
            "x-kubernetes-group-version-kind": [{"group": GROUP, "version": version, "kind": kind}],
        }
    found[_name(version, LIST)] = {
        "type": "object",
        "description": "Several TrafficMetrics.",
        "properties": {
            "apiVersion": _text("metrics.smi-spec.io/v1alpha1 or v1alpha2."),
            "kind": _text("Always TrafficMetricsList."),
            "metadata": {"type": "object"},
            "items": {"type": "array", "items": {"$ref": f"#/components/schemas/{_name(version, KIND)}"}},
        },
        "x-kubernetes-group-version-kind": [{"group": GROUP, "version": version, "kind": LIST}],
    }
    return found


def _name(version: str, kind: str) -> str:
    return f"io.smi-spec.metrics.{version}.{kind}"


def paths(version: str) -> Mapping[str, Body]:
    """By path: its parameters and its GET operation."""
    root = f"/apis/{GROUP}/{version}"
    found: dict[str, Body] = {}
    for kind in RESOURCES.values():
        scope = f"{root}/namespaces/{{namespace}}" if kind.namespaced else root
        named = f"{scope}/{kind.plural}/{{name}}"
        places = [(f"{scope}/{kind.plural}", "list", LIST), (named, "get", KIND)]
        if kind.namespaced:
            places.append((f"{root}/{kind.plural}", "list", LIST))
        if kind.measured:
            places.append((f"{named}/{EDGES}", "list", LIST))
        for path, action, answer in places:
            found[path] = _operation(version, kind.kind, action, answer, path)
    return found


def _operation(version: str, kind: str, action: str, answer: str, path: str) -> Body:
    names = [name for name in ("namespace", "name") if f"{{{name}}}" in path]
    edges = EDGES.capitalize() if path.endswith(f"/{EDGES}") else ""
    scope = "Namespaced" if "namespace" in names else "AllNamespaces" if action == "list" and not edges else ""
    return {
        "parameters": [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names],
        "get": {
            "operationId": f"{action}{version.capitalize()}{scope}{kind}{edges}",
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": {"group": GROUP, "version": version, "kind": kind},
            "parameters": [_query(name, about) for name, about in QUERY.items()],
            "responses": {
                "200": {
                    "description": "OK",
                    "content": {
                        "application/json": {"schema": {"$ref": f"#/components/schemas/{_name(version, answer)}"}}
                    },
                }
            },
        },
    }


def _query(name: str, about: str) -> Body:
    return {"name": name, "in": "query", "description": about, "schema": {"type": "string"}}


def document_v3(version: str) -> Body:
    """OpenAPI 3.0 of one version."""
    return {
        "openapi": "3.0.0",
        "info": {"title": "smi-mesh", "version": version},
        "paths": dict(paths(version)),
        "components": {"schemas": dict(schemas(version))},
    }


def document_v2(versions: tuple[str, ...]) -> Body:
    """Swagger 2.0 of all versions: definitions are what clients take from it."""
    definitions: dict[str, Body] = {}
    for version in versions:
        for name, schema in schemas(version).items():
            definitions[name] = _local(schema)
    return {
        "swagger": "2.0",
        "info": {"title": "smi-mesh", "version": versions[0]},
        "paths": {},
        "definitions": definitions,
    }


def _local(value: Any) -> Any:
    """References as version 2 has them."""
    if isinstance(value, dict):
        return {
            key: one.replace("#/components/schemas/", "#/definitions/") if key == "$ref" else _local(one)
            for key, one in value.items()
        }
    if isinstance(value, list):
        return [_local(one) for one in value]
    return value
