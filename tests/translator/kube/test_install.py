"""What `smi install` prints: the manifests, once more by kustomize, and the operator's options in them."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from manifests import installation
from translator.cli import main

KUBECTL = shutil.which("kubectl")


def printed(*arguments: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return list(yaml.safe_load_all(result.output))


def by_name(objects: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(thing["kind"], thing["metadata"]["name"]): thing for thing in objects}


def controller(objects: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = by_name(objects)["Deployment", "smi-mesh-controller"]["spec"]
    return found


@pytest.mark.skipif(KUBECTL is None, reason="there is no kubectl: kustomize was not asked")
@pytest.mark.parametrize(
    ("overlay", "arguments"), [("default", ()), ("ha", ("--ha",)), ("hpa", ("--set", "hpaMetrics=true"))]
)
def test_it_is_what_kustomize_makes_of_the_overlay(overlay: str, arguments: tuple[str, ...]) -> None:
    command = [str(KUBECTL), "kustomize", str(installation(f"overlays/{overlay}"))]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert by_name(printed("install", *arguments)) == by_name(list(yaml.safe_load_all(made)))


def test_the_same_options_print_the_same_text_without_any_secret() -> None:
    first, again = (CliRunner().invoke(main, ["install", "--ha"]).output for _ in range(2))
    assert first == again
    assert "caBundle" not in first
    assert "kind: Secret" not in first


def test_options_come_where_they_belong() -> None:
    spec = controller(printed("install", "--set", "image=x/y:1", "--default-policy", "deny", "--set", "replicas=3"))
    (container,) = spec["template"]["spec"]["containers"]
    assert (container["image"], spec["replicas"]) == ("x/y:1", 3)
    assert {"--image=x/y:1", "--default-policy=deny"} <= set(container["args"])


def test_without_mtls_nobody_has_an_identity_so_all_are_let_in_unless_said_otherwise() -> None:
    arguments = controller(printed("install", "--disable-mtls"))["template"]["spec"]["containers"][0]["args"]
    assert {"--disable-mtls", "--default-policy=allow"} <= set(arguments)


@pytest.mark.parametrize(
    "pair",
    ["imge=x", "replicas=0", "imagePullPolicy=Sometimes", "image", "hpaMetrics=yes", "metricsBackend=influx",
     "metricsBackend=prometheus"],
)  # fmt: skip
def test_a_setting_that_is_none_is_named(pair: str) -> None:
    result = CliRunner().invoke(main, ["install", "--set", pair])
    assert result.exit_code == 2
    assert pair.partition("=")[0] in result.output


def test_what_uninstall_prints_is_all_that_outlives_the_namespace() -> None:
    kinds = [thing["kind"] for thing in printed("uninstall")]
    assert kinds[-1] == "Namespace"
    assert kinds.count("CustomResourceDefinition") == 6
    assert not {"Deployment", "Service", "ServiceAccount", "Role"} & set(kinds)
    assert [thing["kind"] for thing in printed("upgrade")] == [thing["kind"] for thing in printed("install")]


def test_what_autoscalers_read_is_there_for_those_who_ask_for_it() -> None:
    plain, more = by_name(printed("install")), by_name(printed("install", "--set", "hpaMetrics=true"))
    added = more.keys() - plain.keys()
    services = {name for kind, name in added if kind == "APIService"}
    assert services == {
        "v1beta1.custom.metrics.k8s.io",
        "v1beta2.custom.metrics.k8s.io",
        "v1beta1.external.metrics.k8s.io",
    }
    assert "--hpa-metrics" in controller(list(more.values()))["template"]["spec"]["containers"][0]["args"]
    assert by_name(printed("install", "--set", "hpaMetrics=false")) == plain

    # The controller may write its CA into these and no others.
    (rule,) = more["ClusterRole", "smi-mesh-hpa"]["rules"]
    assert (set(rule["resourceNames"]), rule["verbs"]) == (services, ["get", "patch"])
    (reader,) = more["ClusterRoleBinding", "smi-mesh-hpa-reader"]["subjects"]
    assert (reader["namespace"], reader["name"]) == ("kube-system", "horizontal-pod-autoscaler")


def test_metrics_can_be_those_of_a_prometheus() -> None:
    settings = ("--set", "metricsBackend=prometheus", "--set", "prometheusUrl=http://prometheus.monitoring:9090")
    arguments = controller(printed("install", *settings))["template"]["spec"]["containers"][0]["args"]
    assert {"--metrics-backend=prometheus", "--prometheus-url=http://prometheus.monitoring:9090"} <= set(arguments)


def test_uninstall_takes_the_groups_of_autoscalers_away_only_where_they_are_the_meshs() -> None:
    """Another adapter's APIService has the same name."""
    named = {(thing["kind"], thing["metadata"]["name"]) for thing in printed("uninstall")}
    more = {(thing["kind"], thing["metadata"]["name"]) for thing in printed("uninstall", "--set", "hpaMetrics=true")}
    assert not any("custom.metrics" in name for _, name in named)
    assert {kind for kind, _ in more - named} == {"APIService", "ClusterRole", "ClusterRoleBinding"}
