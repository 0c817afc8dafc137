"""The Helm charts are what `smi install` prints, whatever is set, and are what `make charts` writes."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gotemplate
import pytest
import yaml
from click.testing import CliRunner

from manifests import installation
from translator.charts.__main__ import main as write
from translator.charts.files import FILES, VALUES, VERSION, charts
from translator.charts.templates import conditional
from translator.cli import main
from translator.cli.install import shipped
from translator.kube.install import SETTINGS, SWITCHES

HOUSE = Path(__file__).parents[2]
CHARTS = installation("helm")
MESH, CRDS = CHARTS / "smi-mesh", CHARTS / "smi-mesh-crds"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
HELM = shutil.which("helm")

CHANGED: dict[str, Any] = {
    "image": "registry.example:5000/smi-mesh@sha256:abc",
    "imagePullPolicy": "Always",
    "replicas": 3,
    "trustDomain": "mesh.example",
    "clusterDomain": "cluster.example",
    "logLevel": 'de"bug\\ é: #',
    "proxyLogLevel": "warning",
    "metricsBackend": "prometheus",
    "prometheusUrl": "https://mimir.example:8443/prometheus",
    "cpuRequest": "1",
    "memoryRequest": "1e3",
}
"""A value for each key of ``--set``."""

FLAGS = {"ha": "--ha", "disableMtls": "--disable-mtls"}

CASES: list[dict[str, Any]] = [
    {},
    CHANGED,
    *({key: value} for key, value in CHANGED.items() if key != "metricsBackend"),
    *(
        {
            key: value
            for key, value in zip(("ha", "disableMtls", "defaultPolicy", "replicas"), some, strict=True)
            if value
        }
        for some in itertools.product((False, True), (False, True), ("", "same-identity"), (None, 3))
    ),
    {"hpaMetrics": True},
    {"hpaMetrics": True, "ha": True, "disableMtls": True, "defaultPolicy": "same-identity", "replicas": 3},
]


def installed(values: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    """What `smi install` prints with the options that the values stand for."""
    arguments = ["install"]
    for key, value in values.items():
        if key in FLAGS:
            arguments += [FLAGS[key]] if value else []
        elif key == "hpaMetrics":
            arguments += ["--set", f"hpaMetrics={str(value).lower()}"]
        elif key == "defaultPolicy":
            arguments += ["--default-policy", value]
        else:
            arguments += ["--set", f"{key}={value}"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return by_name(yaml.load_all(result.output, Loader=LOADER))


def by_name(objects: Any) -> dict[tuple[str, str], Any]:
    listed = [thing for thing in objects if thing]
    found = {(thing["kind"], thing["metadata"]["name"]): thing for thing in listed}
    assert len(found) == len(listed)
    return found


@pytest.mark.parametrize("values", CASES, ids=json.dumps)
def test_both_charts_together_are_what_install_prints(values: dict[str, Any]) -> None:
    crds, mesh = gotemplate.rendered(CRDS, {}), gotemplate.rendered(MESH, {**values, "createNamespace": True})
    assert by_name([*crds, *mesh]) == installed(values)


def test_by_default_the_namespace_is_whose_who_installs() -> None:
    wanted = installed({})
    del wanted["Namespace", "smi-mesh"]
    assert by_name([*gotemplate.rendered(CRDS, {}), *gotemplate.rendered(MESH, {})]) == wanted
    assert {thing["kind"] for thing in gotemplate.rendered(CRDS, {})} == {"CustomResourceDefinition"}


def helm(chart: Path, values: Mapping[str, Any], tmp_path: Path) -> subprocess.CompletedProcess[str]:
    (tmp_path / "values.yaml").write_text(json.dumps(values))
    command = [str(HELM), "template", "x", str(chart), "-n", "smi-mesh", "-f", str(tmp_path / "values.yaml")]
    command += ["--kube-version", "1.29.0"]  # a helm that nobody told of a newer one believes in an old one
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.skipif(HELM is None, reason="there is no helm: its own opinion of the charts was not asked")
@pytest.mark.parametrize("values", CASES, ids=json.dumps)
def test_helm_makes_the_same_of_them(values: dict[str, Any], tmp_path: Path) -> None:
    done = helm(MESH, values, tmp_path)
    assert done.returncode == 0, done.stderr
    assert by_name(yaml.safe_load_all(done.stdout)) == by_name(gotemplate.rendered(MESH, values))


@pytest.mark.skipif(HELM is None, reason="there is no helm: its own opinion of the charts was not asked")
def test_helm_finds_nothing_wrong_with_the_charts_and_refuses_what_install_refuses(tmp_path: Path) -> None:
    subprocess.run([str(HELM), "lint", "--strict", str(MESH), str(CRDS)], check=True, capture_output=True)
    assert by_name(yaml.safe_load_all(helm(CRDS, {}, tmp_path).stdout)) == by_name(gotemplate.rendered(CRDS, {}))
    for wrong in ({"imge": "x"}, {"replicas": 0}, {"imagePullPolicy": "Sometimes"}, {"defaultPolicy": "all"}):
        assert helm(MESH, wrong, tmp_path).returncode != 0, wrong


def test_the_schema_and_the_values_have_the_same_keys_as_install() -> None:
    schema = json.loads((MESH / "values.schema.json").read_text())
    own = {*FLAGS, "defaultPolicy", "createNamespace"}
    assert list(gotemplate.values_of(MESH)) == list(VALUES)
    assert set(VALUES) == {*SETTINGS, *SWITCHES} | own
    assert set(CHANGED) == set(SETTINGS)
    assert set(schema["properties"]) == {*VALUES, "global"}
    assert schema["additionalProperties"] is False


def test_there_is_a_file_for_every_kind_and_the_version_is_the_products() -> None:
    assert {kind for kind, _ in installed({"ha": True})} == {*FILES, "CustomResourceDefinition"}
    assert tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]["version"] == VERSION
    for chart in (MESH, CRDS):
        about = yaml.safe_load((chart / "Chart.yaml").read_text())
        assert (about["name"], about["version"], about["appVersion"]) == (chart.name, VERSION, VERSION)


def test_the_charts_are_current(tmp_path: Path) -> None:
    """``make charts`` makes them so."""
    there = {str(file.relative_to(CHARTS)): file.read_text() for file in CHARTS.rglob("*") if file.is_file()}
    assert there == charts(shipped()), "make charts"
    (tmp_path / "smi-mesh" / "templates").mkdir(parents=True)
    (tmp_path / "smi-mesh" / "templates" / "gone.yaml").write_text("")
    write([str(tmp_path)])
    assert {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()} == set(there)
    with pytest.raises(SystemExit):
        write([])


def test_values_that_change_the_same_lines_in_different_ways_are_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="change the same lines"):
        conditional("a\nb\nc\n", {"x": "a\n1\nc\n", "y": "a\n2\n"})
    with pytest.raises(ValueError, match="change the same lines"):
        conditional("a\n", {"x": "a\n1\n", "y": "a\n2\n"})
