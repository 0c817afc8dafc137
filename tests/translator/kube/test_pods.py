"""Pods of an API server as the compiler sees them."""

from __future__ import annotations

from typing import Any

import pytest

from translator.kube.pods import owner_of, running_pod


def pod(**changes: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web-1", "namespace": "shop", "labels": {"app": "web"}, **changes.get("metadata", {})},
        "spec": {"serviceAccountName": "web", "containers": [{"name": "c"}], **changes.get("spec", {})},
        "status": {
            "phase": "Running",
            "podIP": "10.1.0.5",
            "conditions": [{"type": "Ready", "status": "True"}],
            **changes.get("status", {}),
        },
    }


def test_a_running_pod() -> None:
    ports = [{"name": "http", "containerPort": 8080}, {"containerPort": 9090}, {"containerPort": 53, "protocol": "UDP"}]
    found = running_pod(
        pod(spec={"containers": [{"name": "c", "ports": ports}], "initContainers": [{"name": "smi-mesh-proxy"}]})
    )
    assert found is not None
    assert (found.meta.key, found.ip, found.service_account, found.ready) == ("shop/web-1", "10.1.0.5", "web", True)
    assert found.ports == {"http": 8080, "9090": 9090}
    assert found.mesh_port == 4143
    assert (found.workload_kind, found.workload) == ("Pod", "web-1")


def test_ports_are_found_as_kubernetes_finds_them() -> None:
    def container(name: str, number: int, **rest: Any) -> dict[str, Any]:
        return {"name": name, "ports": [{"name": "http", "containerPort": number}], **rest}

    native = {
        "name": "front",
        "restartPolicy": "Always",
        "ports": [{"name": "tls", "containerPort": 8443}, {"name": "http", "containerPort": 3}],
    }
    spec = {
        "containers": [container("a", 1), container("b", 2)],
        "initContainers": [
            {
                "name": "smi-mesh-proxy",
                "restartPolicy": "Always",
                "ports": [{"name": "smi-mesh", "containerPort": 4143}],
            },
            {"name": "before", "ports": [{"name": "once", "containerPort": 9}]},
            native,
        ],
    }
    found = running_pod(pod(spec=spec))
    assert found is not None
    assert found.ports == {"http": 1, "tls": 8443}


def test_without_a_sidecar_it_is_not_meshed() -> None:
    found = running_pod(pod())
    assert found is not None
    assert not found.meshed


@pytest.mark.parametrize(
    "status", [{"podIP": None}, {"podIP": "x"}, {"phase": "Succeeded"}, {"phase": "Failed"}], ids=str
)
def test_one_that_has_ended_or_no_address_is_none(status: dict[str, Any]) -> None:
    assert running_pod(pod(status=status)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}},
        {"status": {"conditions": [{"type": "Ready", "status": "False"}]}},
        {"status": {"conditions": None}},
    ],
    ids=str,
)
def test_one_that_is_ending_or_not_ready_serves_nobody(changes: dict[str, Any]) -> None:
    found = running_pod(pod(**changes))
    assert found is not None
    assert not found.ready


def test_only_annotations_of_ours_are_kept() -> None:
    written = {"smi-mesh.io/policy-mode": "audit", "other/huge": "x" * 1000, "linkerd.io/inject": "enabled"}
    found = running_pod(pod(metadata={"annotations": written}))
    assert found is not None
    assert set(found.meta.annotations) == {"smi-mesh.io/policy-mode", "linkerd.io/inject"}


@pytest.mark.parametrize(
    ("meta", "owner"),
    [
        ({"name": "x"}, ("Pod", "x")),
        ({"generateName": "job-"}, ("Pod", "job")),
        (
            {
                "labels": {"pod-template-hash": "5d4f"},
                "ownerReferences": [{"controller": True, "kind": "ReplicaSet", "name": "web-5d4f"}],
            },
            ("Deployment", "web"),
        ),
        ({"ownerReferences": [{"controller": True, "kind": "ReplicaSet", "name": "bare"}]}, ("ReplicaSet", "bare")),
        ({"ownerReferences": [{"controller": True, "kind": "StatefulSet", "name": "db"}]}, ("StatefulSet", "db")),
        ({"name": "x", "ownerReferences": [{"kind": "Other", "name": "y"}]}, ("Pod", "x")),
    ],
    ids=str,
)
def test_the_workload_is_found_by_its_owner(meta: dict[str, Any], owner: tuple[str, str]) -> None:
    assert owner_of(meta) == owner
