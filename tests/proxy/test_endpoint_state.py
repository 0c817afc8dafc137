"""Idle connections: which one is used again, which is not; verdicts on attempts; what a new config leaves of it all."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any, cast

import pytest

from proxy.contract.config import Breaker, Endpoint
from proxy.endpoints import AGE_LIMIT, IDLE_LIMIT, MAX_IDLE, Endpoints, EndpointState, has_news
from proxy.http1.client import ClientConnection
from proxy.load import MAX_TROUBLE

pytestmark = pytest.mark.source

ENDPOINT = Endpoint(ip="127.0.0.1", port=80)


class Idle:
    """A connection as far as a pool looks at it."""

    def __init__(self, *, opened: float = 0.0, usable: bool = True, fileno: int = -1) -> None:
        self.opened = self.idle_since = opened
        self.usable = usable
        self.fileno = fileno
        self.closed = False

    def close(self) -> None:
        self.closed = True


def idle(**given: Any) -> Any:
    return cast(ClientConnection, Idle(**given))


@pytest.fixture
def pool() -> EndpointState:
    return EndpointState(ENDPOINT, 0.0)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        yield near, far


def test_the_most_recently_used_connection_first(pool: EndpointState) -> None:
    first, second = idle(), idle()
    pool.release(first, 1.0)
    pool.release(second, 2.0)

    assert pool.acquire(3.0, certain=False) is second
    assert pool.acquire(3.0, certain=False) is first
    assert pool.acquire(3.0, certain=False) is None


def test_connections_idle_too_long_or_lost_are_closed_instead(pool: EndpointState) -> None:
    old, lost = idle(), idle()
    pool.release(old, 0.0)
    pool.release(lost, IDLE_LIMIT)
    lost.usable = False

    assert pool.acquire(IDLE_LIMIT + 0.1, certain=False) is None
    assert (old.closed, lost.closed) == (True, True)


def test_what_is_not_kept(pool: EndpointState) -> None:
    aged, broken = idle(), idle(usable=False)
    pool.release(aged, AGE_LIMIT + 0.1)
    pool.release(broken, 1.0)
    assert (aged.closed, broken.closed, len(pool.idle)) == (True, True, 0)

    many = [idle() for _ in range(MAX_IDLE + 1)]
    for connection in many:
        pool.release(connection, 1.0)
    assert (len(pool.idle), many[-1].closed) == (MAX_IDLE, True)

    pool.gone = True
    late = idle()
    pool.release(late, 1.0)
    assert late.closed


def test_a_request_that_must_not_be_sent_twice_looks_first(
    pool: EndpointState, pair: tuple[socket.socket, socket.socket]
) -> None:
    near, far = pair
    connection = idle(fileno=near.fileno())
    pool.release(connection, 0.0)
    assert [pool.acquire(0.0, certain=True)] == [connection]

    pool.release(connection, 0.0)
    far.close()
    assert pool.acquire(0.0, certain=True) is None
    assert connection.closed


def test_news_are_an_end_or_bytes_out_of_turn(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair

    assert not has_news(near.fileno())
    far.send(b"x")
    assert has_news(near.fileno())
    assert has_news(-1)


def test_a_connection_lost_while_idle_is_forgotten(pool: EndpointState) -> None:
    connection = idle()
    pool.release(connection, 0.0)
    pool.forget(connection)
    pool.forget(connection)

    assert pool.acquire(0.0, certain=False) is None


def test_endpoints_that_no_config_names_any_more_close_what_they_have() -> None:
    endpoints = Endpoints(lambda: 5.0)
    kept, dropped = endpoints.get(ENDPOINT), endpoints.get(Endpoint(ip="127.0.0.1", port=81))
    one, other = idle(), idle()
    kept.release(one, 0.0)
    dropped.release(other, 0.0)
    endpoints.keep([ENDPOINT])

    assert endpoints.get(ENDPOINT) is kept
    assert endpoints.get(dropped.endpoint) is not dropped
    assert (one.closed, other.closed, dropped.gone) == (False, True, True)


def test_a_new_certificate_retires_what_is_idle_and_what_is_in_use_when_it_comes_back() -> None:
    endpoints = Endpoints(lambda: 5.0)
    pool = endpoints.get(ENDPOINT)
    waiting, busy, later = idle(opened=1.0), idle(opened=2.0), idle(opened=6.0)
    pool.release(waiting, 3.0)
    endpoints.retire()
    assert (waiting.closed, busy.closed) == (True, False)

    pool.release(busy, 7.0)
    pool.release(later, 7.0)
    assert (busy.closed, later.closed) == (True, False)


def test_endpoints_have_names_for_people() -> None:
    assert EndpointState(ENDPOINT, 0.0).name == "127.0.0.1:80"
    assert EndpointState(Endpoint(ip="127.0.0.1", port=80, pod="web-0"), 0.0).name == "web-0"


# -- verdicts on attempts ------------------------------------------------------------------------

TWO = Breaker(consecutive_failures=2, min_penalty=1.0, max_penalty=1.0)


def calm() -> float:
    return 0.0


def test_an_attempt_counts_as_in_flight_and_its_answer_as_a_sample(pool: EndpointState) -> None:
    before = pool.load.cost(20.0)
    assert not pool.begin(None, 20.0)
    assert pool.load.cost(20.0) == 2 * before
    pool.answered(5.0, 20.0, probe=False)
    assert pool.load.cost(20.0) > 10.0


def test_from_failures_to_ejection_to_probe_to_a_new_beginning(pool: EndpointState) -> None:
    for _ in range(2):
        assert not pool.begin(TWO, 20.0)
        pool.failed(TWO, 20.0, calm, probe=False)
        pool.load.pending -= 1
    assert not pool.circuit.admits(20.0)
    assert pool.load.trouble(20.0) == 0.0  # the balancer has nothing against it: the breaker has

    assert pool.begin(TWO, 21.0)
    assert not pool.circuit.admits(21.0)
    pool.answered(0.001, 21.0, probe=True)
    assert pool.circuit.admits(21.0)
    assert pool.load.warmth(21.0) < 0.2  # back, as one that has just become ready


def test_failures_without_a_breaker_are_the_balancers_business(pool: EndpointState) -> None:
    for _ in range(20):
        pool.failed(None, 20.0, calm, probe=False)

    assert pool.circuit.admits(21.0)
    assert pool.load.trouble(20.0) == MAX_TROUBLE


def test_a_client_that_gave_up_waiting_says_how_slow_the_endpoint_is(pool: EndpointState) -> None:
    pool.begin(None, 20.0)
    pool.unanswered(3.0, 23.0, probe=False)

    assert pool.load.cost(23.0) > 6.0


def test_a_probe_that_was_given_up_leaves_the_next_request_to_be_one(pool: EndpointState) -> None:
    for _ in range(2):
        pool.failed(TWO, 20.0, calm, probe=False)
    assert pool.begin(TWO, 21.0)
    pool.unanswered(0.1, 21.1, probe=True)

    assert pool.begin(TWO, 21.1)
