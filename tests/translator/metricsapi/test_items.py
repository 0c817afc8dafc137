"""Items and their edges: what is counted for whom, from either side."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from metricsworld import WORLD, entry, observed_of, shops

from translator.metricsapi.asked import asked
from translator.metricsapi.bodies import Moment, answer_of, quantity
from translator.metricsapi.items import Item, chosen, items
from translator.metricsapi.redact import told
from translator.metricsapi.status import Refused
from translator.observed import Observed

MOMENT = Moment(version="v1alpha2", timestamp="2030-01-01T00:00:00Z", window="30s", seconds=10.0)


def listed(path: str, observed: Observed | None = None, **query: str) -> list[Item]:
    wanted = asked(tuple(path.split("/")), query)
    return chosen(items(observed or shops(), wanted), wanted)


def counted(path: str, observed: Observed | None = None, **query: str) -> dict[str, tuple[int, int]]:
    return {one.name: (one.counted.successes, one.counted.failures) for one in listed(path, observed, **query)}


def with_counts(*counted: dict[str, Any], **more: Any) -> Observed:
    return observed_of({**yaml.safe_load(WORLD), "counted": counted, **more})


# -- lists ------------------------------------------------------------------------------------------------------------


def test_workloads_by_what_they_received() -> None:
    assert counted("deployments") == {"client": (0, 0), "web": (96, 3), "safe": (10, 1), "spy": (0, 0)}
    assert counted("namespaces/shop/deployments") == {"client": (0, 0), "web": (96, 3)}
    assert counted("namespaces/shop/statefulsets") == {"db": (0, 0)}
    assert counted("namespaces/shop/replicasets") == {"web-x": (96, 3)}
    assert counted("namespaces/shop/pods") == {"client-1": (0, 0), "db-0": (0, 0), "web-1": (65, 3), "web-2": (31, 0)}
    assert counted("namespaces/nowhere/pods") == {}
    for plural in ("daemonsets", "jobs", "replicationcontrollers"):
        assert counted(plural) == {}


def test_what_has_no_namespace() -> None:
    assert counted("namespaces") == {"shop": (96, 3), "vault": (10, 1)}
    assert counted("nodes") == {"one": (65, 3), "two": (31, 0)}


def test_services_by_what_callers_sent() -> None:
    assert counted("services") == {"canary": (0, 0), "web": (92, 3), "safe": (10, 1)}
    assert {one.side for one in listed("services")} == {"client"}


def test_a_split_is_listed_by_backend_and_got_as_a_whole() -> None:
    assert counted("trafficsplits") == {"rollout.canary": (0, 0), "rollout.web": (87, 3)}
    [whole] = listed("namespaces/shop/trafficsplits/rollout")
    assert (whole.name, whole.backend, whole.counted.successes) == ("rollout", None, 87)
    [backend] = listed("namespaces/shop/trafficsplits/rollout.web")
    assert backend.backend is not None
    assert (backend.backend.apex, backend.backend.name, backend.backend.weight) == ("web", "web", "90")


def test_everything_by_kind_and_name() -> None:
    assert counted("namespaces/shop/trafficmetrics").keys() == {
        "deployment.client", "deployment.web", "statefulset.db", "pod.client-1", "pod.db-0", "pod.web-1", "pod.web-2",
        "service.canary", "service.web", "trafficsplit.rollout.canary", "trafficsplit.rollout.web",
    }  # fmt: skip
    for name, numbers in counted("namespaces/shop/trafficmetrics").items():
        assert counted(f"namespaces/shop/trafficmetrics/{name}") == {name: numbers}
    assert counted("namespaces/shop/trafficmetrics/trafficsplit.rollout") == {"trafficsplit.rollout": (87, 3)}
    assert counted("namespaces/shop/trafficmetrics/replicaset.web-x") == {"replicaset.web-x": (96, 3)}


@pytest.mark.parametrize(
    "path",
    ["deployments/x", "pods/web-9", "services/x", "trafficsplits/x", "trafficsplits/rollout.x", "trafficmetrics/web",
     "trafficmetrics/pod.safe-1", "trafficmetrics/namespace.shop", "trafficmetrics/node.one", "trafficmetrics/x.y",
     "trafficmetrics/pod", "pods/safe-1", "deployments/x/edges", "trafficmetrics/web/edges", "trafficsplits/x/edges"],
)  # fmt: skip
def test_a_name_that_nothing_has(path: str) -> None:
    with pytest.raises(Refused, match="not found") as caught:
        listed(f"namespaces/shop/{path}")
    assert caught.value.code == 404
    assert caught.value.details["group"] == "metrics.smi-spec.io"


def test_selectors() -> None:
    assert counted("pods", labelSelector="app=web").keys() == {"web-1", "web-2"}
    assert counted("deployments", labelSelector="tier in (back)").keys() == {"web"}
    assert counted("deployments", labelSelector="pod-template-hash") == {}
    assert counted("services", labelSelector="app").keys() == {"web"}
    assert counted("namespaces", labelSelector="team!=red").keys() == {"vault"}
    assert counted("trafficmetrics", fieldSelector="resource.kind=Deployment,metadata.namespace=vault").keys() == {
        "deployment.safe", "deployment.spy"
    }  # fmt: skip
    assert counted("pods", fieldSelector="metadata.name=web-1") == {"web-1": (65, 3)}
    assert counted("pods", fieldSelector="edge.direction=to") == {}


# -- edges ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "edges"),
    [
        ("namespaces/shop/deployments/client", {"client.to.deployment.web": (87, 3)}),
        ("namespaces/shop/deployments/web", {
            "web.from.deployment.client": (87, 3), "web.from.deployment.spy.vault": (5, 0), "web.from.unknown": (4, 0),
            "web.to.deployment.safe.vault": (2, 1),
        }),
        ("namespaces/shop/pods/client-1", {"client-1.to.pod.web-1": (60, 3), "client-1.to.pod.web-2": (27, 0)}),
        ("namespaces/shop/pods/web-2", {"web-2.from.pod.client-1": (27, 0), "web-2.from.unknown": (4, 0)}),
        ("namespaces/shop/replicasets/web-x", {
            "web-x.from.deployment.client": (87, 3), "web-x.from.deployment.spy.vault": (5, 0),
            "web-x.from.unknown": (4, 0), "web-x.to.deployment.safe.vault": (2, 1),
        }),
        ("namespaces/shop/services/web", {
            "web.from.deployment.client": (87, 3), "web.from.deployment.spy.vault": (5, 0),
        }),
        ("namespaces/shop/services/canary", {}),
        ("namespaces/shop/trafficsplits/rollout", {"rollout.from.deployment.client": (87, 3)}),
        ("namespaces/shop/statefulsets/db", {}),
        ("namespaces/vault/deployments/safe", {
            "safe.from.deployment.spy": (8, 0), "safe.from.deployment.web.shop": (2, 1)
        }),
        ("namespaces/shop", {
            "shop.from.namespace.shop": (87, 3), "shop.from.namespace.vault": (5, 0), "shop.from.unknown": (4, 0),
            "shop.to.namespace.shop": (87, 3), "shop.to.namespace.vault": (2, 1),
        }),
        ("nodes/one", {
            "one.from.node.one": (60, 3), "one.from.node.two": (5, 0), "one.to.node.one": (60, 3),
            "one.to.node.two": (27, 0), "one.to.unknown": (2, 1),
        }),
        ("namespaces/shop/trafficmetrics/deployment.client", {"client.to.deployment.web": (87, 3)}),
    ],
)  # fmt: skip
def test_edges(path: str, edges: dict[str, tuple[int, int]]) -> None:
    assert counted(f"{path}/edges") == edges


def test_both_ends_of_every_edge_have_the_same_counts() -> None:
    names = [("shop", "client"), ("shop", "web"), ("vault", "spy"), ("vault", "safe")]
    sent: dict[Any, Any] = {}
    received: dict[Any, Any] = {}
    for namespace, name in names:
        for edge in listed(f"namespaces/{namespace}/deployments/{name}/edges"):
            numbers = edge.counted.successes, edge.counted.failures, edge.counted.percentile(0.99)
            assert edge.side == {"to": "client", "from": "server"}[edge.direction]
            if edge.peer is not None:
                ends = (edge.resource, edge.peer) if edge.direction == "to" else (edge.peer, edge.resource)
                (sent if edge.direction == "to" else received)[ends] = numbers
    assert sent == received
    assert len(sent) == 4


def test_edges_by_direction_and_side() -> None:
    path = "namespaces/shop/deployments/web/edges"
    assert counted(path, fieldSelector="edge.direction=to") == {"web.to.deployment.safe.vault": (2, 1)}
    assert len(counted(path, fieldSelector="edge.side=server")) == 3


def test_callers_that_share_an_account_are_the_account() -> None:
    shared = [
        {"pod": "shop/a-1", "as": "both", "workload": "Deployment/a"},
        {"pod": "shop/b-1", "as": "both", "workload": "StatefulSet/b"},
        {"pod": "shop/web-1", "as": "web", "workload": "Deployment/web"},
    ]
    observed = with_counts({"by": "shop/web-1", "from": "shop/both", "ok": 3}, pods=shared)
    assert counted("namespaces/shop/deployments/web/edges", observed) == {"web.from.serviceaccount.both": (3, 0)}
    assert counted("namespaces/shop/pods/web-1/edges", observed) == {"web-1.from.serviceaccount.both": (3, 0)}
    assert counted("namespaces/shop/edges", observed) == {"shop.from.namespace.shop": (3, 0)}


def test_a_caller_of_another_mesh_is_not_one_of_ours_of_the_same_name() -> None:
    observed = with_counts({"by": "shop/web-1", "from": "spiffe://elsewhere/ns/shop/sa/client", "ok": 3})
    assert counted("namespaces/shop/deployments/web/edges", observed) == {"web.from.unknown": (3, 0)}


@pytest.mark.parametrize(
    "odd", ["spiffe://x", "spiffe://cluster.local/ns/shop/sa/a/b", "spiffe://cluster.local/ns//sa/", "x://"]
)
def test_an_odd_identity_is_nobody(odd: str) -> None:
    observed = with_counts({"by": "shop/web-1", "from": odd, "ok": 1})
    assert counted("namespaces/shop/deployments/web/edges", observed) == {"web.from.unknown": (1, 0)}


def test_a_caller_whose_pods_have_gone_is_its_account() -> None:
    observed = with_counts({"by": "shop/web-1", "from": "shop/gone", "ok": 3})
    assert counted("namespaces/shop/deployments/web/edges", observed) == {"web.from.serviceaccount.gone": (3, 0)}


def test_pods_of_kinds_that_nobody_knows() -> None:
    pods = [
        {"pod": "shop/r-1", "as": "r", "workload": "Rollout/r.v1"},
        {"pod": "shop/bare", "as": "bare", "workload": "Pod/bare"},
        {"pod": "shop/none", "as": "none", "workload": ""},
    ]
    entries = [
        {"by": f"shop/{name}", "from": f"shop/{name.split('-')[0]}", "ok": 1} for name in ("r-1", "bare", "none")
    ]
    observed = with_counts(*entries, {"by": "shop/never", "from": "", "ok": 5}, pods=pods)
    assert counted("namespaces/shop/pods", observed) == {"bare": (1, 0), "none": (1, 0), "r-1": (1, 0)}
    assert counted("namespaces/shop/deployments", observed) == {}
    for pod in ("r-1", "bare", "none"):
        assert len(counted(f"namespaces/shop/pods/{pod}/edges", observed)) == 1
    assert sum(ok for ok, _ in counted("namespaces/shop/edges", observed).values()) == 3


def test_what_has_gone_while_its_counts_are_still_there() -> None:
    observed = with_counts(
        {"by": "shop/client-1", "to": "shop/old-1", "asked": "shop/old", "split": "shop/gone", "backend": "shop/old",
        "ok": 2},
        {"by": "shop/client-1", "to": "10.0.0.1:80", "asked": "", "ok": 1},
        {"by": "shop/old-1", "from": "shop/client", "ok": 2},
        {"by": "lost/old-1", "from": "shop/client", "ok": 2},
        gone=[{"pod": "shop/old-1", "as": "old", "workload": "Deployment/old"},
              {"pod": "lost/old-1", "as": "old", "workload": "Deployment/old"}],
    )  # fmt: skip
    assert "old" not in counted("services", observed)
    assert "old-1" not in counted("pods", observed)
    assert counted("namespaces/shop/deployments/old", observed) == {"old": (2, 0)}
    assert counted("namespaces", observed)["lost"] == (2, 0)
    assert counted("namespaces/shop/deployments/client/edges", observed) == {
        "client.to.deployment.old": (2, 0), "client.to.unknown": (1, 0)
    }  # fmt: skip
    assert counted("trafficmetrics", observed)


def test_splits_of_every_shape() -> None:
    def split(name: str, **weights: Any) -> dict[str, Any]:
        backends = [{"service": backend.replace("_", "."), "weight": weight} for backend, weight in weights.items()]
        return {
            "apiVersion": "split.smi-spec.io/v1alpha1", "kind": "TrafficSplit",
            "metadata": {"name": name, "namespace": "shop"}, "spec": {"service": "web", "backends": backends},
        }  # fmt: skip

    observed = with_counts(manifests=[split("half", a="500m", b="1.5"), split("a.b", c=0)])
    weights = {one.name: one.backend.weight for one in listed("trafficsplits", observed) if one.backend}
    assert weights == {"half.a": "500m", "half.b": "1500m", "a.b.c": "0"}
    assert counted("namespaces/shop/trafficsplits/a.b", observed) == {"a.b": (0, 0)}
    assert counted("namespaces/shop/trafficmetrics/trafficsplit.a.b.c", observed) == {"trafficsplit.a.b.c": (0, 0)}
    bodies = answer_of(listed("trafficsplits", observed), asked(("trafficsplits",), {}), MOMENT, table=False)["items"]
    assert [one["backend"]["weight"] for one in bodies] == [0, "500m", "1500m"]


# -- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ms", [0.0017, 0.0123, 0.5, 0.999, 1.0, 1.01, 3.3, 9.99, 10.1, 123.4, 5000.0, 600_000.0])
def test_percentiles_are_at_most_one_percent_off(ms: float) -> None:
    for step in range(40):
        exact = ms * 1.0007**step
        observed = replace(shops(), entries=[entry({"by": "shop/web-1", "from": "", "ok": 1, "ms": [exact]})])
        [item] = listed("namespaces/shop/pods/web-1", observed)
        body = answer_of([item], asked(("namespaces", "shop", "pods", "web-1"), {}), MOMENT, table=False)
        for metric in body["metrics"][:3]:
            assert number(metric["value"]) == pytest.approx(exact, rel=0.01)


def number(text: str) -> float:
    """A Quantity."""
    return float(text.rstrip("mu")) / {"m": 1e3, "u": 1e6}.get(text[-1], 1)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (12.0, "12"), (12.345, "12345m"), (0.5, "500m"), (5.0171, "5017100u"), (1e-9, "1u"), (1e6, "1000000")],
)
def test_quantities_are_canonical(value: float, text: str) -> None:
    assert quantity(value) == text


def test_percentiles_are_of_all_sidecars_together() -> None:
    observed = with_counts(
        {"by": "shop/web-1", "from": "", "ok": 98, "ms": [1.0] * 98},
        {"by": "shop/web-2", "from": "", "ok": 2, "ms": [100.0] * 2},
    )
    [item] = listed("namespaces/shop/deployments/web", observed)
    found = [(item.counted.percentile(share) or 0) * 1000 for share in (0.5, 0.9, 0.99)]
    assert found == [pytest.approx(1.0, rel=0.01), pytest.approx(1.0, rel=0.01), pytest.approx(100.0, rel=0.01)]


# -- who may see what -------------------------------------------------------------------------------------------------


def test_peers_that_may_not_be_seen_are_one_with_unknown_ones() -> None:
    found = listed("namespaces/shop/deployments/web/edges")
    shown = told(found, lambda peer: peer.namespace == "shop")
    assert {one.name: (one.counted.successes, one.counted.failures) for one in shown} == {
        "web.from.deployment.client": (87, 3), "web.from.unknown": (9, 0), "web.to.unknown": (2, 1)
    }  # fmt: skip
    assert sum(one.counted.requests for one in shown) == sum(one.counted.requests for one in found)
    assert all(one.peer is None or one.peer.namespace == "shop" for one in shown)
    assert told(found, lambda _: True) == found


def test_items_without_peers_stay_as_they_are() -> None:
    found = listed("trafficmetrics")
    assert told(found, lambda _: False) == found
