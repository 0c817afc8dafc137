"""``smi topology``: who calls whom, as a tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import click

from translator.cli import traffic
from translator.cli.command import Command
from translator.cli.params import output_option
from translator.rows import EdgeAnswer, EdgeRow

UNKNOWN = "(not in the mesh)"
"""An end of which nothing is known."""

End = tuple[str, str]
"""Namespace and name."""


@click.command(cls=Command, exits=traffic.EXITS, short_help="Show who calls whom, as a tree.")
@click.argument("resource", metavar="[KIND[/NAME]]", default="workloads")
@traffic.where_options
@traffic.scope_options
@traffic.window_option
@output_option("tree", "json", "yaml")
def topology(
    resource: str, where: traffic.Where, namespace: str | None, everywhere: bool, seconds: float, output: str
) -> None:
    """Show who calls whom as a tree: below a caller what it calls, and what that calls in turn.

    A call has requests per second and success; × marks one that is not mutual TLS, … what stands further up already.
    """
    _, parameters = traffic.asked(resource, namespace, everywhere=everywhere)
    answer = traffic.ask(where, {**parameters, "view": "edges", "seconds": str(seconds)}, EdgeAnswer)
    if output != "tree":
        traffic.show(output, answer, (), ())
        return
    if not answer.rows:
        traffic.nothing(f"No edges: no requests in the last {seconds:g} s.")
    for line in tree(answer.rows):
        click.echo(line)


def tree(rows: Iterable[EdgeRow]) -> list[str]:
    """Lines of text. Those that nobody calls come first; of a ring the first by name. Each end is opened once."""
    calls: dict[End, list[EdgeRow]] = {}
    called: set[End] = set()
    for row in sorted(rows, key=lambda row: (_source(row), _destination(row), row.client_id, row.server_id)):
        calls.setdefault(_source(row), []).append(row)
        if _destination(row) != _source(row):
            called.add(_destination(row))
    opened: set[End] = set()
    lines: list[str] = []
    for end in sorted(calls, key=lambda end: (end in called, end)):
        if end not in opened:
            opened.add(end)
            lines += [_name(end), *_below(end, calls, opened)]
    return lines


def _below(root: End, calls: dict[End, list[EdgeRow]], opened: set[End]) -> Iterator[str]:
    """A stack, not recursion: a chain of calls may be longer than Python's stack is deep."""
    pending = _branches(calls[root], "")
    while pending:
        row, margin, last = pending.pop()
        end = _destination(row)
        again = end in opened and end in calls
        yield f"{margin}{'└─ ' if last else '├─ '}{_name(end)}  {_numbers(row)}{'  …' if again else ''}"
        if end in calls and not again:
            opened.add(end)
            pending += _branches(calls[end], f"{margin}{'   ' if last else '│  '}")


def _branches(rows: list[EdgeRow], margin: str) -> list[tuple[EdgeRow, str, bool]]:
    """The last first: they are taken from the end."""
    return [(row, margin, number == 0) for number, row in enumerate(reversed(rows))]


def _source(row: EdgeRow) -> End:
    return row.source_namespace, row.source


def _destination(row: EdgeRow) -> End:
    return row.destination_namespace, row.destination


def _name(end: End) -> str:
    namespace, name = end
    return "/".join(filter(None, (namespace, name))) or UNKNOWN


def _numbers(row: EdgeRow) -> str:
    secured = "√" if row.secured else "×"
    return f"{traffic.rate(row.stats)} {traffic.share(row.stats.success_rate)} {secured}"
