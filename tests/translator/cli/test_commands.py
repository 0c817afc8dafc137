"""The command line without a mesh: arguments, texts, exit codes. With one: tests/translator/local."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from translator.cli import main
from translator.cli.local_run import read_labels
from translator.cli.local_status import as_text
from translator.cli.params import dns_label, duration

GOOD = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n"
BAD = "apiVersion: v1\nkind: Service\nmetadata:\n  name: [a]\n"
DOUBTFUL = """\
apiVersion: split.smi-spec.io/v1alpha2
kind: TrafficSplit
metadata: {name: s}
spec:
  service: nowhere
  backends: [{service: there, weight: 1}]
"""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60.0), ("1m30s", 90.0), ("500ms", 0.5), ("1.5s", 1.5), ("2h", 7200.0), ("7", 7.0), ("1m", 60.0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "60 s", "-1s", "1d", "30s1m", "abc"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(click.BadParameter, match="write 60s, 1m30s or 500ms"):
        duration(text)


@pytest.mark.parametrize("text", ["", "A", "a_b", "-a", "a-", "a.b", "../x", "a" * 64])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no name"):
        dns_label(text)


def test_labels() -> None:
    context, param = click.Context(main), click.Option(["-l"])
    assert read_labels(context, param, ("a=b,c=d", "e=", "f=g=h")) == {"a": "b", "c": "d", "e": "", "f": "g=h"}
    assert read_labels(context, param, ()) == {}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["nonsense"], "No such command"),
        (["local", "nonsense"], "No such command"),
        (["local", "up"], "Missing argument"),
        (["local", "up", "/no/such/folder"], "does not exist"),
        (["local", "up", "/", "--port", "99999"], "is not in the range"),
        (["local", "up", "/", "--name", "Not_A_Name"], "is no name"),
        (["local", "up", "/", "--issuance-lifetime", "1s"], "is too short"),
        (["local", "up", "/", "--issuance-lifetime", "soon"], "is no duration"),
        (["local", "up", "/", "--federate", "partner.example"], "write a trust domain"),
        (["local", "up", "/", "--federate", "Partner=/etc/hosts"], "write a trust domain"),
        (["local", "up", "/", "--federate", "cluster.local=/etc/hosts"], "own trust domain"),
        (["local", "up", "/", "--ca", "/no/such/folder"], "does not exist"),
        (["local", "rotate-root", "--timeout", "x"], "is no duration"),
        (["local", "status", "-o", "xml"], "is not one of"),
        (["lint"], "Missing argument"),
        (["lint", "/no/such/file"], "does not exist"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_what_is_wrong(arguments: list[str], error: str) -> None:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert error in done.output


@pytest.mark.parametrize("command", ["status", "down", "logs", "exec", "rotate-root"])
def test_a_mesh_that_nobody_runs(command: str, tmp_path: Path) -> None:
    more = {"logs": ["pod"], "exec": ["pod", "--", "true"]}.get(command, [])
    done = CliRunner(env={"SMI_MESH_HOME": str(tmp_path)}).invoke(main, ["local", command, "--name", "none", *more])
    assert done.exit_code == 1
    assert done.output == 'Error: no mesh named "none": start it with "smi local up DIR --name none"\n'


@pytest.mark.parametrize("options", [[], ["--detach"]])
def test_a_state_folder_that_cannot_be_is_one_line(options: list[str], tmp_path: Path) -> None:
    home = tmp_path / "file"
    home.touch()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "translator.cli", "local", "up", str(tmp_path), *options],
        env={**os.environ, "SMI_MESH_HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.lower()) == (1, f"error: {str(home).lower()}: file exists\n")


def test_no_space_for_what_is_printed_is_one_line() -> None:
    command = [sys.executable, "-P", "-m", "translator.cli", "demo", "--list"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(command, env=environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "Error: No space left on device\n")


def test_a_kubeconfig_that_is_not_there_is_named_with_a_hint(tmp_path: Path) -> None:
    missing = str(tmp_path / "config")
    done = CliRunner(env={"KUBECONFIG": missing}).invoke(main, ["check"])
    assert done.exit_code == 1
    assert f"there is no kubeconfig {missing}: name another with --kubeconfig or KUBECONFIG" in done.output
    assert "docs/check.md#k8s-api" in done.output


def test_the_list_of_commands_is_not_cut_short() -> None:
    for group in ([], ["local"], ["policy"]):
        assert "..." not in CliRunner().invoke(main, [*group, "--help"]).output.partition("Commands:")[2]


def test_every_command_has_help() -> None:
    for arguments in (["--help"], ["local", "-h"], ["local", "up", "-h"], ["demo", "--help"]):
        assert CliRunner().invoke(main, arguments).exit_code == 0


def test_version() -> None:
    assert CliRunner().invoke(main, ["version"]).output.startswith("smi-mesh ")


def test_exec_loads_no_more_than_it_needs() -> None:
    program = (
        "import sys; from translator.cli import main; main(['local', 'exec', 'p', '--', 'true'], standalone_mode=False)"
    )
    show = "import atexit, sys; atexit.register(lambda: print(*sys.modules)); "
    done = subprocess.run([sys.executable, "-c", show + program], capture_output=True, text=True, check=False)
    loaded = set(done.stdout.split())
    assert "translator.cli.local_exec" in loaded
    assert not {"aiohttp", "pydantic", "rich", "yaml", "asyncio", "msgspec", "cryptography"} & loaded


def test_lint_tells_problems_from_warnings(tmp_path: Path) -> None:
    good, bad, doubtful = tmp_path / "good.yaml", tmp_path / "bad.yaml", tmp_path / "doubtful.yaml"
    good.write_text(GOOD)
    bad.write_text(BAD)
    doubtful.write_text(DOUBTFUL)

    def lint(*arguments: object) -> tuple[int, list[str]]:
        done = CliRunner().invoke(main, ["lint", *map(str, arguments)])
        return done.exit_code, done.stdout.splitlines()

    assert lint(good) == (0, [])
    code, lines = lint(bad)
    assert code == 1
    assert [line.startswith(f"{bad}:4: metadata.name: ") for line in lines] == [True]
    code, lines = lint(doubtful)
    assert code == 0
    assert lines
    assert all(line.startswith(f"{doubtful}:") and line.endswith(" [warning]") for line in lines)
    assert lint("--strict", doubtful)[0] == 1
    assert lint("--strict", good)[0] == 0
    assert lint(tmp_path)[0] == 1


def test_lint_as_json(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(BAD)
    (tmp_path / "doubtful.yaml").write_text(DOUBTFUL)
    done = CliRunner().invoke(main, ["lint", str(tmp_path), "-o", "json"])
    said = json.loads(done.stdout)
    assert done.exit_code == 1
    assert [(one["file"], one["line"], one["field"]) for one in said["problems"]] == [
        (str(tmp_path / "bad.yaml"), 4, "metadata.name")
    ]
    assert {one["file"] for one in said["warnings"]} == {str(tmp_path / "doubtful.yaml")}


def test_status_as_text() -> None:
    sidecar = {"pid": 11, "admin": "http://x", "configVersion": 3, "certificateExpires": "2026-01-01T00:00:00Z"}
    common = {"namespace": "default", "serviceAccount": "sa", "message": "", "labels": {}}
    data = {
        "name": "m",
        "controller": {"pid": 9, "url": "http://127.0.0.1:8001"},
        "problems": [{"file": "a.yaml", "line": 3, "field": "spec", "message": "is wrong"}],
        "findings": [
            {
                "kind": "TrafficSplit",
                "namespace": "default",
                "name": "s",
                "reason": "Conflicted",
                "message": "r comes first",
            }
        ],
        "pods": [
            {
                **common,
                "name": "web-1",
                "ready": True,
                "ip": "127.80.0.2",
                "phase": "Running",
                "reason": "",
                "app": {"pid": 10},
                "sidecar": sidecar,
            },
            {
                **common,
                "name": "x",
                "ready": False,
                "ip": "127.80.0.3",
                "phase": "Pending",
                "reason": "NoCommand",
                "app": {"pid": None},
                "sidecar": None,
            },
        ],
    }
    lines = as_text(data)
    assert lines[0] == 'mesh "m": controller 9, API http://127.0.0.1:8001'
    assert lines[3].split() == ["default", "web-1", "yes", "127.80.0.2", "sa", "10", "11", "3", "2026-01-01T00:00:00Z"]
    assert lines[4].split() == ["default", "x", "no", "127.80.0.3", "sa", "-", "-", "-", "-", "NoCommand"]
    assert lines[5] == "problem: a.yaml:3: spec: is wrong"
    assert lines[6:] == ["finding: TrafficSplit default/s: Conflicted: r comes first"]
    assert as_text({**data, "findings": None})[6:] == ["the findings are not known: the controller does not answer"]
    assert len(as_text({**data, "findings": []})) == 6
