"""The conformance suite against the cluster: the same cases as against local mode."""

from __future__ import annotations

import json
import sys

import pytest
from cluster import APP_IMAGE, run


@pytest.mark.usefixtures("mesh")
def test_every_case_holds() -> None:
    ended = run(
        sys.executable,
        "-m",
        "conformance",
        "--mesh",
        "cluster",
        "--image",
        APP_IMAGE,
        "-o",
        "json",
        timeout=1800,
    )
    report = json.loads(ended.stdout)

    assert {case["name"]: case["faults"] for case in report["cases"] if not case["ok"]} == {}
