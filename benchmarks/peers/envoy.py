"""The same for Envoy, as its bootstrap; JSON is YAML. Pure.

One worker thread, no access log, connections to servers kept; for the work see ``benchmarks.peers.work``.
"""

from __future__ import annotations

from typing import Any, Final

from benchmarks.peers import work
from benchmarks.peers.work import HOST, Keys
from proxy.openssl import GROUPS

Json = dict[str, Any]

_FILTERS: Final = "type.googleapis.com/envoy.extensions.filters"
_TLS: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
_HTTP2: Final = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}


def plain(port: int, upstream: int) -> Json:
    """One hop, one route."""
    return _bootstrap(_listener(port, [_to("stable")]), [_cluster("stable", upstream)])


def features(port: int, upstream: int) -> Json:
    """One hop with everything on that a caller's side has."""
    return _bootstrap(_listener(port, _routes()), [_guarded("stable", upstream), _guarded("canary", upstream)])


def near(port: int, mesh: int, keys: Keys) -> Json:
    """The caller's side of a pair."""
    context = {
        "@type": f"{_TLS}.UpstreamTlsContext",
        "common_tls_context": _common_tls(keys, work.identity(work.SERVER)),
        "max_session_keys": 0,  # every connection shakes hands in full
    }
    socket = {"name": "envoy.transport_sockets.tls", "typed_config": context}
    clusters = [{**_guarded(name, mesh), "transport_socket": socket} for name in ("stable", "canary")]
    return _bootstrap(_listener(port, _routes()), clusters)


def far(mesh: int, app: int, keys: Keys) -> Json:
    """The server's side of a pair: one identity, two methods, one pattern of paths."""
    methods = [{"header": {"name": ":method", "string_match": {"exact": method}}} for method in work.ALLOWED]
    path = {"url_path": {"path": {"safe_regex": {"regex": work.BELOW}}}}
    policy = {
        "permissions": [{"and_rules": {"rules": [{"or_rules": {"rules": methods}}, path]}}],
        "principals": [{"authenticated": {"principal_name": {"exact": work.identity(work.CLIENT)}}}],
    }
    rules = {"action": "ALLOW", "policies": {"web": policy}}
    rbac = {
        "name": "envoy.filters.http.rbac",
        "typed_config": {"@type": f"{_FILTERS}.http.rbac.v3.RBAC", "rules": rules},
    }
    context = {
        "@type": f"{_TLS}.DownstreamTlsContext",
        "common_tls_context": _common_tls(keys, work.identity(work.CLIENT)),
        "require_client_certificate": True,
        "disable_stateless_session_resumption": True,
        "disable_stateful_session_resumption": True,
    }
    socket = {"name": "envoy.transport_sockets.tls", "typed_config": context}
    return _bootstrap(_listener(mesh, [_to("app")], (rbac,), socket), [_cluster("app", app)])


def grpc(port: int, app: int) -> Json:
    """One hop of HTTP/2 on both sides."""
    return _bootstrap(
        _listener(port, [_to("app")]), [{**_cluster("app", app), "typed_extension_protocol_options": _HTTP2}]
    )


def _bootstrap(listener: Json, clusters: list[Json]) -> Json:
    return {"static_resources": {"listeners": [listener], "clusters": clusters}}


def _to(cluster: str) -> Json:
    return {"match": {"prefix": "/"}, "route": {"cluster": cluster, "timeout": "0s"}}


def _routes() -> list[Json]:
    armed = {
        "retry_policy": {"retry_on": "connect-failure,reset", "num_retries": 1},
        "timeout": f"{work.TIMEOUT}s",
    }
    name, value = work.CANARY_HEADER
    header = {"name": name, "string_match": {"exact": value}}
    weights = [
        {"name": name, "weight": weight} for name, weight in zip(("stable", "canary"), work.WEIGHTS, strict=True)
    ]
    return [
        {"match": {"prefix": "/", "headers": [header]}, "route": {"cluster": "canary", **armed}},
        {"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": weights}, **armed}},
    ]


def _listener(port: int, routes: list[Json], filters: tuple[Json, ...] = (), socket: Json | None = None) -> Json:
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{_FILTERS}.http.router.v3.Router"}}
    host = {"name": "web", "domains": [work.AUTHORITY, "*"], "routes": routes}
    manager = {
        "@type": f"{_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {"virtual_hosts": [host]},
        "http_filters": [*filters, router],
    }
    chain: Json = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    if socket is not None:
        chain["transport_socket"] = socket
    return {"address": _address(port), "filter_chains": [chain]}


def _cluster(name: str, port: int) -> Json:
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
    }


def _guarded(name: str, port: int) -> Json:
    """With a breaker."""
    return {**_cluster(name, port), "outlier_detection": {"consecutive_5xx": work.FAILURES}}


def _address(port: int) -> Json:
    return {"socket_address": {"address": HOST, "port_value": port}}


def _common_tls(keys: Keys, peer: str) -> Json:
    return {
        "tls_params": {
            "tls_minimum_protocol_version": "TLSv1_3",
            "tls_maximum_protocol_version": "TLSv1_3",
            "ecdh_curves": list(GROUPS),
        },
        "tls_certificates": [
            {"certificate_chain": {"filename": str(keys.certificate)}, "private_key": {"filename": str(keys.key)}}
        ],
        "validation_context": {
            "trusted_ca": {"filename": str(keys.bundle)},
            "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": peer}}],
        },
    }
