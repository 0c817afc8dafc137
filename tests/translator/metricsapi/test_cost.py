"""What an answer costs, in cells added and pages unpacked: lists of workloads must not grow with the series."""

from __future__ import annotations

from dataclasses import replace

import pytest
from goldencases import pod_of
from metricsworld import entry, shops

from proxy.contract.report import Report, Row
from translator import traffic
from translator.collect import Collector
from translator.metricsapi.asked import asked
from translator.metricsapi.items import Item, items, of_servers
from translator.metricsapi.kinds import RESOURCES
from translator.observed import Observed
from translator.traffic import Entry, Totals, Traffic, Window
from translator.world import World

REPORTS = 6
NOW = 100.0


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts what is done."""
    done = {"added": 0, "unpacked": 0}
    add, rows = Totals.add, traffic._rows

    def adding(total: Totals, cell: bytes) -> None:
        done["added"] += 1
        add(total, cell)

    def unpacking(page: bytes) -> traffic.Rows:
        done["unpacked"] += 1
        return rows(page)

    monkeypatch.setattr(Totals, "add", adding)
    monkeypatch.setattr(traffic, "_rows", unpacking)
    return done


def reported(entries: list[Entry], reports: int = 1) -> Window:
    """What the controller has of it, in so many reports of five seconds, each of them with all of ``entries``."""
    now = NOW
    collector = Collector(Traffic(5.0, 0.0), 5.0, lambda: now)
    intakes = {one.pod: collector.intake(one.pod) for one in entries}
    for sequence in range(1, reports + 1):
        now = NOW + 5.0 * sequence
        for pod, intake in intakes.items():
            own = [one for one in entries if one.pod == pod]
            rows = tuple(Row(number, one.cells[0], one.labels) for number, one in enumerate(own))
            intake.take(Report(epoch="e", sequence=sequence, seconds=5.0, rows=rows))
    assert collector.counts.refused == 0
    return collector.window(30.0)


def busy(pods: int, series: int) -> tuple[Window, Observed]:
    """Pods that receive and send requests in so many series each; only what they received is read out."""
    names = [f"shop/web-{number}" for number in range(pods)]
    counted = [
        entry({"by": name, "from": f"shop/client-{number}", "ok": 2, "failed": 1})
        for name in names
        for number in range(series)
    ]
    counted += [
        entry({"by": name, "to": f"shop/db-{number}", "asked": "shop/db", "ok": 5})
        for name in names
        for number in range(series)
    ]
    window = reported(counted, REPORTS)
    known = {
        name: pod_of(number, {"pod": name, "as": "web", "workload": "Deployment/web"})
        for number, name in enumerate(names)
    }
    world = World.of(pods=list(known.values()))
    return window, Observed(entries=[], seconds=30.0, pods=known, world=world, received=window.received())


@pytest.mark.parametrize("kind", ["pods", "deployments", "namespaces"])
@pytest.mark.parametrize("series", [2, 12])
def test_a_list_adds_one_cell_for_each_pod_and_report(kind: str, series: int, work: dict[str, int]) -> None:
    pods = 7
    _, observed = busy(pods, series)
    found = items(observed, asked((kind,), {}))
    assert work == {"added": pods * REPORTS, "unpacked": 0}
    counted = [(item.counted.successes, item.counted.failures) for item in found]
    assert counted == [(2 * series * REPORTS, series * REPORTS)] * pods if kind == "pods" else len(counted) == 1


def test_a_list_of_everything_adds_each_series_once(work: dict[str, int]) -> None:
    """For the Services there are none of here; for workloads, pod by pod and kind by kind, the sums alone."""
    pods = 7
    window, observed = busy(pods, 12)
    items(replace(observed, entries=window.entries()), asked(("trafficmetrics",), {}))
    assert work["unpacked"] == pods * REPORTS
    assert work["added"] <= 2 * pods * REPORTS


@pytest.mark.parametrize("plural", sorted(RESOURCES))
def test_what_pods_received_is_enough_for_what_is_said_of_servers(plural: str) -> None:
    known = shops()
    question = asked((plural,), {})
    received = replace(known, entries=[], received=reported(known.entries).received())
    same = list(map(_told, items(received, question))) == list(map(_told, items(known, question)))
    assert same == of_servers(question) or plural in NOTHING
    edges = asked(("namespaces", "shop", "pods", "web-1", "edges"), {})
    assert not of_servers(edges)


NOTHING = frozenset({"daemonsets", "jobs", "replicationcontrollers"})
"""There are none in that world."""


def _told(item: Item) -> object:
    counted = item.counted
    return item.name, item.labels, counted.classes, counted.microseconds, dict(counted.histogram)
