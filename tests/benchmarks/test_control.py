"""What the control plane's benchmark says and sends, without a control plane."""

from __future__ import annotations

from benchmarks.control import QUICK, Form, _report, callers_of, goals
from benchmarks.goals import strangers
from translator.collect import Collector
from translator.traffic import Traffic

CHANGE = {"bytes": 140, "got_bytes": 10.0, "affected": 10, "cpu_ms": 1.0, "last_ms": {"p50": 9.0, "p99": 90.0}}


def run(services: int, list_ms: float, share: float, pss: float = 28.5) -> dict[str, object]:
    few = {"rare": CHANGE, "popular": CHANGE, "sidecars": 100, "pss": 100.0}
    took = {"cpu_share": share, "mb_over_idle": 40.0, "list_ms": 900.0, "list_cpu_ms": 700.0, "pods": 31_000}
    return {
        "services": services,
        "config_bytes": 1000,
        "few": few,
        "many": few | {"sidecars": 1000, "pss": 150.0},
        "alone_ms": {"p50": 2.0, "p99": 9.0},
        "reports": took,
        "sidecar_mb": {"pss": [pss - 0.5, pss, pss + 0.5], "private_dirty": [20.0, 20.0, 20.0]},
        "listed": took | {"list_ms": list_ms, "pods": 1_300},
    }


def test_a_simulated_sidecars_reports_are_counted() -> None:
    collector = Collector(Traffic(5.0, 0.0), 5.0, lambda: 100.0)
    (pod,) = callers_of(100, 1)
    intake = collector.intake("callers-000/caller-00000")
    for sequence in (1, 2):
        intake.take(_report("e", sequence, pod))
    assert (collector.counts.reports, collector.counts.refused) == (2, 0)
    assert len(collector.window(30.0).entries()) == 20


def test_every_row_is_one_of_the_goals() -> None:
    found = goals([run(100, 90.0, 0.1), run(1_000, 90.0, 0.1), run(10_000, 90.0, 0.1)], Form())
    assert strangers(found) == []
    assert {row["met"] for row in found} == {True}


def test_the_list_is_judged_where_there_are_no_other_pods_and_what_it_costs_beside_them_is_told() -> None:
    found = {row["name"]: row for row in goals([run(100, 201.0, 0.16), run(1_000, 201.0, 0.16)], Form())}
    listing = found["list of all pods' metrics, 1,000 pods"]
    assert listing["met"] is False
    assert listing["measured"]["ms of 1300 pods"] == 201.0
    assert listing["measured"]["ms of 31000 pods"] == 900.0
    assert found["reports of 1,000 pods, share of a core"]["met"] is False
    assert found["memory over idle for 1,000 pods' reports"]["met"] is True


def test_a_sidecar_that_grows_with_all_services_misses_both_its_goals() -> None:
    runs = [run(100, 90.0, 0.1), run(1_000, 90.0, 0.1, 33.0), run(10_000, 90.0, 0.1, 38.5)]
    found = {row["name"]: row for row in goals(runs, Form())}
    more = found["PSS for 10,000 Services in the cluster"]
    assert (more["measured"]["MB more"], more["measured"]["MB more that it shares with none"]) == (10.0, 0.0)
    assert more["met"] is False
    growth = found["growth: scoped config and sidecar memory against all Services"]
    assert growth["measured"]["exponent of config"] == 0.0
    assert growth["measured"]["exponent of sidecar memory"] > 0.05
    assert growth["met"] is False


def test_what_10_000_services_cost_is_not_said_of_fewer() -> None:
    found = {row["name"]: row for row in goals([run(100, 90.0, 0.1), run(1_000, 90.0, 0.1)], QUICK)}
    more = found["PSS for 10,000 Services in the cluster"]
    assert (more["measured"], more["met"]) == (None, None)
