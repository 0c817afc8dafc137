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
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def watch(self, index: int, tally: Tally) -> None:
        """Shows ``tally`` as the numbers of step ``index``, below those before it."""
        self._tallies[index] = tally
        steps = [(self._scenario.steps[i], self._tallies[i]) for i in sorted(self._tallies)]
        self._live.update(Group(*(step_table(step, tally) for step, tally in steps)), refresh=True)


def step_table(step: Step, tally: Tally) -> Table:
    """One row for each kind of answer: its due and measured share, count and latency."""
    total = tally.answers.total()
    table = Table(title=f"{step.name}: {total} of {step.requests} requests", title_justify="left", min_width=72)
    table.add_column("answer")
    for column in ("due", "measured", "requests", "p50 ms", "p99 ms"):
        table.add_column(column, justify="right")
    for kind in {**step.due, **tally.answers}:
        count, seconds = tally.answers[kind], sorted(tally.seconds.get(kind, ()))
        due = step.due.get(kind, 0)
        table.add_row(
            Text(kind, style="" if kind in step.due else "bold red"),
            f"{due / step.requests:.1%}",
            f"{count / total:.1%}" if total else "–",
            str(count),
            _milliseconds(seconds, 0.50),
            _milliseconds(seconds, 0.99),
        )
    return table


def summary(report: Report) -> RenderableType:
    """One line a step, and the verdict."""
    table = Table.grid(padding=(0, 2))
    for step in report.steps:
        mark = Text("√", style="green") if step.ok else Text("×", style="bold red")
        table.add_row(mark, step.name, _counts(step.observed), "" if step.ok else f"due: {_counts(step.expected)}")
    verdict = Text(f"{report.demo}: ", style="bold")
    verdict.append("every step held" if report.ok else "FAILED", style="green" if report.ok else "bold red")
    return Group(table, verdict)


def _counts(answers: Mapping[str, int]) -> str:
    return ", ".join(f"{kind}: {count}" for kind, count in answers.items())


def _milliseconds(seconds: Sequence[float], quantile: float) -> str:
    if not seconds:
        return "–"
    return f"{seconds[min(len(seconds) - 1, int(quantile * len(seconds)))] * 1000:.1f}"
