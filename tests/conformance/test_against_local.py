"""A few cases of each kind, and all ways around a TrafficTarget, against a real local mesh by the command line."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from conformance.__main__ import main
from conformance.case import load

SPLIT = ("weights-quantities", "weights-all-zero@v1alpha4", "root-every-spelling", "matches-or-and@v1alpha4")
ACCESS = ("default-same-identity", "unmeshed-denied", "target-comes-and-goes", "path-canonical", "binding-pod-labels")
RETRIES = ("retry-another-backend", "retry-budget", "breaker-ejects", "retry-never-after-denied")
EVASION = tuple(
    case.name for case in load(Path(__file__).parents[2] / "conformance" / "cases") if case.name.startswith("evade-")
)


def conformance(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "conformance", *arguments], capture_output=True, text=True, check=False, timeout=300
    )


def test_cases_of_both_worlds_hold() -> None:
    played = (*SPLIT, *ACCESS, *RETRIES, *EVASION)
    done = conformance("-o", "junit", *(word for name in played for word in ("--case", name)))

    suite = ElementTree.fromstring(done.stdout)
    assert [failure.text for failure in suite.iter("failure")] == []
    assert sorted(str(case.get("name")) for case in suite) == sorted(played)
    assert done.returncode == 0


def test_a_mesh_that_does_not_come_up_is_told() -> None:
    done = conformance(
        "--case", "weights-quantities", "--smi", f"{sys.executable} -c 'raise SystemExit(3)'", "-o", "json"
    )

    assert done.returncode == 2
    assert "failed with 3" in done.stderr
    assert done.stdout == ""


def test_cases_are_chosen_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list", "--case", "weights-whole@*", "--case", "audit"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == [f"weights-whole@v1alpha{n}" for n in (1, 2, 3, 4)] + ["audit"]

    assert main(["--case", "nowhere"]) == 2
    assert "no case is called nowhere" in capsys.readouterr().err


def test_json_is_alone_on_standard_output() -> None:
    done = conformance("-o", "json", "--case", "weight-zero-gets-nothing@v1alpha2")

    said = json.loads(done.stdout)
    assert [case["name"] for case in said["cases"]] == ["weight-zero-gets-nothing@v1alpha2"]
    assert said["ok"] is (done.returncode == 0) is True
