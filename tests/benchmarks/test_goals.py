"""Every goal has its row, and none is met by what was not measured."""

import pytest

from benchmarks.estimate import Estimate
from benchmarks.goals import GOALS, rows, strangers

PLAIN = "CPU per request, one hop, plain"
PAIR = "CPU per request, two hops with mTLS"
GRPC = "gRPC unary, CPU per call, one hop"
WEIGHT = "one weight change"


def figure(value: float) -> Estimate:
    return Estimate(value=value, low=value, high=value, count=10)


def row_of(name: str, **figures: float) -> dict[str, object]:
    given = {key.replace("__", ": ").replace("_per_", " / ").replace("_", " "): figure(v) for key, v in figures.items()}
    (row,) = [row for row in rows(given) if row["name"] == name]
    return row


def test_a_run_that_measured_nothing_has_all_rows_and_says_nothing() -> None:
    found = rows({})

    assert [row["name"] for row in found] == [goal.name for goal in GOALS]
    assert {(row["measured"], row["met"]) for row in found} == {(None, None)}


def test_one_limit_is_one_number() -> None:
    assert row_of(PAIR, cpu__ours_pair_per_Envoy_pair=0.6) == {
        "name": PAIR, "goal": "≤ 0.6 × Envoy pair", "measured": 0.6, "met": True
    }  # fmt: skip
    assert row_of(PAIR, cpu__ours_pair_per_Envoy_pair=0.601)["met"] is False


@pytest.mark.parametrize(("envoy", "haproxy", "met"), [(0.5, 2.0, True), (0.5, 2.1, False), (0.6, 1.0, False)], ids=str)
def test_all_limits_must_hold(envoy: float, haproxy: float, met: bool) -> None:
    row = row_of(PLAIN, cpu__ours_per_Envoy=envoy, cpu__ours_per_HAProxy=haproxy)

    assert row["measured"] == {"× Envoy": envoy, "× HAProxy": haproxy}
    assert row["met"] is met


def test_half_of_the_limits_can_miss_a_goal_but_not_reach_it() -> None:
    assert row_of(PLAIN, cpu__ours_per_Envoy=0.4)["met"] is None
    assert row_of(PLAIN, cpu__ours_per_Envoy=0.7)["met"] is False


def test_what_is_not_what_the_goal_means_is_told_and_not_judged() -> None:
    row = row_of(GRPC, cpu__ours_gRPC_per_Envoy_gRPC=0.2)

    assert (row["measured"], row["met"]) == (0.2, None)
    assert "not the same work" in str(row["why"])


def test_the_control_planes_rows_stand_for_the_goals_they_name() -> None:
    brought = [{"name": WEIGHT, "goal": "anything", "measured": 140, "met": True, "more": 1}]

    (row,) = [row for row in rows({}, brought) if row["name"] == WEIGHT]

    assert row == {
        "name": WEIGHT, "goal": "≤ 150 B to each affected sidecar, 0 B to others", "measured": 140, "met": True
    }  # fmt: skip


def test_rows_of_no_goal_are_noticed() -> None:
    assert strangers([{"name": WEIGHT}, {"name": "one weight chnage"}]) == ["one weight chnage"]


def test_no_two_goals_have_one_name() -> None:
    assert len({goal.name for goal in GOALS}) == len(GOALS) == 18
