"""Which pods get a sidecar, and what becomes of them."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from proxy.contract.config import File
from translator.kube.admission.decide import decide
from translator.kube.admission.inject import injected
from translator.kube.admission.settings import Injected
from translator.kube.admission.validate import faults

ON = {"smi-mesh.io/inject": "enabled"}
SETTINGS = Injected()
BUNDLE = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"


def pod(annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "web", "image": "web", "ports": [{"name": "http", "containerPort": 8080}]}]
    return {
        "metadata": {
            "generateName": "web-5d4f-",
            "labels": {"pod-template-hash": "5d4f"},
            "ownerReferences": [{"controller": True, "kind": "ReplicaSet", "name": "web-5d4f"}],
            "annotations": {**ON, **(annotations or {})},
        },
        "spec": {"containers": containers, **spec},
    }


def sidecar_of(new: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = new["spec"]["initContainers"][0]
    return found


def told(new: dict[str, Any]) -> File:
    """What the sidecar reads, with the kubelet's variables still in it."""
    env = {one["name"]: one.get("value", "") for one in sidecar_of(new)["env"]}
    return msgspec.json.decode(env["SMI_MESH_SIDECAR"], type=File)


@pytest.mark.parametrize(
    ("own", "inherited", "inject"),
    [
        (ON, {}, True),
        ({}, ON, True),
        ({"linkerd.io/inject": "enabled"}, {}, True),
        ({"smi-mesh.io/inject": "disabled"}, ON, False),
        ({"smi-mesh.io/inject": "disabled", "linkerd.io/inject": "enabled"}, {}, False),
        ({}, {"linkerd.io/inject": "enabled"}, True),
        ({}, {}, False),
        ({"smi-mesh.io/inject": "yes"}, {}, False),
    ],
    ids=str,
)
def test_the_pods_annotation_wins_over_its_namespaces(
    own: dict[str, str], inherited: dict[str, str], inject: bool
) -> None:
    asked = pod()
    asked["metadata"]["annotations"] = own
    assert decide(asked, "shop", inherited, SETTINGS).inject is inject


def test_linkerds_annotation_is_linkerds_where_linkerd_is() -> None:
    asked = pod()
    asked["metadata"]["annotations"] = {"linkerd.io/inject": "enabled"}
    assert not decide(asked, "shop", {}, Injected(linkerd_alias=False)).inject


@pytest.mark.parametrize("namespace", ["kube-system", "kube-public", "smi-mesh"])
def test_some_namespaces_never(namespace: str) -> None:
    assert not decide(pod(), namespace, ON, SETTINGS).inject


def test_a_nodes_network_is_not_ours() -> None:
    decision = decide(pod(hostNetwork=True), "shop", {}, SETTINGS)
    assert (decision.inject, decision.refused) == (False, False)
    assert "hostNetwork" in decision.why


@pytest.mark.parametrize(
    "spec",
    [
        {"securityContext": {"runAsUser": 2102}},
        {"initContainers": [{"name": "migrate", "securityContext": {"runAsUser": 2102}}]},
    ],
    ids=str,
)
def test_who_would_run_as_the_sidecar_is_refused(spec: dict[str, Any]) -> None:
    decision = decide(pod(**spec), "shop", {}, SETTINGS)
    assert decision.refused
    assert "2102" in decision.why


def test_a_pod_gets_init_and_sidecar_before_its_own() -> None:
    asked = pod(initContainers=[{"name": "migrate"}], volumes=[{"name": "data", "emptyDir": {}}])
    before = copy.deepcopy(asked)
    new = injected(asked, {}, SETTINGS, BUNDLE)

    assert asked == before
    assert [one["name"] for one in new["spec"]["initContainers"]] == ["smi-mesh-proxy", "smi-mesh-init", "migrate"]
    sidecar, init, _ = new["spec"]["initContainers"]
    assert init["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]}
    assert init["command"] == ["python3", "-m", "proxy", "init", "--state", "/run/smi-mesh"]
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["securityContext"]["runAsUser"] == 2102
    assert sidecar["securityContext"]["readOnlyRootFilesystem"] is True
    assert {one["name"] for one in new["spec"]["volumes"]} == {"data", "smi-mesh-run", "smi-mesh-token"}
    assert new["metadata"]["annotations"]["smi-mesh.io/proxy-status"] == "injected"
    assert not decide(new, "shop", ON, SETTINGS).inject


def test_the_sidecar_is_told_who_it_is_by_the_kubelet() -> None:
    new = injected(pod(), {}, SETTINGS, BUNDLE)
    file = told(new)

    assert file.config.trust is not None
    assert file.config.trust.bundle == BUNDLE
    assert file.sidecar.pod == "$(POD_NAME)"
    assert (file.sidecar.workload_kind, file.sidecar.workload) == ("Deployment", "web")
    assert file.sidecar.listeners.transparent
    assert file.sidecar.control is not None
    assert file.sidecar.control.address == "smi-mesh-controller.smi-mesh.svc.cluster.local."
    fields = [one["name"] for one in sidecar_of(new)["env"] if "valueFrom" in one]
    assert fields == ["POD_NAME", "POD_NAMESPACE", "POD_IP", "POD_SERVICE_ACCOUNT"]


def test_probes_go_through_the_sidecar() -> None:
    container = {
        "name": "web",
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": "http", "httpHeaders": [{"name": "X-Probe", "value": "1"}]},
            "timeoutSeconds": 3,
            "periodSeconds": 1,
        },
        "livenessProbe": {"tcpSocket": {"port": 8080}},
        "startupProbe": {"grpc": {"port": 9000}},
        "lifecycle": {"postStart": {"httpGet": {"path": "/hello", "port": 8080, "scheme": "HTTPS"}}},
    }
    new = injected(pod(containers=[container]), {}, SETTINGS, BUNDLE)

    (web,) = new["spec"]["containers"]
    assert web["readinessProbe"] == {
        "httpGet": {"path": "/probe/web-readinessProbe", "port": 4191},
        "timeoutSeconds": 3,
        "periodSeconds": 1,
    }
    assert web["livenessProbe"] == {"httpGet": {"path": "/probe/web-livenessProbe", "port": 4191}}
    assert web["startupProbe"] == {"httpGet": {"path": "/probe/web-startupProbe", "port": 4191}}
    probes = {probe.name: probe for probe in told(new).sidecar.probes}
    ready = probes["web-readinessProbe"]
    assert (ready.kind, ready.port, ready.path, ready.timeout) == ("http", 8080, "/ready", 3.0)
    assert ready.headers == (("X-Probe", "1"),)
    assert (probes["web-livenessProbe"].kind, probes["web-livenessProbe"].port) == ("tcp", 8080)
    assert (probes["web-startupProbe"].kind, probes["web-startupProbe"].port) == ("grpc", 9000)
    assert probes["web-postStart"].scheme == "https"


@pytest.mark.parametrize(("grace", "seconds"), [(None, 5), (9, 3), (2, None)])
def test_an_application_serves_on_for_a_moment(grace: int | None, seconds: int | None) -> None:
    asked = pod()
    if grace is not None:
        asked["spec"]["terminationGracePeriodSeconds"] = grace
    new = injected(asked, {}, SETTINGS, BUNDLE)
    hook = new["spec"]["containers"][0].get("lifecycle", {}).get("preStop")
    assert hook == (None if seconds is None else {"sleep": {"seconds": seconds}})


def test_a_hook_of_its_own_is_left_alone() -> None:
    own = {"preStop": {"exec": {"command": ["drain"]}}}
    new = injected(pod(containers=[{"name": "web", "lifecycle": own}]), {}, SETTINGS, BUNDLE)
    assert new["spec"]["containers"][0]["lifecycle"] == own


def test_annotations_of_the_sidecar() -> None:
    annotations = {
        "smi-mesh.io/skip-inbound-ports": "25,8000-8010",
        "smi-mesh.io/skip-subnets": "10.0.0.0/8",
        "smi-mesh.io/skip-outbound-ports": "nonsense",
        "smi-mesh.io/proxy-cpu-request": "100m",
        "smi-mesh.io/proxy-memory-limit": "128Mi",
        "smi-mesh.io/log-level": "debug",
        "smi-mesh.io/http-proxy": "enabled",
    }
    inherited = {"smi-mesh.io/access-log": "json", "smi-mesh.io/log-level": "error"}
    new = injected(pod(annotations), inherited, SETTINGS, BUNDLE)

    sidecar, init = new["spec"]["initContainers"]
    assert init["command"][6:] == ["--skip-inbound-ports", "25,8000-8010", "--skip-subnets", "10.0.0.0/8"]
    assert sidecar["resources"] == {
        "requests": {"cpu": "100m", "memory": "48Mi"},
        "limits": {"memory": "128Mi"},
    }
    assert (told(new).sidecar.log_level, told(new).sidecar.access_log) == ("debug", "json")
    env = {one["name"]: one["value"] for one in new["spec"]["containers"][0]["env"]}
    assert env["HTTP_PROXY"] == env["http_proxy"] == "http://127.0.0.1:4140"


@pytest.mark.parametrize(
    ("annotations", "resources"),
    [
        ({"cpu-request": "lots", "memory-limit": "-1"}, {"requests": {"cpu": "10m", "memory": "48Mi"}}),
        ({"cpu-request": "0", "memory-request": ""}, {"requests": {"cpu": "10m", "memory": "48Mi"}}),
        ({"cpu-limit": "1"}, {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"cpu": "1"}}),
        ({"memory-limit": "32Mi"}, {"requests": {"cpu": "10m"}, "limits": {"memory": "32Mi"}}),
    ],
    ids=str,
)
def test_no_pod_fails_for_what_its_sidecar_may_use(annotations: dict[str, str], resources: dict[str, Any]) -> None:
    written = {f"smi-mesh.io/proxy-{name}": value for name, value in annotations.items()}
    new = injected(pod(written), {}, SETTINGS, BUNDLE)
    assert new["spec"]["initContainers"][0]["resources"] == resources


def test_wrong_annotations_are_named_wherever_they_stand() -> None:
    thing = {
        "metadata": {"annotations": {"smi-mesh.io/inject": "yes", "smi-mesh.io/opaque-ports": "25,99999"}},
        "spec": {
            "template": {
                "metadata": {"annotations": {"smi-mesh.io/injct": "enabled", "smi-mesh.io/proxy-cpu-limit": "lots"}}
            },
            "jobTemplate": {"spec": {"template": {"metadata": {"annotations": {"smi-mesh.io/skip-subnets": "x"}}}}},
        },
    }
    found = list(faults(thing))
    assert len(found) == 5
    assert found[0] == "metadata.annotations[smi-mesh.io/inject]: 'yes' is not one of enabled, disabled"
    assert "spec.template.metadata.annotations[smi-mesh.io/injct]: is not known" in found[2]
    assert "annotations[smi-mesh.io/proxy-cpu-limit]: `lots` is not a quantity" in found[3]
    assert list(faults({"metadata": {"annotations": {**ON, "smi-mesh.io/unmeshed": "allow", "other": "x"}}})) == []
