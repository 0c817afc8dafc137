"""From nothing to a mesh: checks, one pipe, checks again."""

from __future__ import annotations

import json
from typing import Any

from cluster import IMAGE, MESH, got, kubectl, run, smi


def installed() -> str:
    return smi("install", "--set", f"image={IMAGE}")


def test_before_the_installation_all_is_well() -> None:
    report = json.loads(smi("check", "--pre", "-o", "json"))

    assert report["success"] is True


def test_what_is_printed_is_the_same_each_time_and_holds_no_key() -> None:
    text = installed()

    assert installed() == text
    assert "PRIVATE KEY" not in text
    assert "caBundle" not in text


def test_the_mesh_comes_up_and_checks_itself(mesh: None) -> None:
    report = json.loads(smi("check", "-o", "json"))

    assert report["success"] is True
    ready = got("-n", MESH, "deployment", "smi-mesh-controller")["status"]["readyReplicas"]
    assert ready == 1


def test_to_apply_it_again_changes_nothing(mesh: None) -> None:
    again = kubectl("apply", "-f", "-", text=installed())
    different = run("kubectl", "diff", "-f", "-", text=installed())

    assert [line for line in again.splitlines() if not line.endswith("unchanged")] == []
    assert (different.returncode, different.stdout) == (0, "")


def test_the_controller_runs_with_no_more_rights_than_it_needs(mesh: None) -> None:
    pods: list[dict[str, Any]] = got("-n", MESH, "pods")["items"]

    for pod in pods:
        for container in pod["spec"]["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"]["drop"] == ["ALL"]
    for verb, what in (("get", "secrets"), ("create", "pods"), ("delete", "pods"), ("update", "trafficsplits")):
        answer = run(
            "kubectl",
            "auth",
            "can-i",
            verb,
            what,
            "-n",
            "default",
            "--as",
            f"system:serviceaccount:{MESH}:smi-mesh-controller",
        )
        assert answer.stdout.strip() == "no", f"the controller may {verb} {what}"
