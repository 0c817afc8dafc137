"""What traffic looks like from every side, in a small shop: a client, web behind a split, and a database outside."""

from __future__ import annotations

from fractions import Fraction

import pytest

from proxy.contract.report import Labels, bucket_of, pack
from smi.access import Subject, TargetRule, TrafficTarget
from smi.meta import Meta
from smi.specs import HTTPMatch, HTTPRouteGroup
from smi.split import RouteRef, SplitBackend, TrafficSplit
from smi.workloads import Namespace, Pod, Service, ServicePort
from translator import views
from translator.observed import Observed
from translator.resources import NoSuchKind, Resource, resource
from translator.rows import Stats
from translator.traffic import Entry
from translator.views import NotThere, weight_text
from translator.world import World


def pod(name: str, workload: str, *, meshed: bool = True, labels: dict[str, str] | None = None) -> Pod:
    return Pod(
        meta=Meta(name=name, namespace="shop", labels=labels or {"app": workload}),
        ip=f"127.80.0.{len(name)}",
        service_account=workload,
        workload=workload,
        workload_kind="StatefulSet" if workload == "db" else "Deployment",
        ports={"http": 8080},
        ready=True,
        mesh_port=4143 if meshed else 0,
    )


PODS = (
    pod("client-1", "client"),
    pod("web-1", "web"),
    pod("web-2", "web"),
    pod("canary-1", "canary"),
    pod("db-0", "db", meshed=False),
)
GONE = pod("web-gone", "web")


def service(name: str, app: str = "") -> Service:
    return Service(
        meta=Meta(name=name, namespace="shop"),
        ports=(ServicePort(port=80, target_port=8080),),
        selector={"app": app or name},
    )


GROUP = HTTPRouteGroup(
    meta=Meta(name="api", namespace="shop"),
    api_version="",
    matches=(HTTPMatch(name="read", methods=("GET",)), HTTPMatch(name="write", methods=("POST",))),
)
SPLIT = TrafficSplit(
    meta=Meta(name="rollout", namespace="shop"),
    api_version="",
    service="web",
    backends=(
        SplitBackend(service="web", weight=Fraction(9, 10)),
        SplitBackend(service="canary", weight=Fraction(1, 10)),
    ),
    matches=(RouteRef(kind="HTTPRouteGroup", name="api"),),
)
TARGET = TrafficTarget(
    meta=Meta(name="client-to-web", namespace="shop"),
    api_version="",
    destination=Subject(kind="ServiceAccount", name="web", namespace="shop"),
    sources=(Subject(kind="ServiceAccount", name="client", namespace="shop"),),
    rules=(TargetRule(kind="HTTPRouteGroup", name="api"),),
)
WORLD = World.of(
    (
        Namespace(meta=Meta(name="shop")),
        Namespace(meta=Meta(name="empty")),
        service("web"),
        service("canary"),
        service("db"),
        GROUP,
        SPLIT,
        TARGET,
    ),
    PODS,
)


def identity(account: str) -> str:
    return f"spiffe://cluster.local/ns/shop/sa/{account}"


def entry(where: str, labels: Labels, ok: int, failed: int = 0, ms: float = 10.0) -> Entry:
    cell = pack([0, ok, 0, 0, failed], round(ms * 1000 * (ok + failed)), {bucket_of(ms / 1000): ok + failed})
    return Entry(f"shop/{where}", labels, [cell])


def sent(to: str, *, backend: str = "", match: str = "", meshed: bool = True, name: str = "web") -> Labels:
    """As a caller counts it: asked for Service ``name``, sent to pod ``to``."""
    workload = to.rpartition("-")[0]
    kind = "StatefulSet" if workload == "db" else "Deployment"
    return Labels(
        direction="outbound",
        destination=f"shop/{name}:80",
        backend=f"shop/{backend}" if backend else "",
        split="shop/rollout" if backend else "",
        match=match,
        pod=f"shop/{to}",
        workload=f"{kind}/{workload}",
        peer=identity(workload) if meshed else "",
        tls="true" if meshed else "no_identity",
    )


def got(caller: str, *, match: str = "", denied: bool = False) -> Labels:
    """As a server counts it."""
    return Labels(
        direction="inbound",
        destination="8080",
        match=match,
        peer=identity(caller) if caller else "",
        tls="true" if caller else "no_identity",
        target="" if denied else "shop/client-to-web",
        verdict="deny" if denied else "allow",
    )


ENTRIES = [
    entry("client-1", sent("web-1", backend="web", match="api/read"), 60, 3, ms=20.0),
    entry("client-1", sent("web-2", backend="web", match="api/read"), 27, ms=40.0),
    entry("client-1", sent("canary-1", backend="canary", match="api/read"), 9, 1),
    entry("client-1", sent("web-gone", backend="web", match="api/write"), 5),
    entry("client-1", sent("db-0", name="db", meshed=False), 2),
    entry("client-1", Labels(direction="outbound"), 0, 4),
    entry("web-1", got("client", match="api/read"), 60, 2, ms=5.0),
    entry("web-2", got("client", match="api/read"), 27, ms=5.0),
    entry("web-gone", got("client", match="api/write"), 5),
    entry("canary-1", got("client"), 9, 1),
    entry("web-1", got("stranger", denied=True), 7),
    entry("web-2", got("", denied=True), 8),
]


def observed(*entries: Entry, seconds: float = 10.0) -> Observed:
    pods = {one.meta.key: one for one in (*PODS, GONE)}
    return Observed(entries=list(entries or ENTRIES), seconds=seconds, pods=pods, world=WORLD)


def asked(text: str, namespace: str = "shop") -> Resource:
    return resource(text, namespace)


def stat(text: str, source: str = "", destination: str = "", namespace: str = "shop") -> dict[str, tuple[int, int]]:
    """Requests and failures by name."""
    rows = views.stat(
        observed(),
        asked(text, namespace),
        source=asked(source) if source else None,
        destination=asked(destination) if destination else None,
    )
    return {row.name: (row.stats.requests, row.stats.failure) for row in rows}


# -- stat -------------------------------------------------------------------------------------------------------------


def test_workloads_by_what_they_received_themselves() -> None:
    assert stat("deploy") == {"canary": (10, 1), "client": (0, 0), "web": (109, 2)}
    assert stat("sts") == {"db": (0, 0)}


def test_a_pod_that_has_gone_counts_for_its_workload_and_has_no_row() -> None:
    assert stat("po") == {"canary-1": (10, 1), "client-1": (0, 0), "db-0": (0, 0), "web-1": (69, 2), "web-2": (35, 0)}


def test_services_by_what_callers_sent() -> None:
    assert stat("svc") == {"web": (105, 4), "canary": (10, 1), "db": (2, 0)}


def test_namespaces() -> None:
    assert stat("ns", namespace="default") == {"shop": (119, 3), "empty": (0, 0)}


def test_targets_by_what_they_let_in() -> None:
    assert stat("tt") == {"client-to-web": (104, 3)}


def test_meshed_and_denied() -> None:
    rows = {row.name: row for row in views.stat(observed(), asked("deploy"))}
    assert (rows["web"].meshed, rows["web"].pods, rows["web"].denied) == (2, 2, 15)
    [database] = views.stat(observed(), asked("sts/db"))
    assert (database.meshed, database.pods) == (0, 1)
    [web] = views.stat(observed(), asked("svc/web"))
    assert (web.meshed, web.pods) == (None, None)


def test_the_numbers_of_a_row() -> None:
    [row] = views.stat(observed(), asked("po/web-1"))
    assert row.stats.success == 67
    assert row.stats.success_rate == pytest.approx(67 / 69)
    assert row.stats.rps == 6.9
    assert row.stats.best_ms == pytest.approx(5.0, rel=0.01)
    assert row.stats.p50_ms == pytest.approx(5.0, rel=0.01)
    assert row.stats.worst_ms == pytest.approx(10.0, rel=0.01)


def test_no_traffic_is_zeros_and_nothing_never_nan() -> None:
    [row] = views.stat(observed(), asked("deploy/client"))
    assert row.stats == Stats(
        requests=0, success=0, failure=0, success_rate=None, rps=0.0,
        best_ms=None, p50_ms=None, p95_ms=None, p99_ms=None, worst_ms=None,
    )  # fmt: skip


def test_from_and_to() -> None:
    assert stat("deploy", source="deploy/client") == {"canary": (10, 1), "client": (0, 0), "web": (95, 3)}
    assert stat("po/web-1", source="deploy/client") == {"web-1": (63, 3)}
    assert stat("svc/db", source="po/client-1") == {"db": (2, 0)}
    assert stat("svc/db", source="deploy/web") == {"db": (0, 0)}
    assert stat("deploy", destination="deploy/web") == {"canary": (0, 0), "client": (95, 3), "web": (0, 0)}
    assert stat("deploy/client", destination="svc/web") == {"client": (105, 4)}
    assert stat("deploy/client", destination="sts/db") == {"client": (2, 0)}
    assert stat("ns/shop", destination="svc/canary") == {"shop": (10, 1)}


@pytest.mark.parametrize(
    ("text", "source", "destination"),
    [
        ("svc/web", "", "deploy/web"),
        ("tt", "", "deploy/web"),
        ("tt", "deploy/web", ""),
        ("deploy", "svc/web", ""),
        ("svc", "ts", ""),
        ("deploy", "", "ts/canary"),
    ],
)
def test_questions_without_an_answer(text: str, source: str, destination: str) -> None:
    with pytest.raises(NoSuchKind):
        stat(text, source, destination)


@pytest.mark.parametrize("text", ["deploy/nobody", "po/web-gone", "svc/nobody", "ns/nobody", "tt/nobody"])
def test_nobody_of_that_name(text: str) -> None:
    with pytest.raises(NotThere, match="there is no"):
        stat(text)


@pytest.mark.parametrize(("source", "destination"), [("deploy/nobody", ""), ("", "svc/nobody")])
def test_nobody_of_that_name_at_the_other_end(source: str, destination: str) -> None:
    with pytest.raises(NotThere, match="nobody"):
        stat("deploy", source, destination)


def test_a_workload_without_pods_that_had_traffic_is_still_there() -> None:
    lonely = pod("old-1", "old")
    seen = observed(entry("old-1", got("client"), 3))
    pods = {**seen.pods, "shop/old-1": lonely}
    [row] = views.stat(
        Observed(entries=seen.entries, seconds=10.0, pods=pods, world=WORLD), asked("deploy/old")
    )  # fmt: skip
    assert (row.stats.requests, row.pods) == (3, 0)


# -- splits -----------------------------------------------------------------------------------------------------------


def test_a_split_by_backend() -> None:
    rows = views.splits(observed(), asked("ts"))
    assert [(r.name, r.apex, r.leaf, r.weight, r.stats.requests) for r in rows] == [
        ("rollout", "web", "web", "900m", 95),
        ("rollout", "web", "canary", "100m", 10),
    ]
    assert [r.share for r in rows] == [pytest.approx(95 / 105), pytest.approx(10 / 105)]


def test_a_split_without_traffic() -> None:
    rows = views.splits(observed(entry("web-1", got("client"), 1)), asked("ts/rollout"))
    assert [(row.share, row.stats.requests) for row in rows] == [(None, 0), (None, 0)]


def test_a_backend_that_is_one_no_more_still_had_traffic() -> None:
    rows = views.splits(observed(entry("client-1", sent("old-1", backend="old"), 3)), asked("ts/rollout"))
    assert [(row.leaf, row.weight, row.share) for row in rows] == [
        ("web", "900m", 0.0), ("canary", "100m", 0.0), ("old", "", 1.0)
    ]  # fmt: skip


def test_a_split_from_one_caller() -> None:
    rows = views.splits(observed(), asked("ts"), source=asked("deploy/canary"))
    assert [row.stats.requests for row in rows] == [0, 0]


def test_a_split_from_what_is_no_caller() -> None:
    with pytest.raises(NoSuchKind):
        views.splits(observed(), asked("ts"), source=asked("svc/web"))
    with pytest.raises(NotThere):
        views.splits(observed(), asked("ts"), source=asked("deploy/nobody"))


def test_a_split_that_is_not_there() -> None:
    with pytest.raises(NotThere):
        views.splits(observed(), asked("ts/nobody"))


@pytest.mark.parametrize(
    ("weight", "text"),
    [(Fraction(90), "90"), (Fraction(9, 10), "900m"), (Fraction(1, 2000), "0.5m"), (Fraction(0), "0")],
)
def test_weights_as_written(weight: Fraction, text: str) -> None:
    assert weight_text(weight) == text


# -- routes -----------------------------------------------------------------------------------------------------------


def routes(text: str) -> dict[str, tuple[int, int]]:
    """By route: requests as callers and as servers counted them."""
    rows = views.routes(observed(), asked(text))
    return {row.route: (row.effective.requests, row.actual.requests) for row in rows}


def test_the_routes_of_a_service() -> None:
    assert routes("svc/web") == {"api/read": (100, 89), "api/write": (5, 5), "": (0, 15)}


def test_the_routes_of_a_workload_and_a_pod() -> None:
    assert routes("deploy/web") == {"api/read": (90, 89), "api/write": (5, 5), "": (0, 15)}
    assert routes("po/web-2") == {"api/read": (27, 27), "api/write": (0, 0), "": (0, 8)}


def test_where_no_condition_speaks_of_it_there_is_one_row() -> None:
    assert routes("sts/db") == {"": (2, 0)}


def test_a_port_of_another_service_is_not_this_ones() -> None:
    other = entry("web-1", Labels(direction="inbound", destination="9090", verdict="allow"), 5)
    [row] = [row for row in views.routes(observed(other), asked("svc/web")) if not row.route]
    assert row.actual.requests == 0


@pytest.mark.parametrize(("text", "error"), [("deploy", NoSuchKind), ("ts/rollout", NoSuchKind), ("svc/x", NotThere)])
def test_no_routes(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        views.routes(observed(), asked(text))


# -- edges ------------------------------------------------------------------------------------------------------------


def edges(text: str, seen: Observed | None = None) -> dict[tuple[str, str], tuple[str, str, bool, int]]:
    rows = views.edges(seen or observed(), asked(text))
    return {
        (r.source, r.destination): (r.client_id, r.server_id, r.secured, r.stats.requests) for r in rows
    }  # fmt: skip


def test_edges_have_both_identities() -> None:
    assert {ends: said for ends, said in edges("deploy").items() if ends[0]} == {
        ("client", "canary"): (identity("client"), identity("canary"), True, 10),
        ("client", "db"): ("", "", False, 2),
        ("client", "web"): (identity("client"), identity("web"), True, 95),
    }


def test_the_other_end_of_an_edge_may_be_a_workload_of_another_kind() -> None:
    assert edges("sts/db") == {("client", "db"): ("", "", False, 2)}
    sent_by_database = observed(entry("db-0", sent("web-1"), 4))
    assert edges("deploy", sent_by_database) == {("db", "web"): (identity("db"), identity("web"), True, 4)}
    received = observed(entry("web-1", got("db"), 3))
    assert edges("deploy/web", received) == {("db", "web"): (identity("db"), identity("web"), True, 3)}


def test_edges_of_all_workloads() -> None:
    assert edges("workloads").keys() == edges("deploy").keys()
    among_databases = observed(entry("db-0", sent("db-0", name="db"), 4))
    assert edges("deploy", among_databases) == {}
    assert edges("workloads", among_databases).keys() == {("db", "db")}


def test_a_pod_that_is_gone_is_of_the_workload_that_its_caller_knew() -> None:
    seen = observed(entry("client-1", sent("db-9", name="db"), 1))
    assert edges("deploy", seen).keys() == {("client", "db")}


def test_callers_without_a_name_are_those_that_have_no_sidecar_or_are_unknown() -> None:
    rows = [row for row in views.edges(observed(), asked("deploy/web")) if not row.source]
    assert [(row.client_id, row.server_id, row.secured, row.stats.requests) for row in rows] == [
        ("", "", False, 8),
        (identity("stranger"), identity("web"), True, 7),
    ]


def test_an_unmeshed_server_is_not_secured() -> None:
    rows = views.edges(observed(), asked("po/db-0"))
    assert [(row.source, row.client_id, row.server_id, row.secured) for row in rows] == [("client-1", "", "", False)]


def test_a_caller_whose_sidecar_did_not_report_is_known_by_its_identity() -> None:
    seen = observed(entry("web-1", got("client"), 3))
    assert edges("deploy", seen) == {("client", "web"): (identity("client"), identity("web"), True, 3)}


def test_an_identity_that_several_share_is_nobody_in_particular() -> None:
    seen = observed(entry("canary-1", got("web"), 3))
    [(ends, _)] = edges("po", seen).items()
    assert ends == ("", "canary-1")


def test_edges_of_one_end() -> None:
    assert edges("deploy/canary").keys() == {("client", "canary")}
    assert edges("deploy/client").keys() == {("client", "canary"), ("client", "db"), ("client", "web")}


@pytest.mark.parametrize("text", ["svc", "ts", "tt"])
def test_what_has_no_edges(text: str) -> None:
    with pytest.raises(NoSuchKind):
        edges(text)


def test_edges_of_nobody_and_of_one_that_has_none() -> None:
    with pytest.raises(NotThere, match='no Deployment "nobody" in namespace "shop"'):
        edges("deploy/nobody")
    nothing = Observed(entries=[], seconds=10.0, pods=observed().pods, world=WORLD)
    assert views.edges(nothing, asked("deploy/web")) == []


# -- top --------------------------------------------------------------------------------------------------------------


def test_top_is_busiest_first() -> None:
    rows = views.top(observed(), asked("deploy"))
    assert [(r.source, r.destination, r.route, r.stats.requests) for r in rows] == [
        ("shop/client", "shop/web", "api/read", 100),
        ("", "shop/web", "", 8),
        ("shop/client", "shop/web", "api/write", 5),
        ("shop/client", "", "", 4),
        ("shop/client", "shop/db", "", 2),
    ]


def test_top_of_one_service_or_pod() -> None:
    assert [(r.source, r.stats.requests) for r in views.top(observed(), asked("svc/canary"))] == [("shop/client-1", 10)]
    assert sum(row.stats.requests for row in views.top(observed(), asked("po/web-2"))) == 35


def test_top_of_nobody() -> None:
    with pytest.raises(NotThere):
        views.top(observed(), asked("po/nobody"))


def test_top_of_a_split_is_no_question() -> None:
    with pytest.raises(NoSuchKind):
        views.top(observed(), asked("ts"))
