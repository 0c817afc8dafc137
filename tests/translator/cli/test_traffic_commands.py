"""How ``stat``, ``routes``, ``edges`` and ``top`` write what they were answered; without a mesh."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from translator.cli import edges, main, routes, top, traffic
from translator.cli.stat import split_table, stat_table
from translator.cli.traffic import milliseconds, rate, share
from translator.resources import Resource, resource
from translator.rows import EdgeRow, RouteRow, SplitRow, StatRow, Stats, TopRow, short

NONE = Stats(
    requests=0, success=0, failure=0, success_rate=None, rps=0.0,
    best_ms=None, p50_ms=None, p95_ms=None, p99_ms=None, worst_ms=None,
)  # fmt: skip
SOME = Stats(
    requests=300, success=297, failure=3, success_rate=0.99, rps=10.0,
    best_ms=0.512, p50_ms=1.234, p95_ms=12.345, p99_ms=123.4, worst_ms=12345.6,
)  # fmt: skip


def deployment(stats: Stats, pods: int | None = 3) -> StatRow:
    return StatRow(kind="Deployment", namespace="shop", name="web", meshed=pods, pods=pods, denied=2, stats=stats)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"), (0.0012, "0.00ms"), (0.512, "0.51ms"), (1.234, "1.23ms"), (9.999, "10.0ms"), (12.345, "12.3ms"),
        (99.97, "100ms"), (123.4, "123ms"), (9999.4, "9999ms"), (12345.6, "12.3s"),
    ],
)  # fmt: skip
def test_milliseconds(value: float | None, text: str) -> None:
    assert milliseconds(value) == text


def test_shares_and_rates() -> None:
    assert (share(None), share(1.0), share(0.99)) == ("-", "100.00%", "99.00%")
    assert (rate(NONE), rate(SOME)) == ("-", "10.0rps")


def test_stat_has_linkerds_columns() -> None:
    header, lines = stat_table([deployment(SOME), deployment(NONE)], resource("deploy", "shop"), wide=False)
    assert header == ("NAME", "MESHED", "SUCCESS", "RPS", "LATENCY_P50", "LATENCY_P95", "LATENCY_P99")
    assert lines == [
        ("web", "3/3", "99.00%", "10.0rps", "1.23ms", "12.3ms", "123ms"),
        ("web", "3/3", "-", "-", "-", "-", "-"),
    ]


def test_wide_stat_and_all_namespaces() -> None:
    header, [line] = stat_table([deployment(SOME, pods=None)], resource("svc", ""), wide=True)
    assert (header[0], *header[-3:]) == ("NAMESPACE", "REQUESTS", "FAILURES", "DENIED")
    assert line == ("shop", "web", "-", "99.00%", "10.0rps", "1.23ms", "12.3ms", "123ms", "300", "3", "2")
    header, _ = stat_table([], resource("ns", ""), wide=False)
    assert header[0] == "NAME"


@pytest.mark.parametrize(("asked", "first"), [(resource("ts", "shop"), "NAME"), (resource("ts", ""), "NAMESPACE")])
def test_splits(asked: Resource, first: str) -> None:
    row = SplitRow(namespace="shop", name="s", apex="web", leaf="v1", weight="900m", share=0.9, stats=SOME)
    old = SplitRow(namespace="shop", name="s", apex="web", leaf="v0", weight="", share=None, stats=NONE)
    header, lines = split_table([row, old], asked, wide=False)
    assert header[0] == first
    assert [line[-9:-4] for line in lines] == [
        ("web", "v1", "900m", "90.00%", "99.00%"),
        ("web", "v0", "-", "-", "-"),
    ]


def test_routes_show_the_callers_latency_where_it_is_known() -> None:
    server = RouteRow(route="api/read", effective=NONE, actual=SOME)
    both = RouteRow(route="", effective=SOME, actual=NONE)
    assert routes.line(server, wide=False) == ("api/read", "-", "-", "99.00%", "10.0rps", "1.23ms", "12.3ms", "123ms")
    assert routes.line(both, wide=False) == ("[DEFAULT]", "99.00%", "10.0rps", "-", "-", "1.23ms", "12.3ms", "123ms")
    assert routes.line(server, wide=True)[8:] == ("0", "300")


def edge(**more: str | bool) -> EdgeRow:
    identity = "spiffe://cluster.local/ns/shop/sa/"
    said = {
        "source": "client",
        "source_namespace": "shop",
        "destination": "web",
        "destination_namespace": "shop",
        "client_id": f"{identity}client",
        "server_id": f"{identity}web",
        "secured": True,
        **more,
    }
    return EdgeRow(stats=SOME, **said)  # type: ignore[arg-type]


def test_edges() -> None:
    assert edges.line(edge(), wide=False) == ("client", "web", "shop", "shop", "shop/client", "shop/web", "√")
    unknown = edge(source="", source_namespace="", client_id="", server_id="", secured=False)
    assert edges.line(unknown, wide=False) == ("-", "web", "-", "shop", "-", "-", "×")
    assert edges.line(edge(), wide=True)[4:] == (
        "spiffe://cluster.local/ns/shop/sa/client",
        "spiffe://cluster.local/ns/shop/sa/web",
        "√",
        "99.00%",
        "10.0rps",
        "300",
    )
    assert short("spiffe://other.example/workload") == "spiffe://other.example/workload"


def test_top() -> None:
    row = TopRow(source="", destination="shop/web", route="", stats=SOME)
    assert top.line(row) == (
        "-", "shop/web", "-", "300", "10.0rps", "99.00%", "0.51ms", "1.23ms", "123ms", "12.3s"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["stat", "ingress"], '"ingress" is no kind of resource'),
        (["stat", "deploy/"], "no name behind the slash"),
        (["stat", "-n", "a", "-A"], "-n and -A cannot be given together"),
        (["stat", "-n", "A"], "is no name"),
        (["stat", "-t", "soon"], "is no duration"),
        (["stat", "-o", "xml"], "is not one of"),
        (["stat", "--from", "deploy/a", "--to", "deploy/b"], "cannot be given together"),
        (["stat", "--to-namespace", "b"], "need --from and --to"),
        (["routes"], "Missing argument"),
        (["top", "-o", "wide"], "is not one of"),
        (["edges", "ingress"], "is no kind of resource"),
        (["top", "ingress"], "is no kind of resource"),
    ],
)
def test_wrong_usage(arguments: list[str], error: str, tmp_path: Path) -> None:
    done = CliRunner(env={"SMI_MESH_HOME": str(tmp_path)}).invoke(main, arguments)
    assert done.exit_code == 2
    assert error in done.output


@pytest.mark.parametrize("command", [["stat"], ["routes", "svc/web"], ["edges"], ["top"]])
def test_a_mesh_that_nobody_runs(command: list[str], tmp_path: Path) -> None:
    done = CliRunner(env={"SMI_MESH_HOME": str(tmp_path)}).invoke(main, [*command, "--name", "none"])
    assert done.exit_code == 1
    assert done.output == 'Error: no mesh named "none": start it with "smi local up DIR --name none"\n'


def test_neither_a_local_mesh_nor_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setattr(traffic, "KUBECONFIG", tmp_path / "config")
    done = CliRunner(env={"SMI_MESH_HOME": str(tmp_path)}).invoke(main, ["stat"])
    assert done.exit_code == 1
    assert f'smi local up DIR", or name a cluster with --kubeconfig: there is no {tmp_path}/config' in done.output


@pytest.mark.parametrize("command", ["stat", "routes", "edges", "top"])
def test_help(command: str) -> None:
    done = CliRunner().invoke(main, [command, "--help"])
    assert done.exit_code == 0
    assert "--time-window" in done.output
