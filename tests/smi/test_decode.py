"""Every SMI kind at every version, in every form it is written, to the hub object it means."""

from collections.abc import Sequence
from datetime import UTC, datetime
from fractions import Fraction
from textwrap import dedent
from typing import Any

import pytest

from smi.access import IdentityBinding, Subject, TargetRule, TrafficTarget
from smi.decode import Decoded, SmiObject, decode_text, kind_of
from smi.meta import Meta
from smi.specs import HTTPMatch, HTTPRouteGroup, TCPRoute, UDPRoute
from smi.split import RouteRef, SplitBackend, TrafficSplit

ALPHAS = ("v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4")
LATER = ALPHAS[1:]


def decode(text: str) -> Decoded:
    return decode_text(dedent(text), "m.yaml")


def only(text: str) -> SmiObject:
    decoded = decode(text)
    assert [str(problem) for problem in decoded.problems] == []
    (obj,) = decoded.objects
    return obj


def manifest(api_version: str, kind: str, body: str) -> str:
    return f"apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: x}}\n{dedent(body)}"


def backends(*leaves: tuple[str, Fraction | int]) -> tuple[SplitBackend, ...]:
    return tuple(SplitBackend(service=service, weight=Fraction(weight)) for service, weight in leaves)


# --- TrafficSplit ---------------------------------------------------------------------------------------------------


def split(version: str, body: str) -> TrafficSplit:
    found = only(manifest(f"split.smi-spec.io/{version}", "TrafficSplit", body))
    assert isinstance(found, TrafficSplit)
    assert found.api_version == f"split.smi-spec.io/{version}"
    return found


@pytest.mark.parametrize(
    ("weight", "amount"),
    [
        ("900m", Fraction(9, 10)),
        ("1", Fraction(1)),
        ('"1"', Fraction(1)),
        ("0.5", Fraction(1, 2)),
        ("0.1", Fraction(1, 10)),
        ('"0.5"', Fraction(1, 2)),
        ("1k", Fraction(1000)),
        ("1e3", Fraction(1000)),
        ("0", Fraction(0)),
    ],
)
def test_weights_of_v1alpha1_are_quantities(weight: str, amount: Fraction) -> None:
    body = f"spec: {{service: web, backends: [{{service: a, weight: {weight}}}, {{service: b, weight: 100m}}]}}"
    assert split("v1alpha1", body).backends == backends(("a", amount), ("b", Fraction(1, 10)))


@pytest.mark.parametrize("version", LATER)
@pytest.mark.parametrize(("weight", "amount"), [("90", 90), ("0", 0), ('"90"', 90), ("9223372036854775807", 2**63 - 1)])
def test_weights_of_later_versions_are_whole(version: str, weight: str, amount: int) -> None:
    body = f"spec: {{service: web, backends: [{{service: a, weight: {weight}}}, {{service: b, weight: 10}}]}}"
    assert split(version, body).backends == backends(("a", amount), ("b", 10))


@pytest.mark.parametrize("version", ALPHAS)
def test_matches_are_honoured_wherever_they_stand(version: str) -> None:
    found = split(
        version,
        """
        spec:
          service: web
          matches:
            - {kind: HTTPRouteGroup, name: testers, apiGroup: specs.smi-spec.io}
            - {name: beta}
          backends: [{service: web-v2, weight: 1}]
        """,
    )
    assert found.matches == (
        RouteRef(kind="HTTPRouteGroup", name="testers"),
        RouteRef(kind="HTTPRouteGroup", name="beta"),
    )


@pytest.mark.parametrize("version", ALPHAS)
@pytest.mark.parametrize("root", ["web", "web.default", "Web.Default.svc.", "web.default.svc.cluster.local", "a.b.c.d"])
def test_roots_and_backends_may_be_long_names(version: str, root: str) -> None:
    found = split(version, f"spec: {{service: {root}, backends: [{{service: {root}, weight: 1}}]}}")
    assert (found.service, found.backends) == (root, backends((root, 1)))


@pytest.mark.parametrize("version", ALPHAS)
def test_what_a_cluster_adds_is_tolerated(version: str) -> None:
    found = split(
        version,
        """
        spec:
          service: web
          owner: team-web
          matches: null
          backends: [{service: a, weight: 1, comment: stable}]
        status: {observedGeneration: 3, conditions: []}
        """,
    )
    assert (found.matches, found.backends) == ((), backends(("a", 1)))


# --- TrafficTarget --------------------------------------------------------------------------------------------------


def target(version: str, body: str) -> TrafficTarget:
    found = only(manifest(f"access.smi-spec.io/{version}", "TrafficTarget", body))
    assert isinstance(found, TrafficTarget)
    assert found.api_version == f"access.smi-spec.io/{version}"
    return found


def account(name: str, namespace: str = "") -> Subject:
    return Subject(kind="ServiceAccount", name=name, namespace=namespace)


FLAT = """
    destination: {kind: ServiceAccount, name: server, namespace: default, port: PORT}
    sources:
      - {kind: ServiceAccount, name: client, namespace: other, port: 1}
      - {kind: ServiceAccount, name: prometheus}
    specs:
      - {kind: HTTPRouteGroup, name: routes, matches: [metrics, health]}
      - {kind: TCPRoute, name: ports}
"""
NESTED = "spec:\n" + FLAT.replace("specs:", "rules:").replace("\n    ", "\n      ")
MEANT: dict[str, Any] = {
    "destination": account("server", "default"),
    "sources": (account("client", "other"), account("prometheus")),
    "rules": (
        TargetRule(kind="HTTPRouteGroup", name="routes", matches=("metrics", "health")),
        TargetRule(kind="TCPRoute", name="ports"),
    ),
}
PORTS = [("8080", 8080), ('"8080"', 8080), ("null", None), ('""', None)]


@pytest.mark.parametrize(("written", "port"), PORTS)
@pytest.mark.parametrize("version", ALPHAS)
@pytest.mark.parametrize("shape", [FLAT, NESTED], ids=["flat", "nested"])
def test_target_in_both_shapes_with_its_port(version: str, shape: str, written: str, port: int | None) -> None:
    found = target(version, dedent(shape).replace("PORT", written))
    meta = Meta(name="x", namespace="default")
    assert found == TrafficTarget(meta=meta, api_version=f"access.smi-spec.io/{version}", port=port, **MEANT)


@pytest.mark.parametrize("version", ALPHAS)
@pytest.mark.parametrize("rest", ["", "sources: null\nspecs: null", "sources: []\nspecs: []"])
def test_a_flat_target_without_rules_or_sources(version: str, rest: str) -> None:
    found = target(version, f"destination: {{kind: ServiceAccount, name: server}}\n{rest}\n")
    assert (found.sources, found.rules, found.port) == ((), (), None)


@pytest.mark.parametrize("version", ALPHAS)
@pytest.mark.parametrize("rest", ["", ", rules: null, sources: null", ", rules: [], sources: []"])
def test_a_nested_target_without_rules_or_sources(version: str, rest: str) -> None:
    found = target(version, f"spec: {{destination: {{kind: ServiceAccount, name: server}}{rest}}}")
    assert (found.sources, found.rules) == ((), ())


def test_spec_wins_over_the_top() -> None:
    top = dedent(FLAT).replace("PORT", "1")
    for name in ("server", "client", "prometheus", "routes", "ports"):
        top = top.replace(f"name: {name}", f"name: old-{name}")
    found = target("v1alpha4", top + dedent(NESTED).replace("PORT", "8080"))
    assert {"destination": found.destination, "sources": found.sources, "rules": found.rules} == MEANT
    assert found.port == 8080


def test_an_identity_binding_may_be_subject() -> None:
    found = target(
        "v1alpha4",
        """
        spec:
          destination: {kind: IdentityBinding, group: access.smi-spec.io, name: server}
          sources: [{kind: IdentityBinding, group: access.smi-spec.io, name: clients, namespace: other}]
          rules: [{kind: UDPRoute, name: dns}]
        """,
    )
    assert found.destination == Subject(kind="IdentityBinding", name="server")
    assert found.sources == (Subject(kind="IdentityBinding", name="clients", namespace="other"),)
    assert found.rules == (TargetRule(kind="UDPRoute", name="dns"),)


@pytest.mark.parametrize("written", ["", ", matches: null", ", matches: []"])
def test_matches_left_out_null_or_empty_mean_the_whole_group(written: str) -> None:
    rule = f"{{kind: HTTPRouteGroup, name: routes{written}}}"
    found = target("v1alpha3", f"spec: {{destination: {{kind: ServiceAccount, name: s}}, rules: [{rule}]}}")
    assert found.rules == (TargetRule(kind="HTTPRouteGroup", name="routes", matches=None),)


# --- IdentityBinding ------------------------------------------------------------------------------------------------


def binding(body: str) -> IdentityBinding:
    found = only(manifest("access.smi-spec.io/v1alpha4", "IdentityBinding", body))
    assert isinstance(found, IdentityBinding)
    return found


def test_binding_by_labels_and_spiffe() -> None:
    found = binding(
        """
        spec:
          schemes:
            podLabelSelector: {matchLabels: {app: web, tier: front}}
            spiffeIdentities:
              - cluster.local/ns/default/sa/web
              - spiffe://federated.example/boundary/name
        """
    )
    assert found.pod_labels == {"app": "web", "tier": "front"}
    assert found.spiffe_identities == ("cluster.local/ns/default/sa/web", "spiffe://federated.example/boundary/name")
    assert found.service_account == ""


def test_binding_by_service_account() -> None:
    found = binding("spec: {schemes: {serviceAccount: web, podLabelSelector: {}, spiffeIdentities: null}}")
    assert (found.service_account, found.pod_labels, found.spiffe_identities) == ("web", {}, ())


def test_binding_with_the_list_that_the_text_of_smi_shows() -> None:
    found = binding("spec: {schemes: {podLabelSelectors: [{name: pods, matchLabels: {app: web}}]}}")
    assert found.pod_labels == {"app": "web"}


# --- HTTPRouteGroup, TCPRoute, UDPRoute -----------------------------------------------------------------------------

MATCHES = """
matches:
  - name: metrics
    methods: [GET, HEAD]
    pathRegex: /metrics
  - name: everything
    methods: ["*"]
    pathRegex: ".*"
  - name: testers
    headers: {cookie: "^(.*;)?usertype=tester(;.*)?$", X-Version: 2}
  - name: listed
    methods: ["*", GET]
    headers:
      - x-debug: "1"
      - user-agent: .*Firefox.*
  - name: anything
"""
MATCHES_MEANT = (
    HTTPMatch(name="metrics", methods=("GET", "HEAD"), path_regex="/metrics"),
    HTTPMatch(name="everything", path_regex=".*"),
    HTTPMatch(name="testers", headers=(("cookie", "^(.*;)?usertype=tester(;.*)?$"), ("X-Version", "2"))),
    HTTPMatch(name="listed", headers=(("x-debug", "1"), ("user-agent", ".*Firefox.*"))),
    HTTPMatch(name="anything"),
)
UNDER_SPEC = "spec:" + MATCHES.replace("\n", "\n  ")


def group(version: str, body: str) -> HTTPRouteGroup:
    found = only(manifest(f"specs.smi-spec.io/{version}", "HTTPRouteGroup", body))
    assert isinstance(found, HTTPRouteGroup)
    return found


@pytest.mark.parametrize("version", ALPHAS)
@pytest.mark.parametrize("body", [MATCHES, UNDER_SPEC], ids=["top", "spec"])
def test_groups_at_the_top_and_under_spec(version: str, body: str) -> None:
    assert group(version, body).matches == MATCHES_MEANT


def test_matches_under_spec_win() -> None:
    assert group("v1alpha4", "matches: [{name: top}]\nspec: {matches: [{name: below}]}").matches == (
        HTTPMatch(name="below"),
    )
    assert group("v1alpha4", "matches: [{name: top}]\nspec: {matches: []}").matches == ()
    assert group("v1alpha4", "matches: [{name: top}]\nspec: {matches: null}").matches == (HTTPMatch(name="top"),)


@pytest.mark.parametrize("body", ["", "spec: null", "spec: {}", "matches: null", "spec: {matches: []}"])
def test_a_group_without_matches(body: str) -> None:
    assert group("v1alpha3", body).matches == ()


NO_PORTS = [
    "",
    "spec: null",
    "spec: {}",
    "spec: {matches: null}",
    "spec: {matches: {}}",
    "spec: {matches: {ports: []}}",
]


@pytest.mark.parametrize("version", ALPHAS)
@pytest.mark.parametrize("body", NO_PORTS)
def test_a_tcp_route_to_all_ports(version: str, body: str) -> None:
    assert only(manifest(f"specs.smi-spec.io/{version}", "TCPRoute", body)) == TCPRoute(
        meta=Meta(name="x"), api_version=f"specs.smi-spec.io/{version}"
    )


@pytest.mark.parametrize("version", ALPHAS)
def test_ports_of_a_tcp_route_never_get_lost(version: str) -> None:
    found = only(manifest(f"specs.smi-spec.io/{version}", "TCPRoute", 'spec: {matches: {ports: [80, "8080"]}}'))
    assert isinstance(found, TCPRoute)
    assert found.ports == (80, 8080)


@pytest.mark.parametrize(
    ("body", "ports"), [*((body, ()) for body in NO_PORTS), ("spec: {matches: {ports: [53]}}", (53,))]
)
def test_udp_route(body: str, ports: tuple[int, ...]) -> None:
    assert only(manifest("specs.smi-spec.io/v1alpha4", "UDPRoute", body)) == UDPRoute(
        meta=Meta(name="x"), api_version="specs.smi-spec.io/v1alpha4", ports=ports
    )


# --- what all have in common ----------------------------------------------------------------------------------------

ROUTE = "apiVersion: specs.smi-spec.io/v1alpha4\nkind: TCPRoute\nmetadata: {name: NAME}\n"


def names(objects: Sequence[SmiObject]) -> list[tuple[str, str]]:
    return [(kind_of(obj), obj.meta.key) for obj in objects]


def test_metadata() -> None:
    found = only(
        """
        apiVersion: specs.smi-spec.io/v1alpha4
        kind: TCPRoute
        metadata:
          name: ports
          namespace: shop
          labels: {a: b}
          annotations: {smi-mesh.io/inject: enabled, empty: null}
          creationTimestamp: 2024-05-01T12:00:00+02:00
          generation: 4
          uid: 6f9b
          ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: d, uid: u}]
          managedFields: []
        """.replace(", empty: null", "")
    )
    assert found.meta == Meta(
        name="ports",
        namespace="shop",
        labels={"a": "b"},
        annotations={"smi-mesh.io/inject": "enabled"},
        created=datetime(2024, 5, 1, 10, tzinfo=UTC),
        generation=4,
        uid="6f9b",
    )
    assert found.meta.created is not None
    assert found.meta.created.tzinfo is UTC


@pytest.mark.parametrize("written", ["2024-05-01T10:00:00Z", '"2024-05-01T10:00:00Z"', "2024-05-01T10:00:00.000000Z"])
def test_creation_timestamps(written: str) -> None:
    found = only(ROUTE.replace("NAME", f"x, creationTimestamp: {written}"))
    assert found.meta.created == datetime(2024, 5, 1, 10, tzinfo=UTC)


def test_what_kubectl_leaves_empty() -> None:
    found = only(ROUTE.replace("NAME", "x, creationTimestamp: null, labels: null, annotations: null, namespace: null"))
    assert found.meta == Meta(name="x")
    assert only(ROUTE.replace("NAME", "x, namespace: ''")).meta == Meta(name="x")


def test_several_documents_and_their_origins() -> None:
    text = "---\n" + ROUTE.replace("NAME", "one") + "---\n# nothing\n---\n" + ROUTE.replace("NAME", "two")
    decoded = decode(text)
    assert names(decoded.objects) == [("TCPRoute", "default/one"), ("TCPRoute", "default/two")]
    assert [(origin.file, origin.line) for origin in decoded.origins] == [("m.yaml", 2), ("m.yaml", 8)]
    assert decoded.origins[1].locate("spec.x", "metadata.name") == ("metadata.name", 10)
    assert decoded.origins[1].locate("spec.x") == ("spec.x", 8)


def test_lists() -> None:
    decoded = decode(
        """
        apiVersion: v1
        kind: List
        metadata: {resourceVersion: ""}
        items:
          - {apiVersion: specs.smi-spec.io/v1alpha4, kind: TCPRoute, metadata: {name: a}}
          - apiVersion: v1
            kind: List
            items: [{apiVersion: specs.smi-spec.io/v1alpha4, kind: UDPRoute, metadata: {name: b}}]
          - apiVersion: specs.smi-spec.io/v1alpha3
            kind: TCPRouteList
            items: [{metadata: {name: c}}]
        """
    )
    assert decoded.problems == ()
    assert names(decoded.objects) == [("TCPRoute", "default/a"), ("UDPRoute", "default/b"), ("TCPRoute", "default/c")]
    assert [origin.line for origin in decoded.origins] == [6, 9, 12]


def test_an_empty_list_is_a_good_file() -> None:
    for items in ("items: []", "items: null", ""):
        assert decode(f"apiVersion: v1\nkind: List\n{items}\n") == Decoded()


def test_kinds_of_others_are_left_alone() -> None:
    decoded = decode(
        """
        apiVersion: networking.k8s.io/v1
        kind: Ingress
        metadata: {name: x}
        spec: !!map {}
        ---
        apiVersion: gateway.networking.k8s.io/v1alpha2
        kind: TCPRoute
        metadata: {name: x}
        ---
        apiVersion: serving.knative.dev/v1
        kind: Service
        ---
        apiVersion: metrics.smi-spec.io/v1alpha1
        kind: TrafficMetrics
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: RoleList
        items: 5
        """
    )
    assert (decoded.objects, decoded.problems) == ((), ())
    assert decoded.ignored == (
        "m.yaml:2: Ingress (networking.k8s.io/v1)",
        "m.yaml:7: TCPRoute (gateway.networking.k8s.io/v1alpha2)",
        "m.yaml:11: Service (serving.knative.dev/v1)",
        "m.yaml:14: TrafficMetrics (metrics.smi-spec.io/v1alpha1)",
        "m.yaml:17: RoleList (rbac.authorization.k8s.io/v1)",
    )


def test_kustomizations_are_left_alone() -> None:
    decoded = decode_text("resources: [web.yaml]\n", "shop/kustomization.yaml")
    assert (decoded.problems, decoded.ignored) == ((), ("shop/kustomization.yaml:1: Kustomization",))
