"""The demos on a cluster, with the very manifests that local mode plays them with: on one node and across two."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml
from cluster import APP_IMAGE, DEMOS, SCRIPTS, Place, eventually, nodes_for_pods, place, run

pytestmark = pytest.mark.usefixtures("mesh")

CLIENT = "deploy/client"


def ask(
    where: Place, url: str, times: int, method: str = "GET", caller: str = CLIENT, **headers: str
) -> dict[str, int]:
    """Answers by kind."""
    answers: dict[str, int] = where.python(caller, "ask", url, str(times), method, json.dumps(headers))
    return answers


@pytest.fixture(scope="module", params=[1, 2], ids=["one node", "two nodes"])
def nodes(request: pytest.FixtureRequest) -> list[str]:
    """Where the pods of a demo are: callers and called on the same node, or on different ones."""
    there = nodes_for_pods()
    if len(there) < request.param:
        pytest.skip(f"this cluster has {len(there)} node for pods")
    return there[: request.param]


@pytest.fixture(scope="module")
def canary(nodes: list[str]) -> Iterator[Place]:
    with place("e2e-canary", nodes=nodes) as where:
        where.apply(*sorted((DEMOS / "canary").glob("*.yaml")))
        where.settled()
        yield where


def split(**weights: str) -> dict[str, object]:
    backends = [{"service": f"myweb-service-{name}", "weight": weight} for name, weight in weights.items()]
    return {
        "apiVersion": "split.smi-spec.io/v1alpha1",
        "kind": "TrafficSplit",
        "metadata": {"name": "myweb-split"},
        "spec": {"service": "myweb-service", "backends": backends},
    }


def in_force(canary: Place, due: dict[str, int]) -> None:
    """Returns when twenty answers are a fiftieth of a thousand."""
    few = {version: count // 50 for version, count in due.items()}
    eventually(f"{due} is in force", lambda: ask(canary, "http://myweb-service/", 20) == few)


def test_pods_are_injected_and_ready(canary: Place, nodes: list[str]) -> None:
    rows = canary.kubectl("get", "pods", "--no-headers").splitlines()

    assert [row.split()[1:3] for row in rows] == [["2/2", "Running"]] * 7
    assert {pod["spec"]["nodeName"] for pod in canary.got("pods")["items"]} == set(nodes)


def test_canary_by_per_cent(canary: Place) -> None:
    answers = ask(canary, "http://myweb-service/", 1000)
    assert answers == {"Version 1": 900, "Version 2": 100}

    for weights, due in (
        ({"v1": "500m", "v2": "500m"}, {"Version 1": 500, "Version 2": 500}),
        ({"v1": "0", "v2": "1"}, {"Version 2": 1000}),
    ):
        canary.apply(split(**weights))
        in_force(canary, due)
        assert ask(canary, "http://myweb-service/", 1000) == due


def test_header_canary(nodes: list[str]) -> None:
    with place("e2e-header-canary", nodes=nodes) as where:
        where.apply(*sorted((DEMOS / "header-canary").glob("*.yaml")))
        where.settled()
        assert ask(where, "http://myweb-service/", 100) == {"Version 1": 100}
        assert ask(where, "http://myweb-service/", 100, Cookie="usertype=tester") == {"Version 2": 100}


def test_retries(nodes: list[str]) -> None:
    with place("e2e-retries", nodes=nodes) as where:
        where.apply(*sorted((DEMOS / "retries").glob("*.yaml")))
        where.settled()
        url = "http://retry-service/?failRate=50"
        busy = ask(where, f"{url}&mode=busy", 200)
        assert busy.get("answered", 0) >= 198
        # A crash takes two seconds, and the pod some more to come back: three calls, each when all pods are ready.
        for _ in range(3):
            where.settled()
            assert ask(where, url, 1) == {"answered": 1}
        posts = ask(where, f"{url}&mode=busy", 100, method="POST")
        assert 20 <= posts.get("answered", 0) <= 80
        where.kubectl("annotate", "service/retry-service", "retry.smi-mesh.io/limit-", "retry.smi-mesh.io/budget-")


def test_access(nodes: list[str]) -> None:
    with place("e2e-access", nodes=nodes) as where:
        folder = DEMOS / "access"
        where.apply(folder / "app.yaml", folder / "a-and-b.yaml")
        where.settled()
        assert ask(where, "http://b/", 10, caller="deploy/a") == {"403 denied": 10}
        where.apply(folder / "traffic-target.yaml")
        eventually("the target in force", lambda: "403 denied" not in ask(where, "http://b/", 10, caller="deploy/a"))
        where.kubectl("delete", "-f", str(folder / "traffic-target.yaml"))


@pytest.fixture(scope="module")
def mtls(nodes: list[str]) -> Iterator[Place]:
    with place("e2e-mtls", nodes=nodes) as where:
        where.apply(*sorted((DEMOS / "mtls").glob("*.yaml")))
        where.settled()
        yield where


def test_mutual_tls_is_seen(mtls: Place) -> None:
    """The server's sidecar counted who called, by certificate."""
    ask(mtls, "http://b/", 20, caller="deploy/a")
    script = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:4191/metrics').read().decode())"
    metrics = mtls.exec("deploy/b", "python3", "-c", script, container="smi-mesh-proxy")
    counted = [line for line in metrics.splitlines() if line.startswith("request_total") and 'tls="true"' in line]
    assert any('client_id="spiffe://cluster.local/ns/e2e-mtls/sa/a"' in line for line in counted)


def test_between_pods_nothing_is_in_the_clear(mtls: Place) -> None:
    """A pod with its node's network sees what goes to b and comes from it, there too, but not what is in it."""
    b = mtls.got("pods", "-l", "app=b")["items"][0]
    address, node = b["status"]["podIP"], b["spec"]["nodeName"]
    marker = "a-marker-that-nobody-else-would-send"
    container = {
        "name": "c",
        "image": APP_IMAGE,
        "command": ["python3", "-c", (SCRIPTS / "capture.py").read_text("utf-8"), address, marker, "10"],
        "securityContext": {"capabilities": {"add": ["NET_RAW"]}},
    }
    spec = {"hostNetwork": True, "nodeName": node, "restartPolicy": "Never", "containers": [container]}
    watcher = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "watcher"}, "spec": spec}
    mtls.kubectl("apply", "-f", "-", text=yaml.safe_dump(watcher))
    eventually("it captures", lambda: "capturing" in run("kubectl", "-n", mtls.name, "logs", "watcher").stdout)
    ask(mtls, f"http://b/{marker}", 50, caller="deploy/a", **{"X-Marker": marker})
    mtls.kubectl("wait", "pod/watcher", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    seen = json.loads(mtls.kubectl("logs", "watcher").replace("capturing\n", ""))
    assert seen["packets"] > 50
    assert seen["seen"] == 0
