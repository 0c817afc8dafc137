"""Prometheus' configuration, the PodMonitors and the dashboard: they can be read, and name only what there is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from flagger import DURATION, SUCCESS_RATE, asked
from promql import grouped_by, histogram_quantile, samples, selected, selectors

from manifests import installation
from proxy.contract.ports import ADMIN
from proxy.contract.report import Labels
from proxy.counters import Counters
from proxy.prometheus import COMMON, FAMILIES, Own, Snapshot, exposition
from translator.knowledge import METRICS
from translator.kube.pods import PROXY_CONTAINER
from translator.resources import WORKLOADS

FOLDER = installation("observability")
REFERENCE = (Path(__file__).parents[2] / "docs" / "reference" / "metrics.md").read_text()
PROMTOOL = shutil.which("promtool")

OWN = frozenset(COMMON) | {kind.lower() for kind in WORKLOADS}
KUBELET = {"container_memory_working_set_bytes", "container_cpu_usage_seconds_total"}
"""What sidecars cost is measured from outside."""


def known() -> dict[str, frozenset[str]]:
    """The labels of every series by its name."""
    found: dict[str, frozenset[str]] = {name: frozenset({"container", "namespace", "pod"}) for name in KUBELET}
    for metric in METRICS:
        found[metric.name] = frozenset()
    for family in FAMILIES:
        labels = OWN | frozenset(family.labels)
        if "dst_deployment" in labels:
            labels |= {f"dst_{kind.lower()}" for kind in WORKLOADS}
        if family.kind == "histogram":
            found |= {f"{family.name}_count": labels, f"{family.name}_sum": labels}
            found[f"{family.name}_bucket"] = labels | {"le"}
        else:
            found[family.name] = labels
    return found


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "grafana" / "smi-mesh.json").read_text())
    return found


def queries() -> list[str]:
    """Of the dashboard's panels and variables, and Flagger's."""
    panels = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]
    variables = [one["definition"] for one in dashboard()["templating"]["list"] if one["type"] == "query"]
    return [*panels, *variables, asked(SUCCESS_RATE, "shop", "web"), asked(DURATION, "shop", "web")]


@pytest.mark.parametrize("query", queries())
def test_a_query_names_metrics_and_labels_that_exist(query: str) -> None:
    names = known()
    variable = re.fullmatch(r"label_values\((.*), (\w+)\)", query)
    asked_for = {variable[2]} if variable else grouped_by(query)
    found = selectors(variable[1] if variable else query)

    assert found
    for selector in found:
        assert selector.metric in names
        assert {matcher.label for matcher in selector.matchers} <= names[selector.metric], selector
        assert asked_for <= names[selector.metric] or not asked_for, selector
        assert selector.metric in KUBELET or f"`{re.sub('_(bucket|count|sum)$', '', selector.metric)}`" in REFERENCE


def test_a_misspelt_query_would_be_found() -> None:
    assert [one.metric for one in selectors('sum by (a) (rate(x_total{b="{)"}[1m])) / count(y) > time()')] == [
        "x_total",
        "y",
    ]
    assert grouped_by("sum by (a, b) (x) / on (c) group_left () y") == {"a", "b", "c"}
    [selector] = selectors('x{a="1",b!~"2|3", c=""}')
    assert [(one.label, one.op, one.value) for one in selector.matchers] == [
        ("a", "=", "1"),
        ("b", "!~", "2|3"),
        ("c", "=", ""),
    ]
    assert all(one.meets({"a": "1", "b": "4"}) for one in selector.matchers)
    assert not all(one.meets({"a": "1", "b": "2"}) for one in selector.matchers)
    with pytest.raises(ValueError, match="no matcher"):
        selectors('x{a~"1"}')


def test_the_dashboard_shows_all_that_it_is_for() -> None:
    said = dashboard()
    panels = [panel for panel in said["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in said["panels"]}) == len(said["panels"])
    assert all(panel["title"] and panel["description"] and panel["fieldConfig"]["defaults"]["unit"] for panel in panels)
    titles = {panel["title"] for panel in panels}
    assert {"Success", "Requests per second", "Latency p50", "Latency p95", "Latency p99", "Share"} <= titles
    assert {"Share by mutual TLS", "Memory of sidecars", "CPU of sidecars"} <= titles
    taken: set[tuple[int, int]] = set()
    for panel in said["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_configuration_finds_the_ports_that_there_are() -> None:
    config = yaml.safe_load((FOLDER / "prometheus" / "prometheus.yaml").read_text())
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    kept = {name: [rule.get("regex") for rule in job.get("relabel_configs", ())] for name, job in jobs.items()}
    assert f"{PROXY_CONTAINER};{ADMIN}" in kept["smi-mesh-proxy"]
    assert jobs["smi-mesh-proxy"]["honor_labels"] is True
    (rule,) = jobs["smi-mesh-cost"]["metric_relabel_configs"]
    assert all(re.fullmatch(rule["regex"], f"{name};{PROXY_CONTAINER}") for name in KUBELET)
    assert not re.fullmatch(rule["regex"], "container_memory_working_set_bytes;app")

    deployment = next(
        thing
        for thing in yaml.safe_load_all((installation("base") / "controller.yaml").read_text())
        if thing["kind"] == "Deployment"
    )
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    ports = {
        one["name"]: one["containerPort"] for one in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]
    }
    said = ";".join(labels[f"app.kubernetes.io/{name}"] for name in ("name", "component"))
    assert f"{said};{ports['admin']}" in kept["smi-mesh-controller"]

    monitors = yaml.safe_load_all((FOLDER / "prometheus-operator" / "podmonitors.yaml").read_text())
    by_name = {one["metadata"]["name"]: one["spec"] for one in monitors}
    assert by_name["smi-mesh-proxy"]["podMetricsEndpoints"][0]["port"] == "smi-mesh-admin"
    assert by_name["smi-mesh-controller"]["podMetricsEndpoints"][0]["port"] in ports
    assert by_name["smi-mesh-controller"]["selector"]["matchLabels"].items() <= labels.items()


@pytest.mark.skipif(PROMTOOL is None, reason="there is no promtool: Prometheus' own opinion was not asked")
def test_prometheus_takes_configuration_and_queries(tmp_path: Path) -> None:
    # Some builds know no Kubernetes, and its files are only in a pod; all else is taken as it is.
    config = yaml.safe_load((FOLDER / "prometheus" / "prometheus.yaml").read_text())
    for job in config["scrape_configs"]:
        del job["kubernetes_sd_configs"]
        job["static_configs"] = [{"targets": ["127.0.0.1:9"]}]
        for name in ("authorization", "tls_config"):
            job.pop(name, None)
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(config))
    concrete = [
        re.sub(r"\$__rate_interval", "1m", query) for query in queries() if not query.startswith("label_values")
    ]
    rules = [{"record": f"q{number}", "expr": query} for number, query in enumerate(concrete)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    for check in (("config", "--syntax-only", "prometheus.yaml"), ("rules", "rules.yaml")):
        command = [str(PROMTOOL), "check", *check]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_flaggers_queries_find_the_canary_on_a_sidecars_page() -> None:
    """What they select gives the truth: of 100 requests 4 failed, and the slowest two took 38 and 400 ms."""
    counters = Counters()
    inbound = Labels(direction="inbound", destination="8080", peer="", tls="no_identity")
    other = Labels(direction="inbound", destination="8080", peer="spiffe://cluster.local/ns/a/sa/b", tls="true")
    for number in range(98):
        counters.series(inbound if number % 2 else other).add(503 if number < 4 else 200, 0.0025)
    counters.series(other).add(200, 0.038)
    counters.series(inbound).add(404, 0.400)
    # What the canary itself sends, and what another pod receives, is not its own.
    counters.series(Labels(direction="outbound", destination="shop/db:80")).add(500, 9.0)
    snapshot = Snapshot(series=list(counters.items()), transports=[], refusals={}, retried={}, gauges={})
    page = "".join(exposition(Own("shop", "web-0", "Deployment", "web"), snapshot))
    page += "".join(exposition(Own("shop", "db-0", "Deployment", "web-primary"), snapshot)).replace("200", "500")
    read = samples(page)

    good, all_of_them = (
        sum(sample.value for sample in selected(read, selector))
        for selector in selectors(asked(SUCCESS_RATE, "shop", "web"))
    )
    assert (good, all_of_them) == (96, 100)
    [selector] = selectors(asked(DURATION, "shop", "web"))
    buckets: dict[float, float] = {}
    for sample in selected(read, selector):
        bound = float(sample.labels["le"])
        buckets[bound] = buckets.get(bound, 0.0) + sample.value
    # The bucket of 30 to 40 ms ends with the 99th.
    assert histogram_quantile(0.99, buckets) == pytest.approx(40.0)
