"""The running estimate of one endpoint: peaks, decay, failures, warming up."""

from __future__ import annotations

import math

import pytest

from proxy.load import COLDEST, DECAY, DEFAULT_RTT, FIRST_TROUBLE, MAX_TROUBLE, MOST_HASTE, NOISE, SLOW_START, Load

OLD = -SLOW_START


def measured(rtt: float, now: float = 0.0) -> Load:
    """An endpoint that has been there for long, and what it was taken to need is forgotten."""
    load = Load(now - 100 * DECAY)
    load.observe(rtt, now)
    return load


def test_a_peak_is_believed_at_once_and_forgotten_gradually() -> None:
    load = measured(0.001)
    load.observe(0.5, 1.0)
    assert load.cost(1.0) == 0.5 + NOISE
    load.observe(0.001, 1.1)
    assert 0.4 < load.cost(1.1) < 0.5 + NOISE
    load.observe(0.001, 100.0)
    assert load.cost(100.0) < 0.002 + NOISE


def test_the_further_below_an_answer_is_the_sooner_it_is_believed() -> None:
    def after_a_second(before: float, answer: float) -> float:
        load = measured(before)
        load.observe(answer, 1.0)
        return load.cost(1.0) - NOISE

    def blended(before: float, answer: float, haste: float) -> float:
        weight = math.exp(-haste / DECAY)
        return before * weight + answer * (1.0 - weight)

    assert after_a_second(0.1, 0.095) == pytest.approx(blended(0.1, 0.095, 1.0))
    assert after_a_second(0.001, 0.0005) == pytest.approx(blended(0.001, 0.0005, 1.0)), "less than noise"
    assert after_a_second(0.1, 0.015) == pytest.approx(blended(0.1, 0.015, 5.0))
    assert after_a_second(5.0, 0.005) == pytest.approx(blended(5.0, 0.005, MOST_HASTE))


def test_between_samples_the_estimate_decays() -> None:
    load = Load(OLD)
    load.forget(0.0)
    assert load.cost(0.0) == DEFAULT_RTT + NOISE
    assert load.cost(DECAY) < DEFAULT_RTT / 2 + NOISE


def test_the_first_sample_takes_the_place_of_the_guess() -> None:
    load = Load(OLD)
    load.observe(0.001, 0.0)
    assert load.cost(0.0) == 0.001 + NOISE


def test_requests_in_flight_multiply() -> None:
    load = measured(0.1)
    load.pending = 3
    assert load.cost(0.0) == pytest.approx((0.1 + NOISE) * 4)
    assert load.crowd(0.0) == 4.0


def test_failing_fast_does_not_look_fast() -> None:
    load = measured(0.1)
    load.failed(0.0)
    assert load.cost(0.0) == pytest.approx((0.1 + NOISE) * (1 + FIRST_TROUBLE))


def test_trouble_grows_with_each_failure_halves_with_each_answer_and_fades() -> None:
    load = measured(0.001)
    troubles = []
    for _ in range(5):
        load.failed(0.0)
        troubles.append(load.trouble(0.0))
    assert troubles == [10.0, 40.0, MAX_TROUBLE, MAX_TROUBLE, MAX_TROUBLE]
    assert load.crowd(0.0) == 1.0 + MAX_TROUBLE

    load.observe(0.001, 0.0)
    assert load.trouble(0.0) == MAX_TROUBLE / 2
    assert load.trouble(DECAY) == pytest.approx(MAX_TROUBLE / 2 / math.e)
    for _ in range(20):
        load.observe(0.001, 0.0)
    assert load.trouble(0.0) == 0.0


def test_waiting_in_vain_is_a_sample_when_it_took_longer_than_was_thought() -> None:
    load = measured(0.1)
    load.unanswered(0.05, 0.0)
    assert load.cost(0.0) == pytest.approx(0.1 + NOISE)
    load.unanswered(3.0, 0.0)
    assert load.cost(0.0) == 3.0 + NOISE


def test_a_new_endpoint_warms_up() -> None:
    load = Load(0.0)
    warmth = [round(load.warmth(second), 2) for second in (0.0, 0.5, 1.0, 5.0, 9.9, 10.0, 1000.0)]
    assert warmth == [COLDEST, COLDEST, 0.1, 0.5, 0.99, 1.0, 1.0]
    assert load.cost(0.0) == pytest.approx((DEFAULT_RTT + NOISE) / COLDEST)
    assert load.crowd(5.0) == 2.0


def test_starting_anew_forgets_all_but_what_is_in_flight() -> None:
    load = measured(2.0)
    load.pending = 2
    load.failed(0.0)
    load.restart(100.0)

    assert load.warmth(100.0) == COLDEST
    assert load.crowd(100.0) == pytest.approx(3.0 / COLDEST)
    assert load.cost(100.0) == pytest.approx(3.0 * (DEFAULT_RTT + NOISE) / COLDEST)
