"""Which endpoint inside a backend takes the next attempt. Four algorithms; pure: time and randomness are arguments.

``ewma``, the default: power of two choices over a peak-sensitive moving average
(``proxy.load``). Two endpoints are drawn, the less loaded is taken; where as
many requests are in flight at both, the quicker one is only the likelier, in
proportion, so that one slow answer does not starve an endpoint that is called
now and then.

``least-request`` draws two as well and looks at requests in flight and
failures, not at times. ``round-robin`` takes turns. ``hash`` sends equal values
of a header to the same endpoint as long as it is there (rendezvous hashing:
when an endpoint comes or goes, only its own share of the values moves).

An endpoint that has just become ready gets its share little by little, where
others have been there for longer; one that the breaker (``proxy.breaker``) has ejected gets nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Container, Sequence
from hashlib import blake2b
from typing import Final, Protocol, TypeVar

from proxy.breaker import Circuit
from proxy.contract.config import Balance, Breaker
from proxy.load import Load

_RANGE: Final = 1 << 64
_MASK: Final = _RANGE - 1
# An odd number without pattern (the golden ratio in 64 bits): multiplying by it spreads every bit upwards.
_SPREAD: Final = 0x9E3779B97F4A7C15


class Member(Protocol):
    """What an endpoint shows here; ``seed`` is ``seed_of`` its name."""

    @property
    def load(self) -> Load:
        """Its running estimate."""

    @property
    def circuit(self) -> Circuit:
        """Its breaker."""

    @property
    def seed(self) -> int:
        """Its place among hashes."""


T = TypeVar("T", bound=Member)


class Balancer:
    """One algorithm for one backend; what it remembers lives beside the routing table.

    ``header`` is the header whose value is the ``key``, empty where none is looked at.
    """

    header = ""

    def choose(
        self,
        endpoints: Sequence[T],
        now: float,
        random: Callable[[], float],
        excluded: Collection[T] = (),
        key: str | None = None,
        breaker: Breaker | None = None,
    ) -> T | None:
        """The endpoint for the next attempt, or None when all are ``excluded`` (already tried) or ejected.

        None with an endpoint there and nothing excluded: the breaker says no. ``random``
        gives floats in [0, 1). ``key`` None: the request has no such header.
        """
        if excluded:
            endpoints = [endpoint for endpoint in endpoints if endpoint not in excluded]
        if breaker is not None:
            for endpoint in endpoints:
                if endpoint.circuit.open:
                    endpoints = [endpoint for endpoint in endpoints if endpoint.circuit.admits(now)]
                    break
        if len(endpoints) < 2:
            return endpoints[0] if endpoints else None
        return self._among(endpoints, now, random, key)

    def _among(self, endpoints: Sequence[T], now: float, random: Callable[[], float], key: str | None) -> T:
        """One of at least two."""
        raise NotImplementedError


class Ewma(Balancer):
    """Power of two choices by ``Load.cost``."""

    def _among(self, endpoints: Sequence[T], now: float, random: Callable[[], float], key: str | None) -> T:
        one, other = _two(endpoints, random)
        return _less(one, other, one.load.cost(now), other.load.cost(now), random)


class LeastRequest(Balancer):
    """Power of two choices by ``Load.crowd``."""

    def _among(self, endpoints: Sequence[T], now: float, random: Callable[[], float], key: str | None) -> T:
        one, other = _two(endpoints, random)
        return _less(one, other, one.load.crowd(now), other.load.crowd(now), random)


class RoundRobin(Balancer):
    """All take turns; one that is warming up passes some of its own. ``turn`` is where to begin."""

    def __init__(self, turn: int) -> None:
        self._turn = turn

    def _among(self, endpoints: Sequence[T], now: float, random: Callable[[], float], key: str | None) -> T:
        chosen = endpoints[0]
        for _ in endpoints:
            chosen = endpoints[self._turn % len(endpoints)]
            self._turn += 1
            if chosen.load.warmth(now) == 1.0 or _is_ready_for(random(), chosen, endpoints, now):
                break
        return chosen


class Hash(Balancer):
    """Each value of ``header`` has an endpoint; without the header ``ewma`` decides.

    While an endpoint warms up, it is given its values one after the other, each once and for good.
    """

    def __init__(self, header: str) -> None:
        self.header = header

    def _among(self, endpoints: Sequence[T], now: float, random: Callable[[], float], key: str | None) -> T:
        if key is None:
            return EWMA._among(endpoints, now, random, key)
        point = seed_of(key)
        chosen = first = _nearest(endpoints, point)
        while chosen.load.warmth(now) < 1.0 and not _is_ready_for(point / _RANGE, chosen, endpoints, now):
            endpoints = [endpoint for endpoint in endpoints if endpoint is not chosen]
            if not endpoints:
                return first
            chosen = _nearest(endpoints, point)
        return chosen


EWMA: Final = Ewma()
_LEAST_REQUEST: Final = LeastRequest()


class Balancers:
    """The balancers of all backends, by cluster and algorithm; their turns outlive config swaps.

    ``seed`` (the pod) sets where turns begin, so that many callers do not begin with the same endpoint.
    """

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._turns: dict[str, RoundRobin] = {}

    def get(self, cluster: str, own: Balance | None, root: Balance | None = None) -> Balancer:
        """The balancer for ``cluster``: as its own Service says, else as the root does that the request names."""
        balance = root if own is None else own
        match balance.algorithm if balance is not None else "ewma":
            case "least-request":
                return _LEAST_REQUEST
            case "round-robin":
                if cluster not in self._turns:
                    self._turns[cluster] = RoundRobin(zlib.crc32(f"{self._seed} {cluster}".encode()))
                return self._turns[cluster]
            case "hash":
                return Hash(balance.header if balance is not None else "")
            case _:
                return EWMA

    def keep(self, clusters: Container[str]) -> None:
        """Forget the turns of all clusters but these."""
        self._turns = {cluster: balancer for cluster, balancer in self._turns.items() if cluster in clusters}


def seed_of(name: str) -> int:
    """A number from a name or a header's value, spread over 64 bits and the same in every process."""
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _two(endpoints: Sequence[T], random: Callable[[], float]) -> tuple[T, T]:
    """Two different ones, drawn."""
    count = len(endpoints)
    first = int(random() * count)
    second = int(random() * (count - 1))
    if second >= first:
        second += 1
    return endpoints[first], endpoints[second]


def _less(one: T, other: T, cost: float, alternative: float, random: Callable[[], float]) -> T:
    """The one that costs less; with as many requests in flight at both only the likelier."""
    if one.load.pending != other.load.pending:
        return one if cost <= alternative else other
    return one if random() * (cost + alternative) < alternative else other


def _is_ready_for(draw: float, one: Member, endpoints: Sequence[Member], now: float) -> bool:
    """Whether one that warms up takes what falls to it; ``draw`` in [0, 1). Among equally cold ones each takes all."""
    warmest = max(endpoint.load.warmth(now) for endpoint in endpoints)
    return draw * warmest < one.load.warmth(now)


def _nearest(endpoints: Sequence[T], point: int) -> T:
    """The endpoint to which ``point`` belongs (highest random weight)."""
    best = endpoints[0]
    highest = -1
    for endpoint in endpoints:
        mixed = ((point ^ endpoint.seed) * _SPREAD) & _MASK
        if mixed > highest:
            best, highest = endpoint, mixed
    return best
