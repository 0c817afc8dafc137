"""Argo CD and Flux: the health of SMI objects, and examples that are whole and lead to what is there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from lupa import lua51  # as old a Lua as Argo CD's

from manifests import installation
from smi.crds.definitions import definitions
from translator.cli import main

HOUSE = Path(__file__).parents[2]
GITOPS = installation("gitops")
SHOP = ("workloads.yaml", "traffic.yaml")
KUBECTL = shutil.which("kubectl")
CASES: list[dict[str, Any]] = yaml.safe_load((HOUSE / "tests/manifests/argocd-health/cases.yaml").read_text())
KEY = "resource.customizations.health."

MISSING = ("debug", "io", "math", "os", "package", "string", "coroutine", "python", "require", "dofile", "loadfile")
"""Of Lua's libraries what Argo CD does not let health checks have, and what the tests' Lua has beside it."""


def config_map(folder: str) -> dict[str, str]:
    read = yaml.safe_load((GITOPS / folder / "argocd-cm.yaml").read_text())
    assert (read["kind"], read["metadata"]["name"]) == ("ConfigMap", "argocd-cm")
    found: dict[str, str] = read["data"]
    return found


def run(script: str, thing: dict[str, Any]) -> dict[str, str]:
    lua = lua51.LuaRuntime(unpack_returned_tuples=True)
    lua.execute("debug.setmetatable('', nil)")
    for name in MISSING:
        lua.globals()[name] = None
    lua.globals()["obj"] = lua.table_from(thing, recursive=True)
    return dict(lua.execute(script))


def test_there_is_a_health_check_for_every_kind_and_it_is_the_same() -> None:
    specs = [one["spec"] for one in definitions().values()]
    kinds = {f"{KEY}{spec['group']}_{spec['names']['kind']}" for spec in specs}
    assert set(config_map("argocd")) == kinds
    assert len(kinds) == 6
    assert len(set(config_map("argocd").values())) == 1


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_health(case: dict[str, Any]) -> None:
    thing: dict[str, Any] = {"kind": "TrafficSplit", "metadata": {"name": "web", "generation": case["generation"]}}
    if "status" in case:
        thing["status"] = case["status"]
    for script in set(config_map("argocd").values()):
        assert run(script, thing) == case["health"]


def test_an_application_is_as_well_as_it_says() -> None:
    (script,) = config_map("argocd/app-of-apps").values()
    assert run(script, {"status": {"health": {"status": "Degraded", "message": "so"}}}) == {
        "status": "Degraded",
        "message": "so",
    }
    silent: tuple[dict[str, Any], ...] = ({}, {"status": {}})
    for thing in silent:
        assert run(script, thing) == {"status": "Progressing", "message": ""}


def documents(*files: Path) -> list[dict[str, Any]]:
    return [thing for file in files for thing in yaml.safe_load_all(file.read_text()) if thing]


@pytest.mark.skipif(KUBECTL is None, reason="there is no kubectl: kustomize was not asked")
def test_the_components_add_their_keys_to_what_is_there(tmp_path: Path) -> None:
    there = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm"}, "data": {"url": "https://x"}}
    (tmp_path / "cm.yaml").write_text(yaml.safe_dump(there))
    shutil.copytree(GITOPS / "argocd", tmp_path / "argocd")
    kustomization = {
        "namespace": "cd",
        "resources": ["cm.yaml"],
        "components": ["argocd", "argocd/app-of-apps"],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))

    made = kustomized(tmp_path)

    assert made[0]["data"] == {"url": "https://x", **config_map("argocd"), **config_map("argocd/app-of-apps")}


@pytest.mark.skipif(KUBECTL is None, reason="there is no kubectl: kustomize was not asked")
def test_the_shop_is_a_kustomization() -> None:
    files = [GITOPS / "shop" / name for name in SHOP]
    assert sorted(thing["kind"] for thing in kustomized(GITOPS / "shop")) == sorted(
        thing["kind"] for thing in documents(*files)
    )


def kustomized(folder: Path) -> list[dict[str, Any]]:
    command = [str(KUBECTL), "kustomize", str(folder)]
    return list(yaml.safe_load_all(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def test_the_shop_has_no_problem_and_no_doubt() -> None:
    done = CliRunner().invoke(main, ["lint", "--strict", *(str(GITOPS / "shop" / name) for name in SHOP)])
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.startswith("9 objects, 0 problems")


def test_each_wave_needs_only_what_comes_before_it() -> None:
    def waves(*files: Path) -> dict[str, int]:
        return {
            f"{one['kind']}/{one['metadata']['name']}": int(
                one["metadata"].get("annotations", {}).get("argocd.argoproj.io/sync-wave", "0")
            )
            for one in documents(*files)
        }

    shop = waves(*(GITOPS / "shop" / name for name in SHOP))
    assert shop["Deployment/web-v1"] < shop["HTTPRouteGroup/web"] < shop["TrafficTarget/web"] < shop["TrafficSplit/web"]
    apps = waves(*(GITOPS / "argocd/applications").glob("*.yaml"))
    assert apps["Application/smi-mesh-crds"] < apps["Application/smi-mesh"] < apps["Application/shop"]


def test_the_examples_name_folders_values_and_webhooks_that_are_there() -> None:
    applications = documents(*(GITOPS / "argocd/applications").glob("*.yaml"), GITOPS / "argocd/mesh.yaml")
    flux = documents(GITOPS / "flux/kustomizations.yaml", GITOPS / "flux/mesh/releases.yaml")
    paths = [one["spec"]["source"]["path"] for one in applications]
    paths += [one["spec"]["path"] for one in flux if one["kind"] == "Kustomization"]
    paths += [one["spec"]["chart"]["spec"]["chart"] for one in flux if one["kind"] == "HelmRelease"]
    assert len(paths) == 8
    assert [path for path in paths if not (HOUSE / path).is_dir()] == []

    values = yaml.safe_load((installation("helm/smi-mesh") / "values.yaml").read_text())
    said = [one["spec"]["source"].get("helm", {}).get("valuesObject", {}) for one in applications]
    said += [one.get("spec", {}).get("values", {}) for one in flux]
    assert {key for some in said for key in some} <= set(values)

    webhooks = {(one["kind"], one["metadata"]["name"]) for one in documents(installation("base") / "webhooks.yaml")}
    ignored = [one for app in applications for one in app["spec"].get("ignoreDifferences", ())]
    assert {(one["kind"], one["name"]) for one in ignored} == webhooks


def test_flux_asks_every_smi_object_of_the_shop() -> None:
    shop = {(one["apiVersion"], one["kind"]) for one in documents(GITOPS / "shop/traffic.yaml")}
    (kustomization,) = (
        one
        for one in documents(GITOPS / "flux/kustomizations.yaml")
        if one["kind"] == "Kustomization" and "healthCheckExprs" in one["spec"]
    )
    asked = kustomization["spec"]["healthCheckExprs"]
    assert {(one["apiVersion"], one["kind"]) for one in asked} == shop
    for one in asked:
        assert set(re.findall(r"c\.type == '(\w+)'", f"{one['failed']} {one['current']}")) == {
            "Stalled",
            "Ready",
            "Reconciling",
        }
