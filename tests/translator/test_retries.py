"""Annotations of a Service one beside the other: what arms what, and what a wrong one leaves standing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.contract.check import contradictions
from proxy.contract.config import Balance, Breaker, Cluster, Config, HttpMatch, Policy, Retry
from proxy.contract.config import Service as ServiceConfig
from smi.decode import decode_text
from smi.meta import Meta
from smi.rewrite import rewrite
from smi.specs import HTTPMatch, HTTPRouteGroup
from smi.workloads import Service
from smi.yamltext import to_yaml
from translator.findings import Reason
from translator.retries import MAX_REMARKS, Calls, calls, is_about_calls
from translator.vocabulary import ON_SERVICES
from translator.world import World

NAMES = [annotation.name for annotation in ON_SERVICES]

ORDERS = HTTPRouteGroup(
    meta=Meta(name="orders"),
    api_version="",
    matches=(HTTPMatch(name="read", methods=("GET",)), HTTPMatch(name="place", methods=("POST",))),
)
DEFAULT = Retry(statuses=((502, 504),), connect_failure=True, reset=True)


def read(annotations: dict[str, str]) -> Calls:
    service = Service(meta=Meta(name="web", annotations=annotations))
    return calls(World.of([service, ORDERS]), service)


def retry(**annotations: str) -> Retry | None:
    policy = read({f"retry.smi-mesh.io/{name}": text for name, text in annotations.items()}).policy
    return policy.retry if policy is not None else None


def breaker(**annotations: str) -> Breaker | None:
    return read({f"breaker.smi-mesh.io/{name.replace('_', '-')}": text for name, text in annotations.items()}).breaker


def test_a_service_that_says_nothing() -> None:
    assert read({}) == read({"example.com/limit": "3"}) == Calls()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("on", "gateway-error,connect-failure,reset"),
        ("limit", "1"),
        ("timeout", "0s"),
        ("backoff", "25ms..250ms"),
        ("budget", "ratio=0.2,min=10/s,ttl=10s"),
    ],
)
def test_any_retry_annotation_arms_the_policy_with_the_defaults(name: str, text: str) -> None:
    assert retry(**{name: text}) == DEFAULT


@pytest.mark.parametrize("text", ["ten", "-1", "101", ""])
def test_a_wrong_limit_is_the_default_beside_others_and_alone_arms_nothing(text: str) -> None:
    assert retry(limit=text, timeout="1s") == Retry(
        statuses=((502, 504),), connect_failure=True, reset=True, try_timeout=1.0
    )
    assert retry(limit=text) is None


def test_conditions_that_cannot_be_read_never_widen_what_is_retried() -> None:
    assert retry(on="connect-failure,rset", limit="1") == Retry(connect_failure=True)
    assert retry(on="rset", limit="1") == Retry(connect_failure=True)
    assert retry(on="rset") is None


def test_routes_that_are_not_there_never_widen_what_is_retried() -> None:
    read_match = HttpMatch(name="orders/read", methods=("GET",))
    place = HttpMatch(name="orders/place", methods=("POST",))

    assert retry(routes="orders") == Retry(
        statuses=((502, 504),), connect_failure=True, reset=True, routes=(read_match, place)
    )
    found = retry(routes="gone,orders/read,orders/read")
    assert found is not None
    assert found.routes == (read_match,)
    for missing in ("gone", "orders/gone", "", "orders/", "/read", "ORDERS"):
        found = retry(routes=missing)
        assert found is not None
        assert found.routes == ()


def test_limit_0_is_off() -> None:
    assert retry(limit="0", on="5xx", timeout="1s") is None


def test_time_outs_need_no_retry_policy() -> None:
    found = read({f"timeout.smi-mesh.io/{name}": "1s" for name in ("request", "response", "idle")})

    assert found == Calls(policy=Policy(request_timeout=1.0, response_timeout=1.0, idle_timeout=1.0))


def test_any_breaker_annotation_arms_the_breaker() -> None:
    assert breaker(consecutive_failures="7") == breaker(min_penalty="1s") == breaker(max_penalty="60s") == Breaker()
    assert breaker(consecutive_failures="0") == Breaker(consecutive_failures=0)
    assert breaker(consecutive_failures="x") is None
    assert breaker(consecutive_failures="x", max_penalty="2m") == Breaker(max_penalty=120.0)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        ("5s", "5s", (5.0, 5.0)),
        ("2m", "1m", (120.0, 120.0)),
        ("10s", "1s", (10.0, 60.0)),
        ("2m", "soon", (120.0, 120.0)),
        ("0s", "30s", (1.0, 30.0)),
    ],
)
def test_the_longest_penalty_is_never_shorter_than_the_shortest(
    low: str, high: str, expected: tuple[float, float]
) -> None:
    found = breaker(min_penalty=low, max_penalty=high)

    assert found is not None
    assert (found.min_penalty, found.max_penalty) == expected


def test_what_is_wrong_is_told_with_its_annotation() -> None:
    found = read({"retry.smi-mesh.io/limit": "ten", "balancer.smi-mesh.io/algorithm": "hash:x-user"})

    assert found.balance == Balance(algorithm="hash", header="x-user")
    assert [str(finding.message) for finding in found.findings(Meta(name="web"))] == [
        "retry.smi-mesh.io/limit: `ten` is no whole number from 0 to 100; it does not count"
    ]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("retry.smi-mesh.io/limt", "did you mean retry.smi-mesh.io/limit?"),
        ("retry.smi-mesh.io/Limit", "did you mean retry.smi-mesh.io/limit?"),
        ("timeout.smi-mesh.io/requests", "did you mean timeout.smi-mesh.io/request?"),
        ("timeouts.smi-mesh.io/request", "did you mean timeout.smi-mesh.io/request?"),
        ("breaker.smi-mesh.io/failures", "there are consecutive-failures, min-penalty, max-penalty"),
        ("balancer.smi-mesh.io/", "there are algorithm"),
    ],
)
def test_misspelt_names(name: str, hint: str) -> None:
    [remark] = read({name: "1"}).remarks

    assert (remark.annotation, remark.reason) == (name, Reason.UNKNOWN_ANNOTATION)
    assert remark.message == f"there is no such annotation; {hint}"


@pytest.mark.parametrize("name", ["smi-mesh.io/inject", "mirror.smi-mesh.io/to", "retry.linkerd.io/limit", "limit"])
def test_names_that_are_somebody_elses(name: str) -> None:
    assert read({name: "1"}).remarks == ()


def test_remarks_on_one_annotation_are_bounded() -> None:
    many = ",".join(f"bogus{number}" for number in range(1000))
    found = read({"retry.smi-mesh.io/on": many, "retry.smi-mesh.io/routes": many})

    assert len(found.remarks) == 2 * MAX_REMARKS


def test_all_annotations_are_of_our_prefixes() -> None:
    assert all(is_about_calls(name) for name in NAMES)
    assert len(set(NAMES)) == len(NAMES)


WRITTEN = """
0 1 10 1s 0s 25ms..250ms 168h 5xx 503,reset ratio=0,min=0 ttl=1ms orders orders/read hash:x-user round-robin bogus
1000000 -1
"""
values = st.sampled_from(WRITTEN.split()) | st.text(max_size=20)


@given(st.dictionaries(st.sampled_from(NAMES), values))
def test_whatever_is_written_the_sidecar_takes_what_becomes_of_it(annotations: dict[str, str]) -> None:
    found = read(annotations)
    config = Config(
        services={"default/web": ServiceConfig(policy=found.policy)},
        clusters={"default/web:80": Cluster(balance=found.balance, breaker=found.breaker)},
    )

    assert contradictions(config) == ()
    assert {remark.annotation for remark in found.remarks} <= set(annotations)


# -- what the vocabulary says -------------------------------------------------------------------


def test_the_examples_can_be_read() -> None:
    groups = [
        HTTPRouteGroup(meta=Meta(name=name), api_version="", matches=(HTTPMatch(name="add"),))
        for name in ("orders", "carts")
    ]
    service = Service(meta=Meta(name="web", annotations={one.name: one.example for one in ON_SERVICES}))
    found = calls(World.of([service, *groups]), service)

    assert found.remarks == ()
    assert found.policy is not None
    assert None not in (found.balance, found.breaker, found.policy.retry, found.policy.idle_timeout)


def test_the_defaults_are_the_defaults() -> None:
    written = read({one.name: one.default for one in ON_SERVICES if one.default})
    retries = Policy(retry=DEFAULT)

    assert (written.policy, written.balance, written.breaker, written.remarks) == (retries, Balance(), Breaker(), ())


def test_what_a_service_profile_becomes_is_read_as_meant() -> None:
    written = """\
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: {name: web.default.svc.cluster.local}
spec:
  routes:
  - name: place
    condition: {method: POST, pathRegex: "/orders"}
    isRetryable: true
    timeout: 1m30s
    responseClasses: [{condition: {status: {min: 503, max: 503}}, isFailure: false}]
  - {name: read, condition: {method: GET}, timeout: 90s}
  retryBudget: {retryRatio: 0.25, minRetriesPerSecond: 5, ttl: 30s}
---
{apiVersion: v1, kind: Service, metadata: {name: web}}
"""
    decoded = decode_text(to_yaml(rewrite([("m.yaml", written)], "v1alpha2").documents), "m.yaml")
    world = World.of(decoded.objects)
    found = calls(world, world.objects.services["default/web"])

    assert decoded.problems == ()
    assert found.remarks == ()
    assert found.policy is not None
    assert found.policy.request_timeout == 90.0
    assert found.policy.retry == Retry(
        statuses=((500, 502), (504, 599)),
        connect_failure=True,
        reset=True,
        limit=10,
        budget_ratio=0.25,
        budget_min=5.0,
        budget_ttl=30.0,
        routes=(HttpMatch(name="web-routes/place", methods=("POST",), path="/orders$"),),
    )
