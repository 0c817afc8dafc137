"""A HorizontalPodAutoscaler of Kubernetes' own scales by what the mesh counts; nobody's adapter is taken over."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster import DEMOS, IMAGE, MESH, Place, eventually, got, kubectl, place, run, smi
from underload import load

pytestmark = pytest.mark.usefixtures("mesh")

WITH = ("--set", "hpaMetrics=true")
IMAGE_SET = ("--set", f"image={IMAGE}")
SERVICES = ("v1beta2.custom.metrics.k8s.io", "v1beta1.custom.metrics.k8s.io", "v1beta1.external.metrics.k8s.io")
CUSTOM = "/apis/custom.metrics.k8s.io/v1beta2"

RATE = 30.0
PER_POD = 10
WANTED = 3
"""Pods that the rate needs, of which each is to have ``PER_POD`` requests a second."""

PATIENCE = 120.0
"""Seconds; an autoscaler looks every 15, and what it sees is an average over the last 30."""


def there() -> set[str]:
    ended = run("kubectl", "get", "apiservices", *SERVICES, "-o", "name", "--ignore-not-found")
    return {line.partition("/")[2] for line in ended.stdout.split()}


@pytest.fixture(scope="module")
def autoscaled() -> Iterator[None]:
    """The mesh with what autoscalers read, and afterwards without it."""
    if there():
        pytest.skip("another adapter answers this cluster's autoscalers: it is not taken over")
    kubectl("apply", "-f", "-", text=smi("install", *IMAGE_SET, *WITH))
    try:
        settled()
        for name in SERVICES:
            kubectl("wait", f"apiservice/{name}", "--for=condition=Available", "--timeout=60s")
        yield
    finally:
        plain = {(thing["kind"], thing["metadata"]["name"]) for thing in objects(smi("uninstall"))}
        added = [
            thing
            for thing in objects(smi("uninstall", *WITH))
            if (thing["kind"], thing["metadata"]["name"]) not in plain
        ]
        kubectl("delete", "-f", "-", "--ignore-not-found", text=yaml.safe_dump_all(added))
        kubectl("apply", "-f", "-", text=smi("install", *IMAGE_SET))
        settled()


def settled() -> None:
    kubectl("-n", MESH, "rollout", "status", "deployment/smi-mesh-controller", "--timeout=120s")


def objects(text: str) -> list[dict[str, Any]]:
    return [thing for thing in yaml.safe_load_all(text) if thing]


def checked(*arguments: str) -> dict[str, Any]:
    """The answer about autoscalers."""
    # Whatever else there is to say: before an installation a mesh is in the way.
    said = run(str(Path(sys.executable).with_name("smi")), "check", *arguments, "-o", "json").stdout
    report = json.loads(said)
    found = [
        one
        for category in report["categories"]
        for one in category["checks"]
        if category["categoryName"] in ("pre-autoscaling", "smi-mesh-autoscaling")
    ]
    [answer] = found
    return dict(answer)


def test_another_adapter_is_named_before_it_is_taken_over() -> None:
    if there():
        pytest.skip("another adapter answers this cluster's autoscalers")
    group, version = "custom.metrics.k8s.io", "v1beta1"
    spec = {
        "group": group,
        "version": version,
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "insecureSkipTLSVerify": True,
        "service": {"namespace": "monitoring", "name": "prometheus-adapter"},
    }
    other = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "spec": spec}
    other["metadata"] = {"name": f"{version}.{group}"}
    assert checked("--pre")["result"] == "success"
    kubectl("apply", "-f", "-", text=yaml.safe_dump(other))
    try:
        answer = checked("--pre")
        assert answer["result"] == "warning"
        assert f"{version}.{group} is monitoring/prometheus-adapter" in json.dumps(answer)
        # A mesh that was installed without minds nobody.
        assert checked()["result"] == "success"
    finally:
        # A group whose server is not there keeps namespaces from ending.
        kubectl("delete", "apiservice", f"{version}.{group}")


def test_a_deployment_is_scaled_up_by_its_requests(autoscaled: None) -> None:
    with place("e2e-autoscale") as where:
        where.apply(*sorted((DEMOS / "mtls").glob("*.yaml")))
        where.apply(autoscaler())
        where.settled()
        assert replicas(where) == 1
        with load(where, RATE, ("GET",), workload="deploy/a", url="http://b/") as found:
            eventually("the mesh measures it", lambda: measured(where) > RATE / 2, 30)
            eventually(f"there are {WANTED} pods", lambda: replicas(where) >= WANTED, PATIENCE)
            where.kubectl("rollout", "status", "deployment/b", "--timeout=60s")
            eventually("all of them have a share", lambda: shares(where) >= WANTED, 60)
        # It was asked by the name and the Kind that it has, and says so.
        status = where.got("hpa", "b")["status"]
        [metric] = status["currentMetrics"]
        assert metric["pods"]["metric"]["name"] == "requests_per_second"
        active = next(one for one in status["conditions"] if one["type"] == "ScalingActive")
        assert (active["status"], active["reason"]) == ("True", "ValidMetricFound")
        # And nobody who called noticed.
        assert found.failed == [], found.counted()


def autoscaler() -> dict[str, Any]:
    metric = {
        "type": "Pods",
        "pods": {
            "metric": {"name": "requests_per_second"},
            "target": {"type": "AverageValue", "averageValue": str(PER_POD)},
        },
    }
    up = {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}]}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "b"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "b"},
            "minReplicas": 1,
            # More than are needed: it has to stop by itself.
            "maxReplicas": 2 * WANTED,
            "metrics": [metric],
            "behavior": {"scaleUp": up},
        },
    }


def replicas(where: Place) -> int:
    return int(where.got("deployment", "b")["spec"]["replicas"])


def values(where: Place) -> list[float]:
    """Requests a second of each pod of b, as an autoscaler reads them."""
    path = f"{CUSTOM}/namespaces/{where.name}/pods/*/requests_per_second?labelSelector=app%3Db"
    ended = run("kubectl", "get", "--raw", path)
    items = json.loads(ended.stdout)["items"] if ended.returncode == 0 else []
    return [quantity(item["value"]) for item in items]


def quantity(text: str) -> float:
    units = {"m": 1e-3, "u": 1e-6}
    return float(text.rstrip("mu")) * units.get(text[-1], 1.0)


def measured(where: Place) -> float:
    return sum(values(where))


def shares(where: Place) -> int:
    return sum(value > 1.0 for value in values(where))


def test_the_check_knows_whose_they_are(autoscaled: None) -> None:
    assert checked()["result"] == "success"
    spec = got("apiservice", SERVICES[0])["spec"]
    assert spec["service"] == {"name": "smi-mesh-metrics", "namespace": MESH, "port": 443}
