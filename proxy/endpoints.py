"""What the sidecar remembers of each endpoint while configs come and go: load, breaker and idle connections.

A routing table is swapped whole; this state is keyed by the endpoint beside
it. ``proxy.table`` looks endpoints up here, ``proxy.forward`` takes connections
from them.
"""

from __future__ import annotations

import math
import select
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from proxy.balance import seed_of
from proxy.breaker import Circuit
from proxy.contract.config import Breaker, Endpoint
from proxy.load import Load

if TYPE_CHECKING:
    from proxy.counters import Series
    from proxy.http1.client import ClientConnection

# Idle connections kept per endpoint: as many as a busy caller has requests in flight at once.
MAX_IDLE: Final = 256
# Seconds a connection may lie idle: below what applications commonly allow (60 s and more).
IDLE_LIMIT: Final = 30.0
# Seconds a connection may be used at all, below the life of certificates, whose renewal ends it as well.
AGE_LIMIT: Final = 1800.0


class EndpointState:
    """One endpoint: its running load, its breaker's memory, its idle connections.

    An attempt is ``begin``, ``answered`` when its answer begins, then one of ``succeeded``, ``failed``
    and ``unanswered`` as its verdict; ``load.pending`` goes down again when the whole exchange is over.
    ``series``: where requests to it are counted.
    """

    __slots__ = ("_retired", "circuit", "endpoint", "gone", "idle", "load", "name", "seed", "series")

    def __init__(self, endpoint: Endpoint, now: float) -> None:
        self.endpoint = endpoint
        self.load = Load(now)
        self.circuit = Circuit()
        self.idle: deque[ClientConnection] = deque()
        self.gone = False
        self._retired = -math.inf
        self.name = endpoint.pod or f"{endpoint.ip}:{endpoint.port}"
        self.seed = seed_of(self.name)
        self.series: dict[tuple[str, str, str, str], Series] = {}

    def begin(self, breaker: Breaker | None, now: float) -> bool:
        """An attempt is sent here; whether it is the breaker's probe, which its verdict must say again."""
        self.load.pending += 1
        return self.circuit.begin(breaker, now)

    def answered(self, rtt: float, now: float, *, probe: bool) -> None:
        """Its answer begins, ``rtt`` seconds after the attempt was first written."""
        self.load.observe(rtt, now)
        if self.circuit.answered(probe=probe):
            self.load.restart(now)

    def succeeded(self) -> None:
        """The verdict: nothing was wrong with the answer."""
        self.circuit.succeeded()

    def failed(self, breaker: Breaker | None, now: float, random: Callable[[], float], *, probe: bool) -> None:
        """The verdict: see ``proxy.breaker.is_failure``, and connections that could not be opened or broke,

        also in the middle of an answer.
        """
        self.load.failed(now)
        if self.circuit.failed(breaker, now, random, probe=probe):
            # The breaker has it in hand now; the probe must not wait until the balancer has forgotten.
            self.load.forget(now)

    def unanswered(self, waited: float, now: float, *, probe: bool) -> None:
        """No verdict: after ``waited`` seconds nobody wanted an answer any more."""
        self.load.unanswered(waited, now)
        self.circuit.abandoned(now, probe=probe)

    def acquire(self, now: float, *, certain: bool) -> ClientConnection | None:
        """An idle connection, the most recently used first; None when there is none worth using.

        ``certain``: the request must not be sent twice, so look whether the
        other end has closed (one poll) before the first byte is written.
        """
        idle = self.idle
        while idle:
            connection = idle.pop()
            if now - connection.idle_since > IDLE_LIMIT or not connection.usable:
                connection.close()
                continue
            if certain and has_news(connection.fileno):
                connection.close()
                continue
            return connection
        return None

    def release(self, connection: ClientConnection, now: float) -> None:
        """Keep a connection whose exchange ended cleanly, unless it is too old or nobody wants it."""
        old = now - connection.opened > AGE_LIMIT or connection.opened <= self._retired
        if self.gone or old or not connection.usable or len(self.idle) >= MAX_IDLE:
            connection.close()
            return
        connection.idle_since = now
        self.idle.append(connection)

    def forget(self, connection: ClientConnection) -> None:
        """A connection that was lost while idle."""
        if connection in self.idle:
            self.idle.remove(connection)

    def retire(self, now: float) -> None:
        """Close what is idle; connections in use close when they come back."""
        self._retired = now
        while self.idle:
            self.idle.pop().close()


def has_news(fileno: int) -> bool:
    """Whether a descriptor that should be silent is readable: closed by the other end, or speaking out of turn."""
    if fileno < 0:
        return True
    poll = select.poll()
    poll.register(fileno, select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))


class Endpoints:
    """All endpoints of the table in force, by value."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._states: dict[Endpoint, EndpointState] = {}

    def get(self, endpoint: Endpoint) -> EndpointState:
        """The state of ``endpoint``, made on first sight."""
        state = self._states.get(endpoint)
        if state is None:
            state = self._states[endpoint] = EndpointState(endpoint, self._now())
        return state

    def keep(self, used: Iterable[Endpoint]) -> None:
        """Forget every endpoint but these."""
        wanted = set(used)
        for endpoint in [endpoint for endpoint in self._states if endpoint not in wanted]:
            state = self._states.pop(endpoint)
            state.gone = True
            state.retire(self._now())

    def retire(self) -> None:
        """Close idle connections everywhere, and those in use when they come back: new certificates are in force."""
        for state in self._states.values():
            state.retire(self._now())
