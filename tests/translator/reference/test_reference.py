"""docs/reference is what `make reference` writes of this very code, and the code says all that belongs in it."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click
import pytest

from proxy.contract.config import AccessLog
from proxy.errors import Reason
from proxy.prometheus import COMMON, FAMILIES, LABELS
from translator.cli import main
from translator.knowledge import METRICS
from translator.reference.__main__ import main as write
from translator.reference.markdown import table
from translator.reference.pages import pages
from translator.vocabulary import ACCESS_LOG, ON_PODS, ON_SERVICES, ON_TEMPLATES

HOUSE = Path(__file__).parents[3]
REFERENCE = HOUSE / "docs" / "reference"
ALL = (*ON_SERVICES, *ON_PODS, *ON_TEMPLATES)


@pytest.mark.parametrize("name", pages())
def test_a_page_is_current(name: str) -> None:
    assert (REFERENCE / name).read_text() == pages()[name], "make reference"


def test_there_is_no_other_page() -> None:
    assert sorted(path.name for path in REFERENCE.iterdir()) == sorted(pages())


def test_the_command_writes_them(tmp_path: Path) -> None:
    write([str(tmp_path / "new")])
    assert {path.name: path.read_text() for path in (tmp_path / "new").iterdir()} == pages()
    with pytest.raises(SystemExit):
        write([])


# -- commands ------------------------------------------------------------------------------------


def commands(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    yield context.command_path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, click.Context(below, parent=context, info_name=name))


TREE = dict(commands(main, click.Context(main, info_name="smi", **main.context_settings)))


@pytest.mark.parametrize("name", TREE)
def test_a_command_is_there_with_every_option_and_all_are_explained(name: str) -> None:
    command = TREE[name]
    assert command.help
    if isinstance(command, click.Group):
        return
    _, found, section = pages()["commands.md"].partition(f"\n## {name}\n")
    assert found
    section = section.partition("\n## ")[0]
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, option.name
            [row] = [
                line
                for line in section.splitlines()
                if re.match(rf"\| `[^`]*(?<![\w-]){option.opts[0]}(?![\w-])", line)
            ]
            default = option.to_info_dict()["default"]
            if isinstance(default, str) and default:
                assert f"| `{default}` |" in row


def test_a_row_keeps_its_columns() -> None:
    assert table(("a", "b"), [("x|y", r"x\|y")]) == ["| a | b |", "| --- | --- |", r"| x\|y | x\|y |"]


# -- annotations ---------------------------------------------------------------------------------


def test_every_annotation_in_the_code_is_in_the_vocabulary() -> None:
    """A name that is read without it would be in no reference."""
    known = {annotation.name for annotation in ALL}
    written = re.compile(r"[\"'`]((?:[a-z]+\.)?smi-mesh\.io/[a-z-]+|linkerd\.io/inject)[\"'`]")
    named = {
        name
        for path in (HOUSE / "translator").rglob("*.py")
        for name in written.findall(path.read_text())
        if path.name != "vocabulary.py"
    }
    written_only = {
        "smi-mesh.io/controller",
        "smi-mesh.io/partial",
    }  # who reports Events; on answers of the metrics API
    assert named - written_only <= known


def test_values_are_those_that_the_contract_has() -> None:
    assert {"" if value == "none" else value for value in ACCESS_LOG.values} == set(get_args(AccessLog))
    for annotation in ALL:
        assert bool(annotation.values) != bool(annotation.example)
        assert not annotation.values or annotation.default in annotation.values


# -- metrics -------------------------------------------------------------------------------------


def test_every_label_is_explained_and_none_beside() -> None:
    assert {label for family in FAMILIES for label in family.labels} == LABELS.keys()
    assert LABELS.keys().isdisjoint(COMMON)


def test_every_metric_is_there() -> None:
    for family in (*FAMILIES, *METRICS):
        assert f"\n| `{family.name}` | {family.kind} | {family.help} |" in pages()["metrics.md"]


# -- reasons -------------------------------------------------------------------------------------

DEFAULTS = {"BadRequest": (400, "BAD_REQUEST"), "BadResponse": (502, "BAD_RESPONSE"), "Denied": (403, "")}
REFUSALS = {"Unavailable", "Refusal", *DEFAULTS}


def refusals(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Word and status of every refusal that is made where both stand in the code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in REFUSALS:
            status, word = DEFAULTS.get(node.func.id, (0, ""))
            for argument in node.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, int):
                    status = argument.value
                if isinstance(argument, ast.Attribute) and ast.unparse(argument.value) == "Reason":
                    word = argument.attr
            if word and status:
                yield word, status


def test_the_statuses_of_a_word_are_those_it_is_given_with() -> None:
    given: defaultdict[str, set[int]] = defaultdict(set)
    for path in (HOUSE / "proxy").rglob("*.py"):
        for word, status in refusals(ast.parse(path.read_text())):
            given[word].add(status)
    for word in ("DENIED", "NO_IDENTITY"):  # a verdict has the word, and is put into words in one place
        given[word].add(403)
    given["RETRIES_SPENT"] = {502, 504}  # that of the last failure: connect-failure, reset, timeout
    assert {reason.name: set(reason.statuses) for reason in Reason} == {one.name: given[one.name] for one in Reason}


def test_a_word_is_text() -> None:
    assert Reason._value2member_map_["denied"] is Reason.DENIED
    assert (Reason.DENIED.value, f"{Reason.DENIED}", str(Reason.DENIED)) == ("denied",) * 3
    assert all(reason.when for reason in Reason)
