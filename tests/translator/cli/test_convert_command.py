"""``smi convert``: files, folders and standard input to text, exit codes, and there and back through that text."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from handwriting import manifests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shapes import VERSIONS, Manifest

from smi.yamltext import to_yaml
from translator.cli import main

ROUTE = """\
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {name: r}
spec: {matches: {ports: [80]}}
"""
SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: web, labels: {commit: '1e3'}}\n"
CONVERTED = """\
apiVersion: specs.smi-spec.io/v1alpha1
kind: TCPRoute
metadata:
  name: r
  annotations:
    convert.smi-mesh.io/ports: '[80]'
"""


def run(*arguments: object, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(main, ["convert", *map(str, arguments)], input=stdin)


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_standard_input_to_yaml(arguments: list[str]) -> None:
    done = run(*arguments, "--to", "v1alpha1", stdin=ROUTE)

    assert done.exit_code == 0
    assert done.stdout == CONVERTED
    assert done.stderr == (
        "stdin:4: spec.matches.ports: v1alpha1 cannot say this: kept in convert.smi-mesh.io/ports, which no other mesh "
        "enforces [warning]\n"
    )


def test_the_newest_version_is_the_default() -> None:
    assert list(yaml.safe_load_all(run(stdin=CONVERTED).stdout)) == [yaml.safe_load(ROUTE)]


def test_files_and_folders_in_the_order_given_each_once(tmp_path: Path) -> None:
    (tmp_path / "folder" / "below").mkdir(parents=True)
    for name, text in (("a.yaml", ROUTE), ("folder/c.yml", SERVICE), ("folder/below/d.yaml", ROUTE), ("x.txt", "no")):
        (tmp_path / name).write_text(text)

    done = run(tmp_path / "folder", tmp_path / "a.yaml", tmp_path)

    assert done.exit_code == 0
    assert [one["kind"] for one in yaml.safe_load_all(done.stdout)] == ["TCPRoute", "Service", "TCPRoute"]


def test_json_is_one_object_or_a_list() -> None:
    assert json.loads(run("-o", "json", stdin=SERVICE).stdout) == yaml.safe_load(SERVICE)
    several = json.loads(run("-o", "json", stdin=f"{ROUTE}---\n{SERVICE}").stdout)
    assert several == {"apiVersion": "v1", "kind": "List", "items": [yaml.safe_load(ROUTE), yaml.safe_load(SERVICE)]}


def test_text_that_looks_like_a_number_elsewhere_stays_in_quotes() -> None:
    assert "commit: '1e3'\n" in run(stdin=SERVICE).stdout


def test_anything_wrong_means_nothing_printed_and_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(ROUTE)
    (tmp_path / "bad.yaml").write_text("apiVersion: split.smi-spec.io/v1alpha1\nkind: TrafficSplit\nspec: 1\n")
    (tmp_path / "binary.yaml").write_bytes(b"a: 1\nb: \xff\n")

    done = run(tmp_path)

    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f"{tmp_path}/bad.yaml:1: metadata: required",
        f"{tmp_path}/bad.yaml:3: spec: must be a mapping, not `1`",
        f"{tmp_path}/binary.yaml:2: file: is not UTF-8: invalid start byte",
    ]


def test_files_are_named_as_one_would_type_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.yaml").write_text("kind: Service\n")
    monkeypatch.chdir(tmp_path)
    assert run("m.yaml").stderr == "m.yaml:1: apiVersion: required\n"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    done = run(tmp_path)
    assert (done.exit_code, done.stderr) == (
        1,
        f"{tmp_path}/pipe.yaml:1: file: cannot be read: is not a regular file\n",
    )


def test_a_folder_without_manifests(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert (done.exit_code, done.stderr) == (1, f"Error: no manifests (*.yaml, *.yml) in {tmp_path}\n")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [(["/no/such"], "does not exist"), (["--to", "v2"], "is not one of 'v1alpha1'"), (["-o", "xml"], "is not one of")],
)
def test_wrong_usage_exits_with_2(arguments: list[str], error: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert error in done.stderr


def test_help_says_what_becomes_of_things() -> None:
    said = run("--help").stdout
    for word in ("annotations", "ServiceProfile", "Exit codes", "--to", "stderr"):
        assert word in said


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(manifests(), min_size=1, max_size=3), st.sampled_from(VERSIONS), st.sampled_from(("yaml", "json")))
def test_there_and_back_through_text(written: list[Manifest], version: str, output: str) -> None:
    def again(text: str, to: str) -> str:
        done = run("--to", to, "-o", output, stdin=text)
        assert done.exit_code == 0, done.stderr
        return done.stdout

    for manifest in written:
        text = again(json.dumps(manifest), version)
        back: Any = yaml.safe_load(again(text, manifest["apiVersion"].rpartition("/")[2]))
        assert json.dumps(back, sort_keys=True) == json.dumps(manifest, sort_keys=True)
    together = again(to_yaml(written), version)
    assert len(list(yaml.safe_load_all(together))) == (len(written) if output == "yaml" else 1)
