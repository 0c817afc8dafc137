"""The page of the ``smi`` commands, from click's own tree."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import click

from translator.cli import main
from translator.cli.command import EXITS, Command
from translator.reference.markdown import code, document, prose, table

_DEFAULT = re.compile(r"\s*\[default: ([^\]]+)\]$")


class Entry(NamedTuple):
    """A command, and how it is called."""

    context: click.Context
    command: click.Command

    @property
    def name(self) -> str:
        """With the groups before it."""
        return self.context.command_path


def commands_page() -> str:
    """Every command: usage, what it does, options, exit codes."""
    found = list(_leaves(main, click.Context(main, info_name="smi", **main.context_settings)))
    listed = [(f"[`{one.name}`](#{one.name.replace(' ', '-')})", one.command.get_short_help_str(100)) for one in found]
    parts: list[list[str]] = []
    for one in found:
        parts += _section(one)
    return document(
        "Commands",
        prose(
            "Every command also takes `-h` and `--help`. Durations are written `500ms`, `60s` or `1m30s`; a bare "
            "number is seconds. Where a command says nothing else its exit codes are:"
        ),
        _exits(EXITS),
        table(("command", "what it does"), listed),
        *parts,
    )


def _leaves(command: click.Command, context: click.Context) -> Iterator[Entry]:
    if not isinstance(command, click.Group):
        yield Entry(context, command)
        return
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        yield from _leaves(below, click.Context(below, parent=context, info_name=name))


def _section(entry: Entry) -> Iterator[list[str]]:
    context, command = entry
    yield [f"## {entry.name}"]
    yield [f"    {entry.name} {' '.join(command.collect_usage_pieces(context))}"]
    for text in (command.help, command.epilog):
        yield from _paragraphs(inspect.cleandoc(text or ""))
    options = [_option(option, context) for option in command.get_params(context) if isinstance(option, click.Option)]
    options = [row for row in options if "--help" not in row[0]]
    if options:
        yield table(("option", "default", "meaning"), options)
    if isinstance(command, Command):
        yield _exits(command.exits)


def _option(option: click.Option, context: click.Context) -> tuple[str, str, str]:
    record = option.get_help_record(context)
    assert record is not None
    names, meaning = record[0], option.help or ""
    said = _DEFAULT.search(meaning)
    default = option.to_info_dict()["default"]
    if option.required:
        shown = "required"
    elif said is not None:
        shown = said[1] if " " in said[1] else code(said[1])
    elif option.is_flag or option.multiple or default in (None, ""):
        shown = ""
    else:
        shown = code(str(default))
    meaning = _DEFAULT.sub("", meaning)
    if isinstance(option.type, click.IntRange):
        meaning += f" From {option.type.min} to {option.type.max}."
    if option.multiple:
        meaning += " May be repeated."
    return code(names), shown, meaning


def _exits(codes: Mapping[str, str]) -> list[str]:
    return table(("exit code", "when"), list(codes.items()))


def _paragraphs(text: str) -> Iterator[list[str]]:
    """Prose, and what click is told by ``\\b`` to leave as it is: lines that are indented are code, others a list."""
    for paragraph in re.split(r"\n\s*\n", text):
        head, _, rest = paragraph.partition("\n")
        if head.strip() != "\b":
            yield prose(paragraph)
        elif all(line.startswith(" ") for line in rest.splitlines()):
            yield [f"    {line.strip()}" for line in rest.splitlines()]
        else:
            yield [f"* {line.strip()}" for line in rest.splitlines()]
