"""``smi lint``: manifests checked without a mesh or a cluster, for people and for CI."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sized
from dataclasses import asdict, replace
from pathlib import Path
from typing import TypeVar

import click

from smi.problems import Problem
from smi.sources.directory import DirectorySource
from smi.validate import LintWarning
from smi.validate import lint as doubts
from translator.cli.command import Command
from translator.cli.params import output_option
from translator.review import annotation_warnings

Remark = TypeVar("Remark", Problem, LintWarning)


@click.command(
    cls=Command,
    exits={"0": "nothing is wrong", "1": "something is wrong, or with --strict doubtful"},
    short_help="Check manifests, without a mesh.",
)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(exists=True))
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings too.")
@output_option("text", "json")
def lint(paths: tuple[str, ...], strict: bool, output: str) -> None:
    """Check the manifests in files and folders (*.yaml, *.yml).

    Beside what is wrong it tells what is doubtful: references into nothing, policies that grant nothing, annotations
    that do not count.
    """
    snapshot = DirectorySource(paths).load()
    problems = _shortened(snapshot.problems)
    warnings = _shortened(sorted((*doubts(snapshot), *annotation_warnings(snapshot))))
    if output == "json":
        listed = {
            "problems": [asdict(one) for one in problems],
            "warnings": [asdict(one) for one in warnings],
            "ignored": list(snapshot.ignored),
        }
        click.echo(json.dumps(listed, indent=2))
    else:
        for problem in problems:
            click.echo(problem)
        for warning in warnings:
            click.echo(f"{warning} [warning]")
        click.echo(
            f"{_counted(snapshot.objects, 'object')}, {_counted(problems, 'problem')}, "
            f"{_counted(warnings, 'warning')}, {len(snapshot.ignored)} of other kinds skipped",
            err=True,
        )
    sys.exit(1 if problems or (strict and warnings) else 0)


def _counted(things: Sized, word: str) -> str:
    return f"{len(things)} {word}{'' if len(things) == 1 else 's'}"


def _shortened(remarks: Iterable[Remark]) -> list[Remark]:
    """With file names as somebody in this folder would type them."""
    here = Path.cwd()
    return [
        replace(remark, file=str(Path(remark.file).relative_to(here)))
        if remark.file and Path(remark.file).is_relative_to(here)
        else remark
        for remark in remarks
    ]
