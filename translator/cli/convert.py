"""``smi convert``: manifests from one version of SMI to another, and from Linkerd's ServiceProfile."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from smi.problems import Problem
from smi.rewrite import rewrite
from smi.sources.scan import SUFFIXES, list_files, read_file, reason
from smi.wire.kinds import ALPHAS
from smi.yamltext import to_yaml
from smi.yamltree import MAX_TEXT
from translator.cli.command import Command

STDIN = "-"

_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""What JSON may have in a string as it is, and YAML not, or not unchanged."""


@click.command(cls=Command, exits={"1": "something is wrong, and nothing was printed"})
@click.argument("paths", metavar="[FILE|DIR|-]...", nargs=-1, type=click.Path(exists=True, allow_dash=True))
@click.option("--to", "version", type=click.Choice(ALPHAS), default=ALPHAS[-1], show_default=True, help="Of SMI.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["yaml", "json"]),
    default="yaml",
    show_default=True,
    help="The form it is printed in.",
)
def convert(paths: tuple[str, ...], version: str, output: str) -> None:
    """Print manifests with every SMI object at another version.

    Nothing is lost: what a version cannot say goes into annotations convert.smi-mesh.io/..., which the mesh obeys and
    from which converting back gives the very same object. Objects of other kinds pass through. A Linkerd ServiceProfile
    becomes an HTTPRouteGroup, a TrafficSplit and annotations on its Service.

    What is doubtful is told on stderr. If anything is wrong nothing is printed.

    \b
      smi convert canary.yaml --to v1alpha2 | kubectl apply -f -
    """
    if not paths and sys.stdin.isatty():
        raise click.UsageError("name files or folders, or - for standard input")
    problems: list[Problem] = []
    files = list(_read(paths or (STDIN,), problems))
    if not files and not problems:
        raise click.ClickException(f"no manifests (*{', *'.join(SUFFIXES)}) in {', '.join(paths)}")
    rewritten = rewrite(files, version)
    for remark in sorted({*problems, *rewritten.problems}):
        click.echo(remark, err=True)
    if problems or rewritten.problems:
        sys.exit(1)
    for doubt in rewritten.doubts:
        click.echo(f"{doubt} [warning]", err=True)
    click.echo(to_yaml(rewritten.documents) if output == "yaml" else _as_json(rewritten.documents), nl=False)


def _read(paths: tuple[str, ...], problems: list[Problem]) -> Iterator[tuple[str, str]]:
    """Name and text of each file, in the order of the arguments, each once."""
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


def _as_json(documents: tuple[object, ...]) -> str:
    """One object as it is, several as a List: what kubectl prints and reads. It is YAML as well."""
    whole = documents[0] if len(documents) == 1 else {"apiVersion": "v1", "kind": "List", "items": list(documents)}
    text = json.dumps(whole, indent=2, ensure_ascii=False)
    return _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"
