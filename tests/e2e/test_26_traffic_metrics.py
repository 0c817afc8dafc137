"""What kubectl and the smi commands show of traffic, against what was sent."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cluster import DEMOS, MESH, SCRIPTS, Place, eventually, got, kubectl, place, run, smi

pytestmark = pytest.mark.usefixtures("mesh")

API = "/apis/metrics.smi-spec.io/v1alpha2"
SENT = 200


@pytest.fixture(scope="module")
def shop() -> Iterator[Place]:
    with place("e2e-metrics") as where:
        where.apply(*sorted((DEMOS / "mtls").glob("*.yaml")))
        where.settled()
        where.python("deploy/a", "ask", "http://b/", str(SENT), "GET", "{}")
        # Each side reports by itself, some seconds later.
        eventually("servers have reported", lambda: counts(where, "deployments/b") == (SENT, 0), 20)
        eventually("callers have reported", lambda: counts(where, "services/b") == (SENT, 0), 20)
        yield where


def raw(path: str) -> Any:
    return json.loads(kubectl("get", "--raw", path))


def numbers(item: dict[str, Any]) -> tuple[int, int]:
    """Successes and failures."""
    found = {metric["name"]: metric["value"] for metric in item["metrics"]}
    return int(found["success_count"]), int(found["failure_count"])


def counts(where: Place, resource: str) -> tuple[int, int]:
    return numbers(raw(f"{API}/namespaces/{where.name}/{resource}?t=10m"))


def test_both_sides_of_an_edge_count_the_same(shop: Place) -> None:
    (sent,) = raw(f"{API}/namespaces/{shop.name}/deployments/a/edges?t=10m")["items"]
    (received,) = raw(f"{API}/namespaces/{shop.name}/deployments/b/edges?t=10m")["items"]

    assert numbers(sent) == numbers(received) == (SENT, 0)
    assert (sent["edge"]["direction"], sent["edge"]["side"]) == ("to", "client")
    assert (received["edge"]["direction"], received["edge"]["side"]) == ("from", "server")
    assert sent["edge"]["resource"] == {"kind": "Deployment", "namespace": shop.name, "name": "b"}
    assert received["edge"]["resource"] == {"kind": "Deployment", "namespace": shop.name, "name": "a"}


def test_every_name_means_what_it_says(shop: Place) -> None:
    for name in ("trafficmetrics", "trafficmetric", "tm"):
        assert "deployment.b" in shop.kubectl("get", name)
    assert shop.kubectl("get", "deployments.metrics.smi-spec.io", "--no-headers").split()[0] == "a"
    assert "READY" in shop.kubectl("get", "deployments").splitlines()[0]
    assert "READY" in shop.kubectl("get", "pods").splitlines()[0]
    assert shop.got("tm", "service.b")["resource"]["kind"] == "Service"
    assert "p99" in shop.kubectl("explain", "tm.metrics")
    assert "success_count" in shop.kubectl("describe", "tm", "deployment.b")


def test_the_commands_show_the_same(shop: Place) -> None:
    (row,) = json.loads(smi("stat", "deploy/b", "-n", shop.name, "-t", "10m", "-o", "json"))["rows"]
    assert (row["stats"]["requests"], row["stats"]["failure"]) == (SENT, 0)
    (edge,) = json.loads(smi("edges", "-n", shop.name, "-t", "10m", "-o", "json"))["rows"]
    assert edge["secured"] is True
    assert edge["clientId"] == f"spiffe://cluster.local/ns/{shop.name}/sa/a"
    assert edge["serverId"] == f"spiffe://cluster.local/ns/{shop.name}/sa/b"


def test_a_tenant_sees_its_own_namespace_alone(shop: Place) -> None:
    with place("e2e-tenant") as other:
        other.kubectl("create", "rolebinding", "tenant", "--clusterrole=view", "--user=tenant")

        def asks(path: str) -> tuple[int, str]:
            ended = run("kubectl", "get", "--raw", path, "--as", "tenant", "--as-group", "system:authenticated")
            return ended.returncode, ended.stdout + ended.stderr

        assert asks(f"{API}/namespaces/{other.name}/pods")[0] == 0
        assert asks(f"{API}/namespaces/{other.name}/traffic?resource=deploy")[0] == 0
        for path in (
            f"/namespaces/{shop.name}",
            f"/namespaces/{shop.name}/edges",
            f"/namespaces/{shop.name}/deployments",
            f"/namespaces/{shop.name}/deployments/b",
            f"/namespaces/{shop.name}/deployments/b/edges",
            f"/namespaces/{shop.name}/trafficmetrics/deployment.b",
            f"/namespaces/{shop.name}/traffic?resource=deploy",
            "/namespaces",
            "/nodes",
            "/deployments",
            "/trafficmetrics",
            "/traffic?resource=deploy",
        ):
            code, said = asks(API + path)
            assert code != 0, path
            assert "spiffe" not in said
            assert "deployment.b" not in said.replace("trafficmetrics/deployment.b", "").replace(
                f'"{"deployment.b"}"', ""
            )


def test_headers_without_the_api_servers_certificate_are_worth_nothing(shop: Place) -> None:
    address = got("-n", MESH, "service", "smi-mesh-metrics")["spec"]["clusterIP"]
    url = f"https://{address}{API}/namespaces/{shop.name}/deployments"
    script = (SCRIPTS / "pretend.py").read_text("utf-8")
    said = shop.exec("deploy/a", "python3", "-c", script, url, container="smi-mesh-proxy")
    code, _, body = said.partition(" ")
    assert (code, json.loads(body)["kind"]) == ("401", "Status")


def test_after_the_window_there_are_zeros(shop: Place) -> None:
    deadline = time.monotonic() + 60
    path = f"{API}/namespaces/{shop.name}/deployments/b?t=1s"
    while numbers(raw(path)) != (0, 0):
        assert time.monotonic() < deadline
    assert [metric["value"] for metric in raw(path)["metrics"]] == ["0"] * 5
