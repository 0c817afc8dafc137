"""``smi demo``: one of the shipped demos from start to end, for eyes or for scripts."""

from __future__ import annotations

import json
import signal
import sys
from types import FrameType

import click
from rich.console import Console

import manifests
from translator.cli.command import Command
from translator.cli.params import output_option
from translator.demo.mesh import DemoError, Mesh, running
from translator.demo.play import Report, play
from translator.demo.scenario import Scenario, scenarios
from translator.demo.table import LiveTable, summary

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells count it."""


@click.command(
    cls=Command,
    exits={
        "0": "every step held",
        "1": "a step did not hold, or the mesh did not start",
        str(INTERRUPTED): "interrupted",
    },
)
@click.argument("name", required=False, default="canary")
@click.option("--list", "show_list", is_flag=True, help="List the demos and what they show.")
@output_option("table", "json")
@click.option("--keep", is_flag=True, help="Leave the mesh running at the end.")
def demo(name: str, show_list: bool, output: str, keep: bool) -> None:
    """Run the demo NAME (default: canary) on a mesh of its own."""
    known = {scenario.name: scenario for scenario in scenarios(manifests.demo)}
    if show_list:
        for scenario in known.values():
            click.echo(f"{scenario.name:15} {scenario.about}")
        return
    if name not in known:
        raise click.UsageError(f"there is no demo {name!r}; there are: {', '.join(known)}")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        report = _run(known[name], Console(stderr=output == "json"), keep=keep)
    except DemoError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        click.echo("interrupted; the mesh is ended", err=True)
        sys.exit(INTERRUPTED)
    if output == "json":
        click.echo(json.dumps(report.as_json(), indent=2, ensure_ascii=False))
    sys.exit(0 if report.ok else 1)


def _run(scenario: Scenario, console: Console, *, keep: bool) -> Report:
    console.print(f"[bold]{scenario.name}[/]: {scenario.about}")
    console.print("starting a mesh …")
    with running(scenario.name, manifests.demo(scenario.name), scenario.prepare, keep=keep) as mesh:
        with LiveTable(console, scenario) as table:
            report = play(scenario, mesh, table.watch)
        console.print(summary(report))
        if keep:
            _explain_keep(console, mesh, scenario)
    return report


def _explain_keep(console: Console, mesh: Mesh, scenario: Scenario) -> None:
    command = f"smi local exec deploy/{scenario.client} --name {mesh.name} -- curl -s {scenario.url}"
    console.print(f"The mesh runs on. Its manifests: {mesh.folder}", f"  {command}", sep="\n", highlight=False)
    console.print(f"  smi local down --name {mesh.name}", highlight=False)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
