"""The manifests that a command is given: files, folders and standard input, as text."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from smi.problems import Problem
from smi.sources.scan import SUFFIXES, list_files, read_file, reason
from smi.yamltree import MAX_TEXT

STDIN = "-"

paths_argument = click.argument(
    "paths", metavar="[FILE|DIR|-]...", nargs=-1, type=click.Path(exists=True, allow_dash=True)
)
"""Of a command that reads manifests and prints manifests."""


def texts_of(paths: tuple[str, ...], problems: list[Problem]) -> list[tuple[str, str]]:
    """Name and text of each file, in the order of the arguments, each once; without arguments standard input.

    What cannot be read is added to ``problems``.

    Raises:
        click.UsageError: nothing is named and standard input is a terminal.
        click.ClickException: there are no manifests in what is named.
    """
    if not paths and sys.stdin.isatty():
        raise click.UsageError("name files or folders, or - for standard input")
    files = list(_read(paths or (STDIN,), problems))
    if not files and not problems:
        raise click.ClickException(f"no manifests (*{', *'.join(SUFFIXES)}) in {', '.join(paths)}")
    return files


def _read(paths: tuple[str, ...], problems: list[Problem]) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for path in paths:
        if path == STDIN:
            yield from _decoded("stdin", sys.stdin.buffer.read(MAX_TEXT + 1), problems)
            continue
        listing = list_files((os.path.abspath(path),))
        problems += [_problem(_short(folder), f"cannot be read: {why}") for folder, why in listing.unreadable]
        for file in listing.files:
            if file in seen:
                continue
            seen.add(file)
            try:
                data = read_file(file).data
            except OSError as error:
                problems.append(_problem(_short(file), f"cannot be read: {reason(error)}"))
            else:
                yield from _decoded(_short(file), data, problems)


def _decoded(name: str, data: bytes, problems: list[Problem]) -> Iterator[tuple[str, str]]:
    try:
        yield name, data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problems.append(_problem(name, f"is not UTF-8: {error.reason}", line))


def _problem(file: str, message: str, line: int = 1) -> Problem:
    return Problem(file=file, line=line, field="file", message=message)


def _short(path: str) -> str:
    """As somebody in this folder would type it."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path
