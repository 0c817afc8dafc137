"""Who is let in: grants as units, default policies, callers without identity, audit."""

from __future__ import annotations

import pytest

from proxy.authorize import NOBODY, Authorizer, Caller, Verdict
from proxy.contract.config import Grant, HttpMatch, Inbound, Source
from proxy.errors import Reason
from proxy.http1.head import RequestHead

OWN = "spiffe://cluster.local/ns/default/sa/server"
A = Caller("spiffe://cluster.local/ns/default/sa/a", ("a-1.default.pod",))
B = Caller("spiffe://cluster.local/ns/default/sa/b", ("b-1.default.pod",))
TWIN = Caller(OWN)


def asked(method: str = "GET", path: str = "/") -> RequestHead:
    """A request's head."""
    head = RequestHead(method, path.encode())
    head.policy_path = path
    return head


def decide(inbound: Inbound, caller: Caller, port: int = 8080, head: RequestHead | None = None) -> Verdict:
    """One decision."""
    return Authorizer(inbound, OWN).decide(caller, port, head or asked())


@pytest.mark.parametrize(
    ("inbound", "caller", "reason"),
    [
        (Inbound(), TWIN, None),
        (Inbound(), A, Reason.DENIED),
        (Inbound(), NOBODY, Reason.NO_IDENTITY),
        (Inbound(default_policy="deny"), TWIN, Reason.DENIED),
        (Inbound(default_policy="allow"), A, None),
        (Inbound(default_policy="allow"), NOBODY, None),
        (Inbound(default_policy="allow", named=True), NOBODY, Reason.NO_IDENTITY),
        (Inbound(default_policy="allow", named=True), A, Reason.DENIED),
        (Inbound(named=True), TWIN, Reason.DENIED),
        (Inbound(named=True, unmeshed=True), NOBODY, None),
        (Inbound(unmeshed=True), A, Reason.DENIED),
    ],
)
def test_without_a_grant(inbound: Inbound, caller: Caller, reason: Reason | None) -> None:
    assert decide(inbound, caller).reason is reason


def granted(*grants: Grant) -> Inbound:
    """A pod that these targets name."""
    return Inbound(named=True, grants=grants)


FROM_A = (Source(identity=A.identity),)


def test_source_port_and_request_must_hold_in_one_grant() -> None:
    inbound = granted(
        Grant(target="d/one", sources=FROM_A, ports=(8080,), http=(HttpMatch(name="g/one", path="/one"),)),
        Grant(target="d/two", sources=(Source(identity=B.identity),), ports=(9090,), http=(HttpMatch(path="/two"),)),
    )
    assert decide(inbound, A, 8080, asked(path="/one")) == Verdict(None, "d/one", target="d/one", match="g/one")
    assert not decide(inbound, A, 8080, asked(path="/two")).allowed
    assert not decide(inbound, A, 9090, asked(path="/one")).allowed
    assert not decide(inbound, B, 8080, asked(path="/one")).allowed
    assert decide(inbound, B, 9090, asked(path="/two")) == Verdict(None, "d/two", target="d/two")


def test_no_port_condition_and_no_port_at_all_are_different_things() -> None:
    assert decide(granted(Grant(target="d/t", sources=FROM_A)), A).allowed
    assert not decide(granted(Grant(target="d/t", sources=FROM_A, ports=())), A).allowed


def test_no_match_is_none() -> None:
    assert not decide(granted(Grant(target="d/t", sources=FROM_A, http=())), A).allowed


def test_a_source_by_pod_is_one_pod_only() -> None:
    inbound = granted(Grant(target="d/t", sources=(Source(pod="a-1.default.pod"),)))
    assert decide(inbound, A).allowed
    assert not decide(inbound, Caller(A.identity, ("a-2.default.pod",))).allowed


def test_an_empty_identity_is_nobodys() -> None:
    assert not decide(granted(Grant(target="d/t", sources=(Source(),))), NOBODY).allowed


def test_what_is_not_http_needs_a_grant_without_http() -> None:
    authorizer = Authorizer(granted(Grant(target="d/t", sources=FROM_A, http=(HttpMatch(),))), OWN)
    assert not authorizer.decide(A, 8080, None).allowed
    assert Authorizer(granted(Grant(target="d/t", sources=FROM_A)), OWN).decide(A, 8080, None).allowed


def test_each_request_of_one_caller_is_judged_anew() -> None:
    authorizer = Authorizer(granted(Grant(target="d/t", sources=FROM_A, http=(HttpMatch(methods=("GET",)),))), OWN)
    assert [authorizer.decide(A, 8080, asked(method)).allowed for method in ("GET", "POST", "GET")] == [
        True,
        False,
        True,
    ]


def test_in_audit_mode_what_would_be_denied_goes_on_and_is_known() -> None:
    verdict = decide(Inbound(audit=True, default_policy="deny"), A)
    assert verdict.allowed
    assert verdict.reason is Reason.DENIED


@pytest.mark.parametrize(
    ("grant", "port", "looks"),
    [
        (Grant(target="d/t", http=(HttpMatch(path="/a"),)), 8080, True),
        (Grant(target="d/t", http=(HttpMatch(path=".*"),)), 8080, False),
        (Grant(target="d/t", ports=(9090,), http=(HttpMatch(path="/a"),)), 8080, False),
        (Grant(target="d/t", ports=(9090,), http=(HttpMatch(path="/a"),)), 9090, True),
        (Grant(target="d/t"), 8080, False),
    ],
)
def test_where_a_path_condition_is_in_force(grant: Grant, port: int, looks: bool) -> None:
    assert Authorizer(granted(grant), OWN).looks_at_path(port) is looks


def test_where_header_conditions_are_in_force_their_names_are_guarded() -> None:
    grant = Grant(target="d/t", ports=(9090,), http=(HttpMatch(headers=(("x-role", "user"),)), HttpMatch(path="/a")))
    authorizer = Authorizer(granted(grant), OWN)
    guard = authorizer.guard(9090)
    assert guard is not None
    assert guard.look_alike([b"X_Role: admin\r\n"]) == "x_role"
    assert authorizer.guard(8080) is None
