"""Which requests are sent again after what, how often, and what the callers further up are told."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from proxy.budget import Budget, Terms
from proxy.contract.config import HttpMatch, Retry
from proxy.errors import ConfigRejected, Reason, timeout
from proxy.retry import (
    REPLAY_LIMIT,
    WAIT,
    Amplification,
    Attempts,
    Decision,
    Outcome,
    Scope,
    compile_retry,
    decide,
    first_word,
    left_out,
    told,
    wait_left,
)

RETRY, PASS, SPENT, LIMIT, BUDGET = Decision
BUSY = Outcome(503)


@dataclass(kw_only=True)
class Request:
    """As much of a request as a policy looks at."""

    method: str = "GET"
    policy_path: str = "/"

    def header(self, name: str) -> str | None:
        return "1" if name == "x-probe" else None


def attempts(retries: float = 100.0, **policy: object) -> Attempts:
    """A request under a policy whose budget has ``retries`` left."""
    policy = {"statuses": ((500, 599),), **policy}
    return Attempts(compile_retry(Retry(**policy)), Budget(Terms(minimum=retries, ratio=0.0, ttl=1.0), 0.0))  # type: ignore[arg-type]


def scope(method: str, path: str = "/", routes: tuple[HttpMatch, ...] | None = None) -> Scope:
    return compile_retry(Retry(routes=routes)).scope(Request(method=method, policy_path=path))


# -- which requests ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"])
def test_idempotent_methods_are_repeated(method: str) -> None:
    assert scope(method) is Scope.REPEATS


@pytest.mark.parametrize("method", ["POST", "PATCH", "get", "PURGE"])
def test_other_methods_only_wait_for_an_endpoint(method: str) -> None:
    assert scope(method) is Scope.WAITS


READ = HttpMatch(name="orders/read", methods=("GET",), path="/orders")
PLACE = HttpMatch(name="orders/place", methods=("POST", "PUT"), path="/orders$")
ANY = HttpMatch(name="orders/any", path="/")
PROBE = HttpMatch(name="orders/probe", headers=(("x-probe", "1"),))
STRANGER = HttpMatch(name="orders/stranger", headers=(("x-other", "1"),))


@pytest.mark.parametrize(
    ("method", "path", "routes", "expected"),
    [
        ("GET", "/orders/1", (READ,), Scope.REPEATS),
        ("GET", "/carts", (READ,), Scope.NOTHING),
        ("POST", "/orders", (PLACE,), Scope.REPEATS),
        ("POST", "/orders/1", (PLACE,), Scope.NOTHING),
        ("POST", "/orders", (READ, ANY), Scope.WAITS),
        ("POST", "/orders", (ANY, PLACE), Scope.REPEATS),
        ("POST", "/orders", (PLACE, ANY), Scope.REPEATS),
        ("PATCH", "/orders", (PLACE, PROBE), Scope.WAITS),
        ("GET", "/", (STRANGER, PROBE), Scope.REPEATS),
        ("GET", "/", (STRANGER,), Scope.NOTHING),
        ("GET", "/", (), Scope.NOTHING),
    ],
)
def test_routes_say_which_and_list_by_name_what_is_not_idempotent(
    method: str, path: str, routes: tuple[HttpMatch, ...], expected: Scope
) -> None:
    assert scope(method, path, routes) is expected


def test_whether_the_path_is_needed() -> None:
    assert compile_retry(Retry(routes=(ANY, READ))).looks_at_path
    assert not compile_retry(Retry(routes=(ANY, PROBE))).looks_at_path
    assert not compile_retry(Retry()).looks_at_path


def test_a_pattern_that_is_not_re2() -> None:
    with pytest.raises(ConfigRejected):
        compile_retry(Retry(routes=(HttpMatch(path="("),)))


# -- after what --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "outcome", "wanted"),
    [
        (Retry(statuses=((502, 504),)), Outcome(503), True),
        (Retry(statuses=((502, 504),)), Outcome(500), False),
        (Retry(statuses=((429, 429), (500, 500))), Outcome(429), True),
        (Retry(statuses=((502, 504),)), Outcome(200), False),
        # A failure of ours or of the peer's sidecar is what the client would see: 502.
        (Retry(statuses=((502, 504),)), Outcome(502, Reason.CONNECT_FAILURE), True),
        (Retry(statuses=((502, 504),)), Outcome(502, Reason.RESET), True),
        (Retry(statuses=((502, 504),)), Outcome(502, Reason.BAD_RESPONSE), True),
        (Retry(connect_failure=True), Outcome(502, Reason.CONNECT_FAILURE), True),
        (Retry(connect_failure=True), Outcome(502, Reason.RESET), False),
        (Retry(connect_failure=True), Outcome(502), False),
        (Retry(reset=True), Outcome(502, Reason.RESET), True),
        (Retry(reset=True), Outcome(502, Reason.CONNECT_FAILURE), False),
        (Retry(grpc=(14,)), Outcome(200, grpc=14), True),
        (Retry(grpc=(14,)), Outcome(200, grpc=13), False),
        (Retry(grpc=(14,)), Outcome(200), False),
        # The time for one try is a condition of its own.
        (Retry(try_timeout=1.0), Outcome(504, Reason.TIMEOUT, expired=True), True),
        (Retry(try_timeout=1.0), Outcome(504, Reason.TIMEOUT), False),
        # Another pod would say the same.
        (Retry(statuses=((400, 599),)), Outcome(403, Reason.DENIED), False),
        (Retry(statuses=((400, 599),)), Outcome(403, Reason.NO_IDENTITY), False),
        (Retry(statuses=((400, 599),)), Outcome(400, Reason.BAD_REQUEST), False),
        (Retry(statuses=((400, 599),)), Outcome(502, Reason.LOOP), False),
        (Retry(statuses=((400, 599),)), Outcome(403), True),
        (Retry(statuses=((400, 599),)), Outcome(503, Reason.OVERLOAD), True),
        # It has been retried further down.
        (Retry(statuses=((400, 599),)), Outcome(503, spent=True), False),
    ],
)
def test_conditions(policy: Retry, outcome: Outcome, wanted: bool) -> None:
    assert compile_retry(policy).wants(outcome) is wanted


def test_the_word_of_a_reason() -> None:
    assert first_word(b"connect-failure; web-0: refused") == Reason.CONNECT_FAILURE
    assert first_word(b"reset") == "reset"
    assert first_word(b"") == ""
    assert first_word(b"\xff ; x") == "\xff"


# -- how often ---------------------------------------------------------------------------------


def test_up_to_the_limit() -> None:
    request = attempts(limit=3)

    assert [request.decide(BUSY, 0, 0.0) for _ in range(4)] == [RETRY, RETRY, RETRY, LIMIT]
    assert request.retries == 3


def test_up_to_the_budget() -> None:
    request = attempts(retries=2.0, limit=100)

    assert [request.decide(BUSY, 0, 0.0) for _ in range(3)] == [RETRY, RETRY, BUDGET]


def test_an_answer_that_is_none_of_the_conditions_passes() -> None:
    assert attempts().decide(Outcome(200), 0, 0.0) is PASS
    assert attempts().decide(Outcome(404), 0, 0.0) is PASS
    assert attempts(statuses=((503, 503),)).decide(Outcome(500), 0, 0.0) is PASS


def test_after_a_retry_a_success_passes_and_any_failure_is_spent() -> None:
    for last, expected in ((Outcome(200), PASS), (Outcome(404), PASS), (Outcome(500), SPENT)):
        request = attempts(statuses=((503, 503),))
        assert request.decide(BUSY, 0, 0.0) is RETRY
        assert request.decide(last, 0, 0.0) is expected


def test_a_body_that_was_not_kept_is_not_sent_again() -> None:
    assert attempts().decide(BUSY, REPLAY_LIMIT, 0.0) is RETRY
    assert attempts().decide(BUSY, REPLAY_LIMIT + 1, 0.0) is PASS


def test_what_is_not_granted_costs_nothing() -> None:
    budget = Budget(Terms(minimum=1.0, ratio=0.0, ttl=1.0), 0.0)
    policy = compile_retry(Retry(statuses=((500, 599),)))
    for outcome, size in ((Outcome(200), 0), (BUSY, REPLAY_LIMIT + 1), (Outcome(503, spent=True), 0)):
        Attempts(policy, budget).decide(outcome, size, 0.0)

    assert Attempts(policy, budget).decide(BUSY, 0, 0.0) is RETRY


def counted(budget: Budget) -> tuple[int, int, int, int]:
    """Granted, ended well, refused by the limit, refused by the bucket."""
    retried = budget.retried
    return retried.requests, retried.successes, retried.limit_exceeded, retried.overflow


@pytest.mark.parametrize(
    ("outcomes", "limit", "budget", "expected"),
    [
        pytest.param([Outcome(200)], 3, 9.0, (0, 0, 0, 0), id="no retry needed"),
        pytest.param([Outcome(404)], 3, 9.0, (0, 0, 0, 0), id="no condition"),
        pytest.param([BUSY, Outcome(200)], 3, 9.0, (1, 1, 0, 0), id="retried and well"),
        pytest.param([BUSY, BUSY, Outcome(404)], 3, 9.0, (2, 1, 0, 0), id="retried twice and no failure"),
        pytest.param([BUSY, Outcome(200, grpc=5)], 3, 9.0, (1, 0, 0, 0), id="retried and failed otherwise"),
        pytest.param([BUSY, BUSY, BUSY], 2, 9.0, (2, 0, 1, 0), id="limit"),
        pytest.param([BUSY, BUSY], 9, 1.0, (1, 0, 0, 1), id="budget"),
        pytest.param([BUSY, BUSY], 1, 1.0, (1, 0, 1, 0), id="limit before budget"),
        pytest.param([BUSY, Outcome(503, spent=True)], 9, 9.0, (1, 0, 0, 0), id="retried further down"),
    ],
)
def test_what_is_counted(
    outcomes: list[Outcome], limit: int, budget: float, expected: tuple[int, int, int, int]
) -> None:
    bucket = Budget(Terms(minimum=budget, ratio=0.0, ttl=1.0), 0.0)
    request = Attempts(compile_retry(Retry(statuses=((500, 599),), limit=limit)), bucket)
    for outcome in outcomes:
        request.decide(outcome, 0, 0.0)

    assert counted(bucket) == expected


def test_waits_grow_from_try_to_try() -> None:
    request = attempts(limit=5)
    waits = []
    for _ in range(5):
        assert request.decide(BUSY, 0, 0.0) is RETRY
        waits.append(request.pause(0.0))

    assert waits == [0.025, 0.05, 0.1, 0.2, 0.25]


def test_who_has_spent_retries_is_told_so_with_the_last_failure() -> None:
    failure = timeout("default/web-0: try time-out")
    for decision in (RETRY, PASS, SPENT):
        assert told(failure, decision) is failure
    for decision, why in ((LIMIT, "no retries left"), (BUDGET, "no budget left")):
        refusal = told(failure, decision)
        assert (refusal.status, refusal.reason) == (504, Reason.RETRIES_SPENT)
        assert refusal.detail == f"{why}, last timeout: default/web-0: try time-out"


def test_decisions_that_mark() -> None:
    assert [decision for decision in Decision if decision.spent] == [SPENT, LIMIT, BUDGET]


# -- the mark ----------------------------------------------------------------------------------


def test_a_mark_from_below_is_handed_on_with_or_without_a_policy() -> None:
    marked = Outcome(503, spent=True)

    assert attempts().decide(marked, 0, 0.0) is SPENT
    assert decide(attempts(), marked, 0, 0.0) is SPENT
    assert decide(None, marked, 0, 0.0) is SPENT
    assert decide(None, BUSY, 0, 0.0) is PASS
    assert decide(attempts(), BUSY, 0, 0.0) is RETRY


def test_failures_of_all_requests_open_at_that_moment_are_marked() -> None:
    pod = Amplification()
    before = pod.opened()
    assert not pod.marks(before, 503)

    pod.spent()
    after = pod.opened()

    assert pod.marks(before, 503)
    assert pod.marks(before, 500)
    assert not pod.marks(before, 200)
    assert not pod.marks(before, 404)
    assert not pod.marks(after, 503)


# -- where to, and whether to wait --------------------------------------------------------------


@pytest.mark.parametrize(
    ("tried", "there", "expected"),
    [
        ("", "abc", ""),
        ("a", "abc", "a"),
        ("ab", "abc", "ab"),
        ("abc", "abc", "c"),
        ("abca", "abc", "a"),
        ("a", "a", ""),
        ("ab", "a", "b"),
        ("ab", "", ""),
    ],
)
def test_the_next_attempt_goes_elsewhere_as_long_as_there_is_an_elsewhere(
    tried: str, there: str, expected: str
) -> None:
    assert "".join(left_out(tried, there)) == expected


@pytest.mark.parametrize(
    ("scope", "timeout", "now", "left"),
    [
        (Scope.REPEATS, None, 10.0, WAIT),
        (Scope.WAITS, None, 15.0, WAIT - 5.0),
        (Scope.REPEATS, 3.0, 12.0, 1.0),
        (Scope.REPEATS, 3.0, 14.0, 0.0),
        (Scope.REPEATS, 60.0, 10.0, 60.0),
        (Scope.NOTHING, None, 10.0, 0.0),
    ],
)
def test_waiting_for_an_endpoint(scope: Scope, timeout: float | None, now: float, left: float) -> None:
    assert wait_left(scope, 10.0, timeout, now) == left
