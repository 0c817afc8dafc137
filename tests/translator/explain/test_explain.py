"""Explanations of a shop's requests: each reason why a request goes where it goes, or does not."""

from __future__ import annotations

import pytest
from shop import SHOP, WORKLOADS, mesh_of, told, workload

from translator.explain.answer import Backend, Explanation
from translator.local.errors import NoSuchPod

SAME = "default policy same-identity"
MESH = mesh_of(SHOP, WORKLOADS)
POLICY = "apiVersion: v1\nkind: Namespace\nmetadata: {{name: default, annotations: {{{}}}}}\n---\n"


def splits(explanation: Explanation) -> list[tuple[str, bool, bool, str]]:
    return [(one.split.removeprefix("default/"), one.asked, one.applies, one.why) for one in explanation.splits]


def test_splits_are_told_in_the_order_in_which_they_are_asked() -> None:
    assert splits(told(MESH, "GET http://web/")) == [
        (
            "beta",
            True,
            False,
            "testers/header fails on header x-beta: 1; testers/writes fails on method POST and path /api/.*",
        ),
        ("canary", True, True, "it is for every request"),
        ("late", False, False, "TrafficSplit 'canary' already splits 'web'; this one is ignored"),
    ]


@pytest.mark.parametrize(
    ("request_", "headers", "match"),
    [("GET http://web/", ["X-Beta: 1"], "header"), ("POST http://WEB.default.svc/%61pi/x?y", [], "writes")],
)
def test_the_first_split_that_applies_ends_the_asking(request_: str, headers: list[str], match: str) -> None:
    explanation = told(MESH, request_, "deploy/client", *headers)
    first, second, _ = splits(explanation)
    assert first == ("beta", True, True, f"match testers/{match}")
    assert second == ("canary", False, False, "not asked: one before it applies")
    assert [(one.service, one.share) for one in explanation.backends] == [("default/web-v2", 1.0)]


def test_backends_take_turns_or_it_is_said_why_not() -> None:
    backends = told(MESH, "GET http://web/").backends
    assert [(one.service.removeprefix("default/"), one.share, one.why) for one in backends] == [
        ("web-v1", 0.9, ""),
        ("web-v2", 0.1, ""),
        ("web-v3", 0.0, "no ready endpoint"),
        ("web", 0.0, "weight 0"),
        ("gone", 0.0, "left out: the Service does not exist"),
        ("elsewhere", 0.0, "left out: it is an ExternalName"),
    ]
    assert [(one.algorithm, one.ejects_after, len(one.endpoints)) for one in backends[:2]] == [
        ("hash:x-user", 0, 2),
        ("ewma", 5, 1),
    ]


def test_on_another_port_other_backends_are_left() -> None:
    explanation = told(MESH, "GET http://web:81/")
    found = {one.service.removeprefix("default/"): one for one in explanation.backends}
    assert found["web-v2"].share == 1.0
    assert found["web-v1"].why == "left out: it has no port 81"
    assert [server.port for server in explanation.servers] == [9090]


def test_a_hash_tells_which_endpoint_it_is() -> None:
    def chosen(user: str) -> str:
        backend: Backend = told(MESH, "GET http://web-v1/", "deploy/client", f"X-User: {user}").backends[0]
        assert backend.chosen in backend.endpoints
        return backend.chosen

    assert chosen("al") == chosen("al")
    assert len({chosen(user) for user in "abcdefgh"}) == 2
    assert told(MESH, "GET http://web-v1/").backends[0].chosen == ""


@pytest.mark.parametrize(
    ("request_", "status", "reason", "detail"),
    [
        ("GET http://web-v3/", 503, "no-endpoint", "default/web-v3 has no ready endpoint"),
        ("GET http://web:82/", 503, "no-service", "web.default has no port 82"),
        ("GET http://gone/", 502, "egress", "gone.default is not a name of this mesh"),
        ("GET http://elsewhere/", 502, "egress", "elsewhere.default is not a name of this mesh"),
        ("GET http://we b/", 400, "bad-request", "malformed request line"),
        ("GET http://user@web/", 400, "bad-request", "bad host"),
    ],
)
def test_what_the_callers_own_sidecar_answers(request_: str, status: int, reason: str, detail: str) -> None:
    answer = told(MESH, request_).answer
    assert (answer.allowed, answer.status, answer.reason, answer.detail, answer.by) == (
        False,
        status,
        reason,
        detail,
        "caller",
    )


def test_a_split_without_a_weight_or_a_backend_never_falls_back_to_its_root() -> None:
    zero = SHOP.replace("weight: 90", "weight: 0").replace("weight: 10", "weight: 0").replace("weight: 5", "weight: 0")
    answer = told(mesh_of(zero, WORKLOADS), "GET http://web/").answer
    assert (answer.status, answer.reason) == (503, "weights-zero")
    lost = SHOP.replace("web-v", "lost-v").replace("{service: web,", "{service: lost,")
    lost = lost.replace("metadata: {name: lost-v", "metadata: {name: other-v")
    answer = told(mesh_of(lost, WORKLOADS), "GET http://web/").answer
    assert (answer.status, answer.reason) == (503, "no-service")


def test_with_retries_a_request_waits_for_an_endpoint_first() -> None:
    answer = told(mesh_of(SHOP, workload("client", "client")), "GET http://web/").answer
    assert (answer.status, answer.reason, answer.detail, answer.after) == (
        503,
        "no-endpoint",
        "no endpoint became ready in time",
        30.0,
    )


def test_a_lone_pod_that_calls_its_own_service_is_judged_like_any_caller() -> None:
    answer = told(MESH, "GET http://web-v2/api", "deploy/v2").answer
    assert (answer.status, answer.reason, answer.by) == (403, "denied", "server")


def test_whether_and_why_a_request_is_sent_again() -> None:
    calls = told(MESH, "GET http://web/").calls
    assert calls is not None
    retry = calls.retry
    assert retry is not None
    assert (retry.repeats, retry.why, retry.limit) == (True, "GET is idempotent", 3)
    assert (retry.on, retry.waits) == (("500-599", "connect-failure"), 30.0)
    posted = told(MESH, "POST http://web/").calls
    assert posted is not None
    assert posted.retry is not None
    assert not posted.retry.repeats
    assert posted.retry.why == "POST is not idempotent, and no route that matches names it"
    routed = SHOP.replace("retry.smi-mesh.io/limit:", "retry.smi-mesh.io/routes: testers, retry.smi-mesh.io/limit:")
    for request_, why in (
        ("POST http://web/api/x", "a route names POST"),
        ("GET http://web/", "none of the routes that are retried matches"),
    ):
        calls = told(mesh_of(routed, WORKLOADS), request_).calls
        assert calls is not None
        assert calls.retry is not None
        assert calls.retry.why == why
    assert told(MESH, "GET http://web-v1/").calls is None


@pytest.mark.parametrize(
    ("request_", "source", "why"),
    [
        ("GET http://web-v1/api?x", "client", {"clients-read": "source, port and match public/read"}),
        ("POST http://web-v1/api", "client", {"clients-read": "public/read fails on method GET"}),
        (
            "GET http://web-v1/x",
            "operator",
            {
                "clients-read": "the caller is not among its sources; public/read fails on path /api",
                "operators": "it is for port 9090",
            },
        ),
        ("DELETE http://web:81/", "operator", {"operators": "source and port"}),
    ],
)
def test_each_target_says_why_it_lets_a_request_in_or_not(request_: str, source: str, why: dict[str, str]) -> None:
    explanation = told(MESH, request_, f"deploy/{source}", "x-beta: 1")
    (server,) = explanation.servers
    assert server.policy == "TrafficTargets"
    found = {target.target.removeprefix("default/"): target for target in server.targets}
    assert {name: found[name].why for name in why} == why
    assert explanation.answer.allowed is any(target.lets_in for target in server.targets)
    assert not found["nobody"].lets_in
    assert found["nobody"].why.startswith("rules: HTTPRouteGroup 'lost' does not exist; lets nothing in")


def test_where_a_path_condition_is_in_force_the_canonical_path_arrives_and_no_ambiguous_one() -> None:
    (server,) = told(MESH, "GET http://web-v1//x/%2e%2e/%61pi?q=%61").servers
    assert (server.answer.allowed, server.path) == (True, "/api?q=%61")
    answer = told(MESH, "GET http://web-v1/api%2fx").answer
    assert (answer.status, answer.reason, answer.by) == (400, "bad-request", "server")
    assert answer.detail == "ambiguous path: percent-escape %2F"


def test_a_caller_without_sidecar_has_no_identity() -> None:
    ip = next(pod.ip for pod in MESH.world.pods if pod.workload == "v1")
    explanation = told(MESH, f"GET http://{ip}:8080/api", "deploy/plain")
    assert (explanation.caller.identity, explanation.answer.status, explanation.answer.reason) == (
        "",
        403,
        "no-identity",
    )
    assert explanation.servers[0].targets[0].why == "the caller has no identity"
    assert "the caller has no sidecar" in explanation.notes[0]
    nowhere = told(MESH, "GET http://gone/", "deploy/plain")
    assert (nowhere.answer.allowed, nowhere.servers) == (None, ())


def test_a_server_without_sidecar_judges_nobody() -> None:
    ports = "{selector: {app: plain}, ports: [{port: 80, targetPort: 8080}]}"
    service = f"---\napiVersion: v1\nkind: Service\nmetadata: {{name: plain}}\nspec: {ports}\n"
    (server,) = told(mesh_of(SHOP, service, WORKLOADS), "GET http://plain/").servers
    assert (server.meshed, server.policy, server.answer.allowed) == (False, "none: the pod has no sidecar", True)


@pytest.mark.parametrize(
    ("annotations", "policy", "allowed", "would_be"),
    [
        ("", SAME, False, ""),
        ("smi-mesh.io/default-policy: allow", "default policy allow", True, ""),
        ("smi-mesh.io/default-policy: deny", "default policy deny", False, ""),
        (
            "smi-mesh.io/policy-mode: audit",
            "default policy same-identity",
            True,
            "denied: default policy same-identity",
        ),
    ],
)
def test_without_targets_the_default_policy_is_named(
    annotations: str, policy: str, allowed: bool, would_be: str
) -> None:
    objects = SHOP.partition("---\napiVersion: specs")[0]
    explanation = told(mesh_of(POLICY.format(annotations), objects, WORKLOADS), "GET http://web-v1/")
    assert explanation.servers[0].policy == policy
    assert (explanation.answer.allowed, explanation.answer.would_be) == (allowed, would_be)


def test_where_pods_disagree_it_depends() -> None:
    apart = WORKLOADS.replace("serviceAccountName: web", "serviceAccountName: other", 1)
    explanation = told(mesh_of(SHOP, apart), "GET http://web/api")
    assert (explanation.answer.allowed, explanation.answer.detail) == (None, "it depends on the pod")
    assert [server.answer.allowed for server in explanation.servers] == [False, True]
    assert [len(server.pods) for server in explanation.servers] == [2, 1]


def test_each_server_gets_the_path_that_its_own_policy_makes_of_it() -> None:
    apart = WORKLOADS.replace("serviceAccountName: web", "serviceAccountName: other", 1)
    bare, named = told(mesh_of(SHOP, apart), "GET http://web//%61pi").servers
    assert (bare.policy, bare.path) == (SAME, "//%61pi")
    assert (named.policy, named.path) == ("TrafficTargets", "/api")
    other = SHOP.replace("name: web}\n  sources", "name: other}\n  sources")
    named, bare = told(mesh_of(other, apart), "GET http://web//%61pi").servers
    assert [(one.policy, one.path) for one in (named, bare)] == [("TrafficTargets", "/api"), (SAME, "//%61pi")]


def test_a_source_may_be_a_pod_by_its_labels() -> None:
    binding = (
        "---\napiVersion: access.smi-spec.io/v1alpha4\nkind: IdentityBinding\nmetadata: {name: labelled}\n"
        "spec: {schemes: {podLabelSelector: {matchLabels: {app: client}}}}\n"
    )
    bound = SHOP.replace("{kind: ServiceAccount, name: client}", "{kind: IdentityBinding, name: labelled}")
    mesh = mesh_of(bound, binding, WORKLOADS)
    assert told(mesh, "GET http://web/api").answer.allowed
    assert not told(mesh, "GET http://web/api", "deploy/operator").answer.allowed


def test_headers_that_no_application_may_write_count_for_nothing() -> None:
    split = SHOP.replace('x-beta: "1"', 'smi-mesh-client-id: ".*"')
    for header in ("smi-mesh-client-id: default/admin", "Connection: x"):
        assert splits(told(mesh_of(split, WORKLOADS), "GET http://web/", "deploy/client", header))[0][2] is False
    dropped = told(MESH, "GET http://web/", "deploy/client", "X-Beta: 1", "Connection: x-beta")
    assert splits(dropped)[0][2] is False


def test_a_caller_that_is_not_there() -> None:
    with pytest.raises(NoSuchPod, match='no pod "deploy/clint" in namespace "default": there are deploy/client, '):
        told(MESH, "GET http://web/", "deploy/clint")


SLICED = """
apiVersion: v1
kind: Service
metadata: {name: bare, namespace: default}
spec: {ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: bare-1, namespace: default, labels: {kubernetes.io/service-name: bare}}
addressType: IPv4
ports: [{port: 5000}]
endpoints: [{addresses: [192.0.2.1]}]
---
"""


def test_who_is_no_pod_has_no_policy() -> None:
    explanation = told(mesh_of(SLICED + SHOP, WORKLOADS), "GET http://bare/")
    assert explanation.destination is not None
    assert explanation.destination.service == "default/bare"
    assert explanation.backends[0].endpoints == ("192.0.2.1:5000",)
    (server,) = explanation.servers
    assert (server.pods, server.port, server.meshed) == (("192.0.2.1:5000",), 5000, False)
    assert server.policy == "none: it is no pod of this cluster"
    assert explanation.answer.allowed
