"""What a ServiceProfile becomes, and what is told of the rest."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from smi.decode import decode_text
from smi.linkerd.profile import Translated, translate
from smi.names import ServiceName
from smi.wire.linkerd import Profile

RETRIED = "isRetryable: true"


def profile(spec: str, metadata: str = "{name: web.shop.svc.cluster.local, namespace: shop}") -> Translated:
    text = f"{{apiVersion: linkerd.io/v1alpha2, kind: ServiceProfile, metadata: {metadata}, spec: {spec}}}"
    return translate(Profile.model_validate(yaml.safe_load(text)))


def routes(*written: str, more: str = "") -> Translated:
    return profile(f"{{routes: [{', '.join(written)}]{more}}}")


def get(path: str, *more: str) -> str:
    return f"{{name: 'GET {path}', condition: {{method: GET, pathRegex: '{path}'}}, {', '.join(more)}}}"


def doubts(translated: Translated) -> list[tuple[tuple[str | int, ...], str]]:
    return [(doubt.places[0], doubt.message) for doubt in translated.doubts]


def retry(translated: Translated) -> dict[str, str]:
    return {name.partition("/")[2]: text for name, text in translated.annotations.items() if name.startswith("retry")}


def test_routes_become_matches_with_names_that_fit_a_list() -> None:
    translated = routes(
        get("/a/[^/]+"), "{name: 'GET /A/{id}, all', condition: {method: GET}}", get("/a", "isRetryable: false")
    )

    (group,) = translated.manifests
    assert group == {
        "apiVersion": "specs.smi-spec.io/v1alpha4",
        "kind": "HTTPRouteGroup",
        "metadata": {"name": "web-routes", "namespace": "shop"},
        "spec": {
            "matches": [
                {"name": "get-a", "methods": ["GET"], "pathRegex": "/a/[^/]+$"},
                {"name": "get-a-id-all", "methods": ["GET"]},
                {"name": "get-a-2", "methods": ["GET"], "pathRegex": "/a$"},
            ]
        },
    }
    assert translated.service == ServiceName("shop", "web")
    assert translated.annotations == {}
    assert decode_text(yaml.safe_dump(group), "m.yaml").problems == ()


def test_retryable_routes_arm_retries_for_themselves_alone() -> None:
    translated = routes(
        get("/a", RETRIED), get("/b"), more=", retryBudget: {retryRatio: 0.25, minRetriesPerSecond: 5, ttl: 1m}"
    )

    assert retry(translated) == {
        "on": "5xx,connect-failure,reset",
        "limit": "10",
        "routes": "web-routes/get-a",
        "budget": "ratio=0.25,min=5/s,ttl=60s",
    }
    assert translated.doubts == ()


def budgeted(budget: str) -> Translated:
    return routes(get("/a", RETRIED), more=f", retryBudget: {{{budget}}}")


@pytest.mark.parametrize("ttl", ["0s", "0.5s", "61s"])
def test_of_a_time_to_live_that_linkerd_does_not_take_the_default_is_left(ttl: str) -> None:
    translated = budgeted(f"retryRatio: 0.1, minRetriesPerSecond: 1, ttl: {ttl}")
    assert "budget" not in retry(translated)
    message = "Linkerd takes 1 to 60 s, and the default budget otherwise: so it is here"
    assert doubts(translated) == [(("spec", "retryBudget", "ttl"), message)]


def test_a_budget_beyond_our_bounds_is_cut_and_told() -> None:
    translated = budgeted("retryRatio: 1000, minRetriesPerSecond: 4294967295, ttl: 10s")
    assert retry(translated)["budget"] == "ratio=10,min=1000000/s,ttl=10s"
    message = "here a ratio is at most 10, and retries a second 1000000"
    assert doubts(translated) == [(("spec", "retryBudget"), message)]


def test_a_small_ratio_is_written_without_exponent() -> None:
    assert retry(budgeted("retryRatio: 0.00001, minRetriesPerSecond: 1, ttl: 10s"))["budget"] == (
        "ratio=0.00001,min=1/s,ttl=10s"
    )


def test_all_routes_are_named_by_their_group() -> None:
    assert retry(routes(get("/a", RETRIED), get("/b", RETRIED)))["routes"] == "web-routes"


def test_a_budget_alone_arms_nothing() -> None:
    assert routes(get("/a"), more=", retryBudget: {retryRatio: 1, minRetriesPerSecond: 5, ttl: 1s}").annotations == {}


@pytest.mark.parametrize(
    ("classes", "on"),
    [
        ("{condition: {status: {min: 500, max: 599}}, isFailure: true}", "5xx"),
        ("{condition: {status: {min: 503, max: 503}}, isFailure: false}", "500-502,504-599"),
        ("{condition: {status: {min: 429, max: 429}}, isFailure: true}", "429,500-599"),
        ("{condition: {status: {min: 500}}, isFailure: false}", ""),
        ("{condition: {status: {max: 199}}, isFailure: true}", "5xx"),
        ("{condition: {status: {max: 299}}, isFailure: true}", "200-299,500-599"),
        (
            "{condition: {any: [{status: {min: 404, max: 404}}, {status: {min: 429, max: 429}}]}, isFailure: true}",
            "404,429,500-599",
        ),
        ("{condition: {all: [{status: {min: 500}}, {not: {status: {min: 502, max: 599}}}]}}", "502-599"),
        (
            "{condition: {status: {min: 500, max: 501}}}, {condition: {status: {min: 500, max: 502}}, isFailure: true}",
            "502-599",
        ),
    ],
)
def test_response_classes_say_which_statuses_are_retried(classes: str, on: str) -> None:
    translated = routes(get("/a", RETRIED, f"responseClasses: [{classes}]"))
    assert retry(translated)["on"] == ",".join(filter(None, [on, "connect-failure", "reset"]))


def test_of_different_classes_only_what_fails_everywhere_is_retried() -> None:
    classes = "responseClasses: [{condition: {status: {min: 503, max: 503}}, isFailure: false}]"
    translated = routes(get("/a", RETRIED), get("/b", RETRIED, classes))
    assert retry(translated)["on"] == "500-502,504-599,connect-failure,reset"
    message = "here all retried routes share one list of statuses: only those that fail on each are retried"
    assert doubts(translated) == [(("spec", "routes", 0, "responseClasses"), message)]


def test_classes_of_a_route_that_is_not_retried_are_left_out() -> None:
    translated = routes(get("/a", "responseClasses: [{condition: {status: {min: 500}}, isFailure: false}]"))
    assert doubts(translated) == [
        (
            ("spec", "routes", 0, "responseClasses"),
            "is left out: here the classes of responses only say what is retried",
        )
    ]


def test_the_order_of_routes_is_told_where_it_counts() -> None:
    translated = routes(get("/a"), get("/b"), get("/[ac]", RETRIED))
    message = "requests that `GET /a` takes before are retried too, if this condition holds for them"
    assert doubts(translated) == [(("spec", "routes", 2, "condition"), message)]
    assert routes(get("/b"), get("/[ac]", RETRIED), get("/a")).doubts == ()


def test_a_route_of_any_method_retries_only_idempotent_ones() -> None:
    translated = routes(f"{{name: a, condition: {{pathRegex: /a}}, {RETRIED}}}")
    message = "names no method: here only idempotent requests of it are retried"
    assert doubts(translated) == [(("spec", "routes", 0, "condition"), message)]


def test_a_condition_that_cannot_be_said_leaves_its_route_out() -> None:
    translated = routes(f"{{name: a, condition: {{not: {{method: GET}}}}, {RETRIED}}}", get("/b"))
    assert doubts(translated) == [
        (("spec", "routes", 0, "condition"), "`not` cannot be said: the route `a` is left out")
    ]
    assert translated.annotations == {}
    assert [match["name"] for match in translated.manifests[0]["spec"]["matches"]] == ["get-b"]


@pytest.mark.parametrize(
    ("timeout", "ours"),
    [("250ms", "250ms"), ("1.5s", "1500ms"), ("1m30s", "90s"), ("1h", "3600s"), ("100us", "1ms"), (".5s", "500ms")],
)
def test_a_timeout_that_all_routes_share_is_the_services(timeout: str, ours: str) -> None:
    translated = routes(
        f"{{name: all, condition: {{pathRegex: /.*}}, timeout: {timeout}}}", get("/a", f"timeout: {timeout}")
    )
    assert translated.annotations == {"timeout.smi-mesh.io/request": ours}
    assert translated.doubts == ()


def test_a_timeout_for_some_requests_becomes_one_for_all_and_that_is_told() -> None:
    translated = routes(get("/a", "timeout: 1s"))
    assert translated.annotations == {"timeout.smi-mesh.io/request": "1s"}
    message = "here it holds for all requests of the Service, also for those of no route"
    assert doubts(translated) == [(("spec", "routes", 0, "timeout"), message)]


def test_timeouts_that_differ_are_left_out() -> None:
    translated = routes(get("/a", "timeout: 1s"), get("/b"))
    assert translated.annotations == {}
    message = "is left out: timeout.smi-mesh.io/request is one for the Service, and the routes differ"
    assert doubts(translated) == [(("spec", "routes", 0, "timeout"), message)]


def override(authority: str, weight: Any = "500m") -> str:
    return f"{{authority: '{authority}', weight: {weight}}}"


def test_overrides_become_a_split() -> None:
    translated = profile(
        f"{{dstOverrides: [{override('web-1.shop.svc.cluster.local')}, {override('web-2.shop.svc', 1)}]}}"
    )
    assert translated.manifests == (
        {
            "apiVersion": "split.smi-spec.io/v1alpha1",
            "kind": "TrafficSplit",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "service": "web",
                "backends": [{"service": "web-1", "weight": "500m"}, {"service": "web-2", "weight": 1}],
            },
        },
    )
    assert translated.doubts == ()


def test_a_port_of_an_override_is_told() -> None:
    translated = profile(f"{{dstOverrides: [{override('web-1.shop.svc.cluster.local:8080')}]}}")
    assert len(translated.manifests) == 1
    message = "a leaf is called at the root's port: the port here is left out"
    assert doubts(translated) == [(("spec", "dstOverrides", 0, "authority"), message)]


@pytest.mark.parametrize(
    "authority", ["web-1.other.svc.cluster.local", "example.com", "web", "W.shop.svc.cluster.local"]
)
def test_without_one_of_its_leaves_there_is_no_split(authority: str) -> None:
    translated = profile(f"{{dstOverrides: [{override('web-1.shop.svc')}, {override(authority)}]}}")
    assert translated.manifests == ()
    message = f"`{authority}` is no Service of shop: there is no TrafficSplit of it"
    assert doubts(translated) == [(("spec", "dstOverrides", 1, "authority"), message)]


def test_a_profile_of_clients_holds_for_all() -> None:
    translated = profile("{}", "{name: web.shop.svc.cluster.local, namespace: client}")
    message = "a profile of clients in this namespace: here it holds for all callers of shop/web"
    assert doubts(translated) == [(("metadata", "namespace"), message)]
    assert profile("{}", "{name: web.shop.svc.cluster.local}").doubts == ()


def test_opaque_ports_are_left_out() -> None:
    assert doubts(profile("{opaquePorts: ['3306']}")) == [
        (("spec", "opaquePorts"), "is left out: smi-mesh.io/opaque-ports goes on the pods or their namespace")
    ]
