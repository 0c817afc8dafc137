"""``smi top``: the busiest callers and what they call, live."""

from __future__ import annotations

import signal
import sys
import time
from types import FrameType

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from translator.cli import traffic
from translator.cli.command import Command
from translator.cli.params import output_option
from translator.local.errors import LocalError
from translator.rows import TopAnswer, TopRow

PERIOD = 1.0
"""Seconds between looks: sidecars report that often."""

HEADER = ("SOURCE", "DESTINATION", "ROUTE", "REQUESTS", "RPS", "SUCCESS", "BEST", "P50", "P99", "WORST")


@click.command(cls=Command, exits=traffic.EXITS, short_help="Show live traffic, busiest first.")
@click.argument("resource", metavar="[KIND[/NAME]]", default="workloads")
@traffic.where_options
@traffic.scope_options
@traffic.window_option
@click.option("--once", is_flag=True, help="Print one table and end.")
@output_option("table", "json", "yaml")
def top(
    resource: str,
    where: traffic.Where,
    namespace: str | None,
    everywhere: bool,
    seconds: float,
    once: bool,
    output: str,
) -> None:
    """Show callers, what they call and by which route, busiest first, live until Ctrl-C.

    Where the output is not a terminal, one table is printed, as with --once.
    """
    _, parameters = traffic.asked(resource, namespace, everywhere=everywhere)
    parameters |= {"view": "top", "seconds": str(seconds)}
    answer = traffic.ask(where, parameters, TopAnswer)
    console = Console()
    if once or output != "table" or not console.is_terminal:
        if not answer.rows and output == "table":
            traffic.nothing(f"No requests in the last {seconds:g} s.")
        traffic.show(output, answer, HEADER, [line(row) for row in answer.rows])
        return
    signal.signal(signal.SIGTERM, _end)
    try:
        _watch(console, where, parameters, answer)
    except KeyboardInterrupt:
        sys.exit(0)


def _watch(console: Console, where: traffic.Where, parameters: dict[str, str], answer: TopAnswer) -> None:
    """Shows the newest answer on a screen of its own, until interrupted; a controller that restarts is waited for."""
    note = ""
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(_table(console, answer, note), refresh=True)
            time.sleep(PERIOD)
            try:
                answer, note = traffic.ask(where, parameters, TopAnswer), ""
            except LocalError as error:
                note = str(error)


def _table(console: Console, answer: TopAnswer, note: str) -> Table:
    table = Table(
        title=f"the last {answer.window:g} s; Ctrl-C ends", caption=note or None, title_justify="left", box=None
    )
    for index, name in enumerate(HEADER):
        table.add_column(name, justify="left" if index < 3 else "right", no_wrap=True)
    for row in answer.rows[: max(console.height - 3, 1)]:
        table.add_row(*line(row))
    return table


def line(row: TopRow) -> tuple[str, ...]:
    """The cells of one row."""
    measured = row.stats
    return (
        row.source or traffic.NOTHING,
        row.destination or traffic.NOTHING,
        row.route or traffic.NOTHING,
        str(measured.requests),
        traffic.rate(measured),
        traffic.share(measured.success_rate),
        traffic.milliseconds(measured.best_ms),
        traffic.milliseconds(measured.p50_ms),
        traffic.milliseconds(measured.p99_ms),
        traffic.milliseconds(measured.worst_ms),
    )


def _end(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
