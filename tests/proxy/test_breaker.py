"""The circuit of one endpoint as time passes."""

from __future__ import annotations

import pytest

from proxy.breaker import Circuit, effective, is_failure
from proxy.contract.config import Breaker

THREE = Breaker(consecutive_failures=3, min_penalty=1.0, max_penalty=8.0)


def calm() -> float:
    """No jitter."""
    return 0.0


def fail(circuit: Circuit, now: float, times: int = 1, *, probe: bool = False) -> bool:
    """Whether the last of some failures ejected the endpoint."""
    ejected = False
    for _ in range(times):
        ejected = circuit.failed(THREE, now, calm, probe=probe)
    return ejected


def tripped() -> Circuit:
    """Ejected at 0.0."""
    circuit = Circuit()
    assert fail(circuit, 0.0, times=3)
    return circuit


def test_failures_in_a_row_eject() -> None:
    circuit = Circuit()

    assert not fail(circuit, 0.0, times=2)
    assert circuit.admits(0.0)
    assert fail(circuit, 0.0)
    assert not circuit.admits(0.0)
    assert not circuit.admits(0.99)


def test_an_answer_in_between_begins_the_count_anew() -> None:
    circuit = Circuit()
    for _ in range(10):
        fail(circuit, 0.0, times=2)
        assert not circuit.answered(probe=False)
        circuit.succeeded()

    assert not circuit.open


def test_answers_that_begin_and_break_eject() -> None:
    circuit = Circuit()
    for _ in range(2):
        circuit.answered(probe=False)
        assert not fail(circuit, 0.0)
    circuit.answered(probe=False)

    assert fail(circuit, 0.0)


def test_one_probe_when_the_penalty_is_over() -> None:
    circuit = tripped()

    assert not circuit.begin(THREE, 0.99)
    assert circuit.admits(1.0)
    assert circuit.begin(THREE, 1.0)
    assert not circuit.admits(1.0)
    assert not circuit.begin(THREE, 1.5)


def test_a_probe_that_is_answered_closes_the_circuit() -> None:
    circuit = tripped()
    circuit.begin(THREE, 1.0)

    assert circuit.answered(probe=True)
    circuit.succeeded()
    assert circuit.admits(1.0)
    assert not circuit.begin(THREE, 1.0)
    assert not fail(circuit, 1.0, times=2)
    assert fail(circuit, 1.0)
    assert circuit.admits(2.0)  # the shortest penalty again


def test_a_probe_whose_answer_breaks_ejects_for_twice_as_long() -> None:
    circuit = tripped()
    circuit.begin(THREE, 1.0)

    assert circuit.answered(probe=True)
    assert circuit.admits(1.1)
    assert fail(circuit, 1.1, probe=True)
    assert not circuit.admits(3.0)
    assert circuit.admits(3.1)


def test_each_probe_that_fails_doubles_the_penalty_up_to_the_longest() -> None:
    circuit, now, penalties = tripped(), 0.0, []
    for _ in range(6):
        due = next(now + step / 2 for step in range(100) if circuit.admits(now + step / 2))
        penalties.append(due - now)
        now = due
        assert circuit.begin(THREE, now)
        assert fail(circuit, now, probe=True)

    assert penalties == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_penalties_are_spread_by_chance() -> None:
    circuit = Circuit()
    for _ in range(3):
        circuit.failed(THREE, 0.0, lambda: 0.5, probe=False)

    assert not circuit.admits(1.24)
    assert circuit.admits(1.25)


def test_what_began_before_the_ejection_changes_nothing_any_more() -> None:
    circuit = tripped()

    assert not fail(circuit, 0.5, times=10)
    assert not circuit.answered(probe=False)
    circuit.succeeded()
    assert not circuit.admits(0.99)
    assert circuit.admits(1.0)


def test_a_probe_without_an_answer_is_followed_by_another_after_as_long_again() -> None:
    circuit = tripped()
    assert circuit.begin(THREE, 5.0)

    assert not circuit.admits(5.9)
    assert circuit.begin(THREE, 6.0)


def test_a_probe_whose_client_went_away_is_made_up_for_at_once() -> None:
    circuit = tripped()
    assert circuit.begin(THREE, 5.0)
    circuit.abandoned(5.1, probe=True)

    assert circuit.begin(THREE, 5.1)


def test_somebody_else_going_away_is_no_reason_for_a_probe() -> None:
    circuit = tripped()
    circuit.abandoned(0.1, probe=False)

    assert not circuit.admits(0.1)


def test_callers_without_a_breaker_take_no_notice_and_send_no_probes() -> None:
    circuit = tripped()

    assert not circuit.begin(None, 5.0)
    assert circuit.admits(5.0)
    for _ in range(100):
        circuit.failed(None, 5.0, calm, probe=False)
    assert Circuit().failed(None, 0.0, calm, probe=False) is False


@pytest.mark.parametrize(
    ("status", "grpc", "failure"),
    [(200, 0, False), (404, 0, False), (429, 0, False), (500, 0, True), (503, 0, True), (504, 0, True)]
    + [(200, code, code in (2, 4, 13, 14, 15)) for code in range(1, 17)],
)
def test_what_counts_as_a_failure(status: int, grpc: int, failure: bool) -> None:
    assert is_failure(status, grpc) is failure


def test_whose_breaker_it_is() -> None:
    own, root, off = Breaker(consecutive_failures=2), Breaker(consecutive_failures=9), Breaker(consecutive_failures=0)

    assert effective(own, root) is own
    assert effective(None, root) is root
    assert effective(off, root) is None
    assert effective(None, off) is None
    assert effective(None, None) is None
