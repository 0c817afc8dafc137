"""``smi explain`` and ``smi policy check`` of a folder: what is printed, and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from shop import SHOP, WORKLOADS

from translator.cli import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.yaml").write_text(SHOP + WORKLOADS)
    return tmp_path


def smi(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def test_an_explanation_reads_from_top_to_bottom(folder: Path) -> None:
    done = smi("explain", "POST", "web/api", "--from", "deploy/client", "--manifests", folder)
    assert done.exit_code == 0, "the question was answered, though the answer is no"
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    pod = next(line for line in lines if line.startswith("from ")).split()[1]
    assert lines[:3] == [
        "POST http://web/api",
        f"from {pod} (spiffe://cluster.local/ns/default/sa/client)",
        "",
    ]
    for line in (
        "web means Service default/web, port 80",
        "  √   default/canary   it is for every request",
        "  ×   default/gone        0 %              left out: the Service does not exist",
        "  ×   retries             not sent again: POST is not idempotent, and no route that matches names it",
        "  ×   default/clients-read   public/read fails on method GET",
        "answer: 403 denied: no TrafficTarget allows it (by the server's sidecar)",
        "note: of manifests alone: every pod of every workload is taken to be there and ready",
    ):
        assert line in lines, done.stdout


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("web:9", "web:9 leads to no Service and no pod of this mesh at port 9: web.default has no port 9"),
        (
            "[::1]:80",
            "[::1]:80 leads to no Service and no pod of this mesh at port 80: [::1].default is not a name of this mesh",
        ),
    ],
)
def test_what_is_not_there_is_said_with_the_reason(folder: Path, url: str, line: str) -> None:
    done = smi("explain", f"http://{url}/", "--from", "deploy/client", "--manifests", folder)
    assert line in done.stdout.splitlines()


def test_an_explanation_for_scripts(folder: Path) -> None:
    done = smi("explain", "http://web/api", "--from", "deploy/client", "--manifests", folder, "-o", "json")
    told = json.loads(done.stdout)
    assert (told["method"], told["answer"]["allowed"], told["answer"]["status"]) == ("GET", True, None)
    assert [backend["share"] for backend in told["backends"]] == [0.9, 0.1, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["explain"], 2, "Missing argument '[METHOD] URL'"),
        (["explain", "http://web/"], 2, "Missing option '--from'"),
        (["explain", "GET", "http://web/", "more", "--from", "x"], 2, "one METHOD and one URL"),
        (["explain", "https://web/", "--from", "x"], 2, "the mesh looks into http:// only"),
        (
            ["explain", "web", "--from", "deploy/clint", "--manifests", "FOLDER"],
            1,
            'no pod "deploy/clint" in namespace',
        ),
        (["policy", "check", "GET", "/", "more"], 2, "one METHOD and one PATH"),
        (["policy", "check", "G ET", "--manifests", "FOLDER"], 2, "'G ET' is no method"),
        (["policy", "check", "--to", "deploy/x", "--manifests", "FOLDER"], 1, 'no pod "deploy/x"'),
        (["policy", "nonsense"], 2, "No such command"),
        (["explain", "GET", "--from", "deploy/client", "--manifests", "FOLDER"], 2, "a URL is missing behind GET"),
    ],
)
def test_what_is_asked_wrongly(folder: Path, arguments: list[str], code: int, error: str) -> None:
    done = smi(*(str(folder) if argument == "FOLDER" else argument for argument in arguments))
    assert (done.exit_code, error in done.output) == (code, True), done.output


@pytest.mark.parametrize(
    ("command", "more"),
    [
        (["explain", "web", "--from", "x"], ", or ask a folder of manifests with --manifests DIR"),
        (["policy", "check"], ", or ask a folder of manifests with --manifests DIR"),
        (["policy", "suggest"], ""),
    ],
)
def test_a_mesh_that_nobody_runs(command: list[str], more: str, tmp_path: Path) -> None:
    done = CliRunner(env={"SMI_MESH_HOME": str(tmp_path)}).invoke(main, [*command, "--name", "none"])
    assert (done.exit_code, done.output) == (
        1,
        f'Error: no mesh named "none": start it with "smi local up DIR --name none"{more}\n',
    )


def test_who_may_call_whom(folder: Path) -> None:
    lines = smi("policy", "check", "--manifests", folder).stdout.splitlines()
    columns = lines[0].split("   ")
    row = next(line for line in lines if line.startswith("default/client ")).split()
    assert columns[0].strip() == "FROM \\ TO"
    assert dict(zip(lines[0].split()[3:], row[1:], strict=True))["default/v1:8080"] == "(√)"
    assert any(
        line.split("   ")[0].strip() == "(√)" and "default/client → default/v1:8080" in line and "method GET" in line
        for line in lines
    )
    (head, one) = smi(
        "policy", "check", "--from", "deploy/operator", "--to", "deploy/v1", "--manifests", folder
    ).stdout.splitlines()[::2]
    assert head.split() == ["FROM", "TO", "PORT", "MAY", "BY"]
    assert one.split() == ["default/operator", "default/v1", "9090", "yes", "default/operators"]


def test_nobody_to_be_called(tmp_path: Path) -> None:
    done = smi("policy", "check", "-n", "shop", "--manifests", tmp_path)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "nobody in namespace shop can be called\n")


def test_a_wrong_file_is_told_and_the_rest_answers(folder: Path) -> None:
    (folder / "wrong.yaml").write_text("apiVersion: v1\nkind: Service\nmetadata:\n  name: [a]\n")
    done = smi("explain", "web", "--from", "deploy/client", "--manifests", folder)
    assert done.exit_code == 0
    assert f"{folder}/wrong.yaml:4: metadata.name: " in done.stderr
