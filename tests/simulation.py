"""Callers, services and time, without any of them being real: what the decisions of ``proxy`` do when put together.

A process is a generator that yields the seconds it wants to sleep. All chance
comes from one seed, so a run is the same every time.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from itertools import count

from proxy.balance import EWMA, Balancer
from proxy.breaker import is_failure
from proxy.budget import Budget, terms_of
from proxy.contract.config import Breaker, Endpoint, Retry
from proxy.endpoints import EndpointState
from proxy.errors import Reason
from proxy.retry import Amplification, Attempts, Decision, Outcome, Scope, compile_retry, decide, left_out, wait_left

Process = Generator[float, None, None]
Serving = Generator[float, None, Outcome]
POLL = 0.02
OK, BUSY, BROKEN = Outcome(200), Outcome(503), Outcome(502, Reason.RESET)
REFUSED = Outcome(502, Reason.CONNECT_FAILURE)


class World:
    """Time and chance."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.random = random.Random(seed).random
        self._order = count()
        self._due: list[tuple[float, int, Process]] = []

    def start(self, process: Process, at: float = 0.0) -> None:
        """Begin ``process`` at a moment."""
        heapq.heappush(self._due, (max(at, self.now), next(self._order), process))

    def run(self) -> None:
        """Until nobody sleeps any more."""
        while self._due:
            self.now, _, process = heapq.heappop(self._due)
            wait = next(process, None)
            if wait is not None:
                self.start(process, self.now + wait)


@dataclass(kw_only=True)
class Pod:
    """One endpoint as a caller sees it, and the application behind it."""

    name: str
    app: Callable[[Pod], Serving]
    ready: bool = True
    hits: list[float] = field(default_factory=list)
    amplification: Amplification = field(default_factory=Amplification)


@dataclass(kw_only=True)
class Caller:
    """The outbound half of a sidecar for one Service; ``marks``: it tells its pod of what was retried in vain."""

    world: World
    pods: Sequence[Pod]
    retry: Retry | None = None
    balancer: Balancer = EWMA
    breaker: Breaker | None = None
    own: Amplification = field(default_factory=Amplification)
    marks: bool = True
    header: Callable[[], str | None] = lambda: None
    states: dict[str, EndpointState] = field(default_factory=dict)
    retries: int = 0

    def __post_init__(self) -> None:
        self._budget = None if self.retry is None else Budget(terms_of(self.retry), self.world.now)

    def call(self) -> Serving:
        """One GET; what the application gets for it."""
        world, began = self.world, self.world.now
        attempts = None
        if self.retry is not None and self._budget is not None:
            self._budget.request(began)
            attempts = Attempts(compile_retry(self.retry), self._budget)
        tried: tuple[str, ...] = ()
        key = self.header()
        while True:
            pod = self._pick(tried, key)
            if pod is None:
                scope = Scope.NOTHING if self.retry is None else Scope.REPEATS
                if not wait_left(scope, began, None, world.now) or any(pod.ready for pod in self.pods):
                    return Outcome(503, Reason.NO_ENDPOINT)
                yield POLL
                continue
            outcome = yield from self._attempt(pod)
            decision = decide(attempts, outcome, 0, world.now)
            if decision is Decision.RETRY and attempts is not None:
                self.retries += 1
                tried = (*tried, pod.name)
                yield attempts.pause(world.random())
                continue
            if decision.spent and self.marks:
                self.own.spent()
            return Outcome(outcome.status, outcome.word, outcome.grpc, expired=outcome.expired)

    def _pick(self, tried: Sequence[str], key: str | None) -> Pod | None:
        ready = {pod.name: pod for pod in self.pods if pod.ready}
        for name in [name for name in self.states if name not in ready]:
            del self.states[name]
        states = [self._state(name) for name in ready]
        admitted = [state.name for state in states if self.breaker is None or state.circuit.admits(self.world.now)]
        excluded = [self._state(name) for name in left_out(tried, admitted) if name in ready]
        chosen = self.balancer.choose(states, self.world.now, self.world.random, excluded, key, self.breaker)
        return ready[chosen.name] if chosen is not None else None

    def _state(self, name: str) -> EndpointState:
        if name not in self.states:
            self.states[name] = EndpointState(Endpoint(ip="10.0.0.1", port=80, pod=name), self.world.now)
        return self.states[name]

    def _attempt(self, pod: Pod) -> Serving:
        world, state = self.world, self._state(pod.name)
        probe = state.begin(self.breaker, world.now)
        ticket, began = pod.amplification.opened(), world.now
        pod.hits.append(began)
        outcome = yield from pod.app(pod)
        if pod.amplification.marks(ticket, outcome.status):
            outcome = Outcome(outcome.status, outcome.word, outcome.grpc, spent=True, expired=outcome.expired)
        state.load.pending -= 1
        if is_failure(outcome.status):
            state.failed(self.breaker, world.now, world.random, probe=probe)
        else:
            state.answered(world.now - began, world.now, probe=probe)
            state.succeeded()
        return outcome


def answering(outcome: Outcome, seconds: float) -> Callable[[Pod], Serving]:
    """An application that always says the same after as long."""

    def app(_: Pod) -> Serving:
        yield seconds
        return outcome

    return app
