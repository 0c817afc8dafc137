"""``smi demo`` from start to end, on a mesh of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

DEMO = (sys.executable, "-m", "translator.cli", "demo")


def environment(tmp_path: Path) -> dict[str, str]:
    """Nothing of the demo lies outside of ``tmp_path``."""
    return {**os.environ, "TMPDIR": str(tmp_path), "SMI_MESH_HOME": str(tmp_path / "home")}


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("canary", {"Version 1": 900, "Version 2": 100}, {"Version 1": 0, "Version 2": 1000}),
        ("header-canary", {"Version 1": 300, "Version 2": 0}, {"Version 1": 300, "Version 2": 0}),
        ("access", {"b": 0, "403 denied": 200}, {"b": 0, "403 denied": 200}),
        ("mtls", {"b": 200}, {"default/a → default/b √": 200, "- → - ×": 50}),
        ("retries", {"answered": 100, "503": 100}, {"answered": 12, "502 reset": 0, "no answer": 0}),
    ],
)
def test_a_demo_holds_and_leaves_nothing_behind(
    name: str, first: dict[str, int], last: dict[str, int], tmp_path: Path
) -> None:
    done = subprocess.run(
        [*DEMO, name, "-o", "json"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert set(report) == {"demo", "ok", "steps"}
    assert (report["demo"], report["ok"]) == (name, True)
    assert (report["steps"][0]["expected"], report["steps"][-2]["expected"]) == (first, last)
    assert all(set(step) == {"name", "expected", "observed"} for step in report["steps"])
    assert report["steps"][-1] == {
        "name": "no request failed while something changed",
        "expected": {"failed": 0},
        "observed": {"failed": 0},
    }
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_the_demo_and_its_mesh(tmp_path: Path) -> None:
    # A shell's background jobs ignore it, and would hand that down.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen([*DEMO, "access"], env=environment(tmp_path), stderr=subprocess.PIPE, text=True) as demo:
        deadline = time.monotonic() + 30
        while not list(tmp_path.glob("smi-demo-access-*/state/demo-access/pods/*")):
            assert time.monotonic() < deadline, "the mesh did not start"
            time.sleep(0.05)
        demo.send_signal(signal.SIGINT)
        _, said = demo.communicate(timeout=60)

    assert demo.returncode == 130
    assert "interrupted; the mesh is ended" in said
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_demo_is_wrong_usage() -> None:
    done = subprocess.run([*DEMO, "nowhere"], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "there is no demo 'nowhere'; there are: canary, header-canary, access, mtls, retries" in done.stderr
