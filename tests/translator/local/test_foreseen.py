"""The pods that would be started of a folder."""

from __future__ import annotations

from smi.decode import decode_text
from smi.workloads import Pod
from translator.local.foreseen import foreseen

TEMPLATE = (
    "template: {metadata: {labels: {app: a}%s}, spec: {serviceAccountName: me, containers: "
    "[{name: c, ports: [{containerPort: 8080}, {containerPort: 9090, name: admin}]}]}}"
)


def pods(kind: str, more: str, annotations: str = "") -> tuple[Pod, ...]:
    text = (
        f"apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: a, namespace: shop}}\n"
        f"spec: {{{more}selector: {{matchLabels: {{app: a}}}}, {TEMPLATE % annotations}}}\n"
    )
    decoded = decode_text(text, "a.yaml")
    assert decoded.problems == ()
    return foreseen(decoded.objects)


def test_a_deployment_has_its_replicas_all_ready_at_addresses_of_their_own() -> None:
    first, second = pods("Deployment", "replicas: 2, ")
    assert first.meta.key.startswith("shop/a-")
    assert [pod.meta.name[-2:] for pod in (first, second)] == ["-0", "-1"]
    assert [(pod.ip, pod.ready, pod.mesh_port) for pod in (first, second)] == [
        ("127.80.0.2", True, 4143),
        ("127.80.0.3", True, 4143),
    ]
    assert (first.service_account, first.workload, first.workload_kind) == ("me", "a", "Deployment")
    assert first.ports == {"8080": 8080, "admin": 9090}
    assert first.meta.labels == {"app": "a"}


def test_a_stateful_set_has_names_by_number() -> None:
    assert [pod.meta.name for pod in pods("StatefulSet", "serviceName: a, replicas: 3, ")] == ["a-0", "a-1", "a-2"]


def test_without_a_sidecar_there_is_no_mesh_port() -> None:
    (pod,) = pods("Deployment", "", ", annotations: {smi-mesh.io/inject: disabled}")
    assert not pod.meshed


def test_many_pods_have_many_addresses() -> None:
    assert len({pod.ip for pod in pods("Deployment", "replicas: 600, ")}) == 600


def test_there_are_no_more_pods_than_addresses_whatever_is_asked_for() -> None:
    for kind in ("Deployment", "StatefulSet"):
        assert pods(kind, "replicas: 1000000000000, ")[-1].ip == "127.80.255.255"
