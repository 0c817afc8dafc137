"""Who is taken: four algorithms, the breaker and slow start, as pure arithmetic."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from proxy.balance import EWMA, Balancer, Balancers, Hash, LeastRequest, RoundRobin, seed_of
from proxy.breaker import Circuit
from proxy.contract.config import Balance, Breaker
from proxy.load import DECAY, NOISE, SLOW_START, Load

BREAKER = Breaker(consecutive_failures=1, min_penalty=5.0, max_penalty=5.0)


class Endpoint:
    """An endpoint with a name, there for ``age`` seconds at 0.0."""

    def __init__(self, name: str, rtt: float | None = None, pending: int = 0, age: float = 100 * DECAY) -> None:
        self.name = name
        self.seed = seed_of(name)
        self.circuit = Circuit()
        self.load = Load(-age)
        self.load.pending = pending
        if rtt is not None:
            self.load.observe(rtt, 0.0)

    def eject(self, now: float = 0.0) -> Endpoint:
        """Ejected by its breaker for 5 s."""
        self.circuit.failed(BREAKER, now, lambda: 0.0, probe=False)
        return self


def dice(*numbers: float) -> Callable[[], float]:
    """Randomness as it is told."""
    rest = list(numbers)
    return lambda: rest.pop(0)


def three(age: float = 100 * DECAY) -> list[Endpoint]:
    return [Endpoint(name, age=age) for name in "abc"]


def shares(
    endpoints: list[Endpoint], balancer: Balancer = EWMA, now: float = 0.0, draws: int = 4000, by_key: bool = False
) -> dict[str, float]:
    """The part of draws that each endpoint gets; ``by_key``: each draw is another value of the header."""
    source = random.Random(7)
    taken: Counter[str] = Counter()
    for number in range(draws):
        found = balancer.choose(endpoints, now, source.random, key=f"user-{number}" if by_key else None)
        assert found is not None
        taken[found.name] += 1
    return {name: count / draws for name, count in taken.items()}


def turns(balancer: Balancer, endpoints: list[Endpoint], count: int, now: float = 0.0) -> str:
    source = random.Random(1)
    found = [balancer.choose(endpoints, now, source.random) for _ in range(count)]
    return "".join(endpoint.name for endpoint in found if endpoint is not None)


# -- what all have in common --------------------------------------------------------------------

ALL = [EWMA, LeastRequest(), RoundRobin(0), Hash("x-user")]
every_algorithm = pytest.mark.parametrize("balancer", ALL, ids=lambda one: type(one).__name__)


@every_algorithm
def test_nobody_to_choose_from(balancer: Balancer) -> None:
    assert balancer.choose([], 0.0, dice()) is None


@every_algorithm
def test_the_only_one_needs_no_dice(balancer: Balancer) -> None:
    one = Endpoint("a", age=0.0)
    assert balancer.choose([one], 0.0, dice(), key="x") is one


@every_algorithm
def test_who_has_failed_the_request_is_left_out(balancer: Balancer) -> None:
    a, b, c = three()
    for key in (None, "x", "y", "z"):
        found = balancer.choose([a, b, c], 0.0, random.random, excluded=(a, b), key=key)
        assert found is c
    assert balancer.choose([a, b], 0.0, dice(), excluded=(a, b)) is None


@every_algorithm
def test_who_is_ejected_is_left_out_by_those_who_have_a_breaker(balancer: Balancer) -> None:
    a, b, c = three()
    a.eject()
    b.eject()
    for key in ("x", "y", "z"):
        assert balancer.choose([a, b, c], 0.0, random.random, (), key, BREAKER) is c
    found = {balancer.choose([a, b], 0.0, random.random, (), f"{n}", None) for n in range(50)}
    assert found == {a, b}


@every_algorithm
def test_with_all_ejected_there_is_nobody_until_a_probe_is_due(balancer: Balancer) -> None:
    a, b = Endpoint("a").eject(0.0), Endpoint("b").eject(1.0)

    assert balancer.choose([a, b], 4.9, dice(), (), "x", BREAKER) is None
    assert balancer.choose([a, b], 5.0, dice(), (), "x", BREAKER) is a
    assert a.circuit.begin(BREAKER, 5.0)
    assert balancer.choose([a, b], 5.1, dice(), (), "x", BREAKER) is None
    assert balancer.choose([a, b], 6.0, dice(), (), "x", BREAKER) is b


@pytest.mark.parametrize("balancer", [EWMA, LeastRequest(), RoundRobin(0)], ids=lambda one: type(one).__name__)
def test_all_get_their_share(balancer: Balancer) -> None:
    assert all(abs(share - 1 / 3) < 0.05 for share in shares(three(), balancer).values())


@pytest.mark.parametrize(
    ("balancer", "by_key"), [(EWMA, False), (LeastRequest(), False), (RoundRobin(0), False), (Hash("x"), True)]
)
def test_an_endpoint_that_has_just_become_ready_gets_its_share_little_by_little(
    balancer: Balancer, by_key: bool
) -> None:
    endpoints = [Endpoint("a", 0.03), Endpoint("b", 0.03), Endpoint("new", 0.03, age=0.0)]
    seen = [shares(endpoints, balancer, now, by_key=by_key).get("new", 0.0) for now in (0.0, 5.0, SLOW_START)]
    first, later, last = seen

    assert 0.01 < first < 0.13
    assert first + 0.05 < later < last - 0.03
    assert last > 0.25


@pytest.mark.parametrize(
    ("balancer", "by_key"), [(EWMA, False), (LeastRequest(), False), (RoundRobin(0), False), (Hash("x"), True)]
)
def test_where_all_are_new_none_has_to_wait(balancer: Balancer, by_key: bool) -> None:
    found = shares(three(age=0.0), balancer, 3.0, by_key=by_key)

    assert all(abs(share - 1 / 3) < 0.05 for share in found.values())


# -- ewma ---------------------------------------------------------------------------------------


def test_two_different_ones_are_drawn() -> None:
    idle, busy = Endpoint("idle"), Endpoint("busy", pending=5)
    for first in (0.0, 0.4, 0.6, 0.99):
        assert EWMA.choose([idle, busy], 0.0, dice(first, 0.0)) is idle


def test_fewer_requests_in_flight_wins_for_certain() -> None:
    assert shares([Endpoint("idle", 0.002), Endpoint("busy", 0.001, pending=1)]) == {"idle": 1.0}


def test_a_much_slower_one_loses_although_it_is_idle() -> None:
    assert shares([Endpoint("slow", 1.0), Endpoint("busy", 0.001, pending=1)]) == {"busy": 1.0}


def test_the_quicker_is_likelier_in_proportion() -> None:
    found = shares([Endpoint("quick", 0.0), Endpoint("slow", 4 * NOISE)])
    assert abs(found["slow"] - 1 / 6) < 0.03


def test_failing_fast_is_not_being_fast() -> None:
    failing, sound = Endpoint("failing", 0.001), Endpoint("sound", 0.001)
    failing.load.failed(0.0)
    assert shares([failing, sound])["sound"] > 0.85
    failing.load.failed(0.0)
    assert shares([failing, sound])["sound"] > 0.95


def test_an_endpoint_that_is_sound_again_has_its_share_again_after_a_few_answers() -> None:
    failing, sound = Endpoint("failing", 0.001), Endpoint("sound", 0.001)
    for _ in range(10):
        failing.load.failed(0.0)
    for _ in range(10):
        failing.load.observe(0.001, 0.0)
    assert shares([failing, sound])["failing"] > 0.45


# -- least-request ------------------------------------------------------------------------------


def test_the_one_with_fewer_requests_in_flight_however_slow_it_is() -> None:
    slow, busy = Endpoint("slow", 1.0, pending=1), Endpoint("busy", 0.001, pending=2)
    assert shares([slow, busy], LeastRequest()) == {"slow": 1.0}


def test_an_endpoint_that_fails_fast_is_idle_for_a_bad_reason() -> None:
    failing, sound = Endpoint("failing"), Endpoint("sound", pending=1)
    for _ in range(3):
        failing.load.failed(0.0)
    assert shares([failing, sound], LeastRequest()) == {"sound": 1.0}


# -- round-robin --------------------------------------------------------------------------------


def test_turns() -> None:
    assert turns(RoundRobin(0), three(), 7) == "abcabca"
    assert turns(RoundRobin(2), three(), 4) == "cabc"
    assert turns(RoundRobin(0), three(age=0.0), 7, now=3.0) == "abcabca"


def test_turns_go_on_when_endpoints_come_and_go() -> None:
    a, b, c = three()
    balancer = RoundRobin(0)

    assert turns(balancer, [a, b, c], 4) == "abca"
    assert Counter(turns(balancer, [a, c], 10)) == {"a": 5, "c": 5}


def test_turns_among_those_that_are_not_ejected() -> None:
    a, b, c = three()
    b.eject()
    balancer = RoundRobin(0)
    found = [balancer.choose([a, b, c], 0.0, dice(), (), None, BREAKER) for _ in range(6)]

    assert Counter(found) == {a: 3, c: 3}


# -- hash ---------------------------------------------------------------------------------------


def owners(endpoints: list[Endpoint], now: float = 0.0, keys: int = 3000) -> dict[str, str]:
    """Whose each value of the header is."""
    balancer = Hash("x-user")
    found = {}
    for number in range(keys):
        endpoint = balancer.choose(endpoints, now, dice(), key=f"user-{number}")
        assert endpoint is not None
        found[f"user-{number}"] = endpoint.name
    return found


def test_values_are_spread_and_stay_whatever_the_order() -> None:
    endpoints = [Endpoint(f"web-{number}") for number in range(5)]
    before = owners(endpoints)

    assert owners(list(reversed(endpoints))) == before
    assert all(500 < count < 700 for count in Counter(before.values()).values())


def test_when_an_endpoint_goes_only_its_values_move_and_to_all_others() -> None:
    endpoints = [Endpoint(f"web-{number}") for number in range(5)]
    before, after = owners(endpoints), owners(endpoints[1:])
    moved = {key for key in before if before[key] != after[key]}

    assert {before[key] for key in moved} == {"web-0"}
    assert {after[key] for key in moved} == {"web-1", "web-2", "web-3", "web-4"}


def test_when_an_endpoint_comes_it_takes_its_values_from_all_each_once() -> None:
    endpoints = [Endpoint(f"web-{number}") for number in range(4)]
    newcomer, before = Endpoint("new", age=0.0), owners(endpoints)
    seen = [owners([*endpoints, newcomer], now) for now in (0.0, 3.0, 6.0, SLOW_START)]
    taken = [{key for key, name in one.items() if name == "new"} for one in seen]

    assert taken[0] < taken[1] < taken[2] < taken[3]
    assert {before[key] for key in taken[3]} == {"web-0", "web-1", "web-2", "web-3"}


def test_a_request_without_the_header_goes_by_load() -> None:
    idle, busy = Endpoint("idle"), Endpoint("busy", pending=5)
    assert Hash("x-user").choose([idle, busy], 0.0, dice(0.0, 0.0)) is idle


def test_a_hash_is_the_same_in_every_process() -> None:
    assert seed_of("alice") == 5614559425216174729
    assert seed_of("") != seed_of("\udc80")


# -- which algorithm ----------------------------------------------------------------------------


def test_as_the_backend_says_else_as_the_root_says_else_ewma() -> None:
    balancers = Balancers("default/client")
    turn, least = Balance(algorithm="round-robin"), Balance(algorithm="least-request")
    by_user = balancers.get("default/v1:80", Balance(algorithm="hash", header="x-user"), turn)

    assert balancers.get("default/v1:80", None) is EWMA
    assert balancers.get("default/v1:80", Balance(), turn) is EWMA
    assert isinstance(balancers.get("default/v1:80", None, least), LeastRequest)
    assert isinstance(balancers.get("default/v1:80", turn, least), RoundRobin)
    assert (type(by_user), by_user.header) == (Hash, "x-user")


def test_turns_outlive_tables_and_begin_elsewhere_for_each_pod() -> None:
    turn = Balance(algorithm="round-robin")
    balancers = Balancers("default/client-0")
    first = balancers.get("default/web:80", turn)
    turns(first, three(), 2)
    assert balancers.get("default/web:80", turn) is first
    balancers.keep({"default/api:80"})
    assert balancers.get("default/web:80", turn) is not first

    starts = Counter(turns(Balancers(f"default/client-{n}").get("default/web:80", turn), three(), 1) for n in range(60))
    assert all(count > 10 for count in starts.values())
    assert len(starts) == 3
