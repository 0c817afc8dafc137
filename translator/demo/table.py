"""What a person sees of a demo: a live table while it runs, and a summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from translator.demo.play import Report
from translator.demo.scenario import Scenario, Step
from translator.demo.traffic import Tally


class LiveTable:
    """Shows the finished steps and the running one on a terminal; elsewhere only the last state."""

    def __init__(self, console: Console, scenario: Scenario) -> None:
        self._scenario = scenario
        self._tallies: dict[int, Tally] = {}
        self._console = console
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        if not self._console.is_terminal:
            self._console.print()  # rich ends a live display with a line break on terminals alone

    def watch(self, index: int, tally: Tally) -> None:
        """Shows ``tally`` as the numbers of step ``index``, below those before it."""
        self._tallies[index] = tally
        self._live.update(self._table(), refresh=True)

    def _table(self) -> Table:
        table = Table(title=self._scenario.url, title_justify="left")
        for column in ("step", "answer"):
            table.add_column(column)
        for column in ("due", "measured", "requests", "p50 ms", "p99 ms"):
            table.add_column(column, justify="right")
        for index, tally in sorted(self._tallies.items()):
            add_step(table, self._scenario.steps[index], tally)
        return table


def add_step(table: Table, step: Step, tally: Tally) -> None:
    """One row for each kind of answer: its due and measured share, how many there were, and their latency."""
    total = tally.answers.total()
    kinds = list({**step.due, **tally.answers})
    for row, kind in enumerate(kinds):
        count, seconds = tally.answers[kind], sorted(tally.seconds.get(kind, ()))
        table.add_row(
            step.name if row == 0 else "",
            Text(kind, style="" if kind in step.due else "bold red"),
            f"{step.due.get(kind, 0) / step.requests:.1%}",
            f"{count / total:.1%}" if total else "–",
            str(count),
            _milliseconds(seconds, 0.50),
            _milliseconds(seconds, 0.99),
            end_section=row == len(kinds) - 1,
        )


def summary(report: Report) -> RenderableType:
    """One line a step with the median of its answers' times, and the verdict."""
    table = Table.grid(padding=(0, 2))
    for step in report.steps:
        mark = Text("√", style="green") if step.ok else Text("×", style="bold red")
        median = "" if step.median is None else f"p50 {step.median * 1000:.1f} ms"
        due = "" if step.ok else f"due: {_counts(step.expected)}"
        table.add_row(mark, step.name, _counts(step.observed), median, due)
    verdict = Text(f"{report.demo}: ", style="bold")
    verdict.append("every step held" if report.ok else "FAILED", style="green" if report.ok else "bold red")
    return Group(table, verdict)


def _counts(answers: Mapping[str, int]) -> str:
    return ", ".join(f"{kind}: {count}" for kind, count in answers.items())


def _milliseconds(seconds: Sequence[float], quantile: float) -> str:
    if not seconds:
        return "–"
    return f"{seconds[min(len(seconds) - 1, int(quantile * len(seconds)))] * 1000:.1f}"
