"""Retry, budget, mark, breaker and balancers put together, over minutes that take no time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from simulation import BROKEN, BUSY, OK, REFUSED, Caller, Pod, Process, Serving, World, answering

from proxy.balance import EWMA, Balancer, Hash, LeastRequest, RoundRobin
from proxy.contract.config import Breaker, Retry
from proxy.load import SLOW_START
from proxy.retry import Outcome

# -- the demo: three pods of which each fails every second request -------------------------------

DEMO = Retry(limit=10, statuses=((502, 504),), connect_failure=True, reset=True, budget_ttl=30.0)


def one_after_the_other(caller: Caller, calls: int, seen: list[tuple[Outcome, float]]) -> Process:
    for _ in range(calls):
        began = caller.world.now
        outcome = yield from caller.call()
        seen.append((outcome, caller.world.now - began))


def busy_demo(seed: int, retry: Retry | None) -> tuple[float, float]:
    """The part of 200 calls that succeeded, and their median time in seconds."""
    world = World(seed)

    def app(_: Pod) -> Serving:
        yield 0.003
        return BUSY if world.random() < 0.5 else OK

    seen: list[tuple[Outcome, float]] = []
    pods = [Pod(name=f"retry-{number}", app=app) for number in range(3)]
    world.start(one_after_the_other(Caller(world=world, pods=pods, retry=retry), 200, seen))
    world.run()
    times = sorted(took for _, took in seen)
    return sum(outcome.status == 200 for outcome, _ in seen) / len(seen), times[len(times) // 2]


@pytest.mark.parametrize("seed", range(5))
def test_busy_pods_answer_nearly_always_with_a_policy_and_half_the_time_without(seed: int) -> None:
    assert 0.4 <= busy_demo(seed, None)[0] <= 0.6
    succeeded, median = busy_demo(seed, DEMO)
    assert succeeded >= 0.99
    assert median <= 0.060


@pytest.mark.parametrize("seed", range(5))
def test_crashing_pods_are_waited_for(seed: int) -> None:
    world = World(seed)

    def restart(pod: Pod) -> Process:
        yield 8.0
        pod.ready = True

    def app(pod: Pod) -> Serving:
        if world.random() < 0.5:
            yield 2.0
            if pod.ready:
                world.start(restart(pod), world.now)
                pod.ready = False
            return BROKEN
        yield 0.003
        return OK

    seen: list[tuple[Outcome, float]] = []
    pods = [Pod(name=f"retry-{number}", app=app) for number in range(3)]
    world.start(one_after_the_other(Caller(world=world, pods=pods, retry=DEMO), 12, seen))
    world.run()

    assert sum(outcome.status == 200 and took < 30.0 for outcome, took in seen) >= 11


# -- amplification: three services in a row, the last one fails always ---------------------------

PERSISTENT = Retry(limit=3, statuses=((500, 599),))
SECONDS, RATE = 30, 100


def chain(*, marks: bool) -> tuple[int, list[int]]:
    """Requests that reach the last of three services, and the retries of each caller, outermost first."""
    world = World(3)
    last = Pod(name="c", app=answering(BUSY, 0.002))
    callers: list[Caller] = []
    behind = last
    for name in ("b", "a"):
        pod = Pod(name=name, app=answering(OK, 0.0))
        caller = Caller(world=world, pods=[behind], retry=PERSISTENT, own=pod.amplification, marks=marks)

        def app(_: Pod, caller: Caller = caller) -> Serving:
            outcome = yield from caller.call()
            return Outcome(500) if outcome.status >= 500 else OK

        pod.app = app
        callers.insert(0, caller)
        behind = pod
    client = Caller(world=world, pods=[behind], retry=PERSISTENT)
    for number in range(SECONDS * RATE):
        world.start(one_after_the_other(client, 1, []), number / RATE)
    world.run()
    return len(last.hits), [caller.retries for caller in (client, *callers)]


def test_only_the_lowest_caller_retries() -> None:
    requests = SECONDS * RATE
    bound = (1 + PERSISTENT.budget_ratio) * requests + PERSISTENT.budget_min * (SECONDS + 1 + PERSISTENT.budget_ttl)

    hits, retries = chain(marks=True)
    assert hits <= bound
    assert retries[:2] == [0, 0]
    assert retries[2] == hits - requests

    assert chain(marks=False)[0] > 1.3 * bound


# -- an endpoint that goes bad under 300 requests a second, and comes back ------------------------

BREAKER = Breaker(consecutive_failures=5, min_penalty=1.0, max_penalty=4.0)
BAD, GOOD, END = 10.0, 20.0, 41.0


def turning_bad(world: World, how: Outcome, seconds: float) -> Callable[[Pod], Serving]:
    """Answers in 5 ms, but from ``BAD`` to ``GOOD`` as said."""

    def app(_: Pod) -> Serving:
        bad = BAD <= world.now < GOOD
        yield seconds if bad else 0.005
        return how if bad else OK

    return app


def share_of_one_that_turns_bad(
    balancer: Balancer, breaker: Breaker | None, how: Outcome, seconds: float
) -> Callable[[float, float], float]:
    """From moment to moment: the part of requests that go to it."""
    world = World(11)
    users = iter(range(10**9))
    pods = [Pod(name=f"web-{number}", app=answering(OK, 0.005)) for number in range(3)]
    pods[0].app = turning_bad(world, how, seconds)
    caller = Caller(world=world, pods=pods, balancer=balancer, breaker=breaker, header=lambda: f"user-{next(users)}")
    for number in range(int(300 * END)):
        world.start(one_after_the_other(caller, 1, []), number / 300)
    world.run()

    def share(begin: float, end: float) -> float:
        hits = [sum(begin <= hit < end for hit in pod.hits) for pod in pods]
        return hits[0] / sum(hits)

    return share


@pytest.mark.parametrize(
    ("how", "seconds"),
    [
        pytest.param(REFUSED, 0.0, id="dead"),
        pytest.param(BUSY, 0.001, id="failing fast"),
        pytest.param(BROKEN, 2.0, id="resetting late"),
    ],
)
@pytest.mark.parametrize(
    ("balancer", "breaker"),
    [
        pytest.param(EWMA, None, id="ewma alone"),
        pytest.param(LeastRequest(), None, id="least-request alone"),
        pytest.param(EWMA, BREAKER, id="ewma and breaker"),
        pytest.param(LeastRequest(), BREAKER, id="least-request and breaker"),
        pytest.param(RoundRobin(0), BREAKER, id="round-robin and breaker"),
        pytest.param(Hash("x-user"), BREAKER, id="hash and breaker"),
    ],
)
def test_requests_move_away_within_a_second_and_come_back(
    balancer: Balancer, breaker: Breaker | None, how: Outcome, seconds: float
) -> None:
    share = share_of_one_that_turns_bad(balancer, breaker, how, seconds)

    known = seconds if isinstance(balancer, RoundRobin | Hash) else 0.0  # these look at verdicts alone
    assert share(0.0, BAD) > 0.25
    assert share(BAD + 1.0 + known, GOOD) < 0.02
    # Longest penalty and slow start.
    back = GOOD + (2.0 if breaker is None else BREAKER.max_penalty + SLOW_START)
    assert share(back + 1.0, back + 6.0) > 0.2


@pytest.mark.parametrize("seconds", [0.2, 0.5, 1.0, 2.0])
def test_a_slow_endpoint_is_left_within_a_second_and_back_within_ten(seconds: float) -> None:
    share = share_of_one_that_turns_bad(EWMA, None, OK, seconds)

    assert share(0.0, BAD) > 0.25
    assert share(BAD + 1.0, GOOD) < 0.02
    assert share(GOOD + 8.0, GOOD + 10.0) > 0.15


@pytest.mark.parametrize("seconds", [0.1, 1.0])
def test_an_endpoint_of_which_every_tenth_answer_is_slow_does_not_come_back(seconds: float) -> None:
    """Quick answers in between must not make it forgotten that it is slow."""
    world = World(5)

    def app(_: Pod) -> Serving:
        yield seconds if world.random() < 0.1 else 0.005
        return OK

    pods = [Pod(name=f"web-{number}", app=answering(OK, 0.005)) for number in range(3)]
    pods[0].app = app
    caller = Caller(world=world, pods=pods)
    for number in range(int(300 * END)):
        world.start(one_after_the_other(caller, 1, []), number / 300)
    world.run()

    assert len(pods[0].hits) / sum(len(pod.hits) for pod in pods) < 0.05
