"""Carries a scenario out on a running mesh and judges each step by what came back.

Between two steps requests go on; none of them may be answered otherwise than
before or after the change.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from proxy.contract.ports import OUTBOUND
from translator.demo.mesh import DemoError
from translator.demo.scenario import Scenario, Step, holds
from translator.demo.traffic import NO_ANSWER, Tally, Traffic

REFRESH = 0.1
"""Seconds between two looks at the numbers: the live table's rhythm."""

REPORTED = 10.0
"""Seconds until the controller has heard of all requests; it takes one or two."""

APP_PORT = 8080
"""Where a demo's servers are called without a sidecar of one's own."""

GIVE_UP = 3
"""Requests without any answer after which the rest need not be waited for."""

Watch = Callable[[int, Tally], None]
"""Called again and again while step ``index`` is measured."""


class Stage(Protocol):
    """The mesh that a scenario is played on; ``translator.demo.mesh.Mesh`` is the real one."""

    @property
    def folder(self) -> Path:
        """The manifests it follows."""
        ...

    def address(self, workload: str) -> str:
        """The IP address of a pod of ``workload``."""
        ...

    def versions(self, workload: str) -> dict[str, int]:
        """Config versions in force, by pod."""
        ...

    def wait_for_change(self, workload: str, before: dict[str, int]) -> None:
        """Returns when all pods of ``workload`` have another config than ``before``."""
        ...

    def wait_until_ready(self, workload: str) -> None:
        """Returns when all pods of ``workload`` are ready."""
        ...

    def edges(self) -> dict[str, int]:
        """Requests so far by identities, as in ``Scenario.edges``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one step promised and what was measured: numbers of answers by kind.

    ``median`` is of the seconds that an answer of a kind in ``expected`` took; None without one.
    """

    name: str
    expected: Mapping[str, int]
    observed: Mapping[str, int]
    ok: bool
    median: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All outcomes of one demo."""

    demo: str
    steps: tuple[Outcome, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether every step held."""
        return bool(self.steps) and all(step.ok for step in self.steps)

    def as_json(self) -> dict[str, object]:
        """``{"demo", "ok", "steps": [{"name", "expected", "observed"}]}``."""
        return {
            "demo": self.demo,
            "ok": self.ok,
            "steps": [
                {"name": step.name, "expected": dict(step.expected), "observed": dict(step.observed)}
                for step in self.steps
            ],
        }


def play(scenario: Scenario, mesh: Stage, watch: Watch) -> Report:
    """Runs all steps. Raises ``DemoError`` where the mesh itself does not work."""
    outcomes: list[Outcome] = []
    lost = 0
    with Traffic(mesh.address(scenario.client), OUTBOUND, scenario.url) as traffic:
        for index, step in enumerate(scenario.steps):
            between = _change(scenario, index, mesh, traffic)
            with _caller(step, mesh, traffic) as caller:
                measured = _measure(step, mesh, caller, partial(watch, index))
            outcomes.append(_judge(step, measured))
            lost += _lost(between, step, scenario.steps[max(0, index - 1)])
    if scenario.edges:
        outcomes.append(_seen(scenario.edges, mesh))
    outcomes.append(_nothing_lost(lost))
    return Report(demo=scenario.name, steps=tuple(outcomes))


def _caller(step: Step, mesh: Stage, client: Traffic) -> AbstractContextManager[Traffic]:
    if step.past_mesh:
        return Traffic(mesh.address(step.past_mesh), APP_PORT, "/")
    return nullcontext(client)


def _seen(due: Mapping[str, int], mesh: Stage) -> Outcome:
    """Sidecars tell what they counted now and then: looks until all of it is there, or for ``REPORTED``."""
    deadline = time.monotonic() + REPORTED
    while (observed := mesh.edges()) != due and time.monotonic() < deadline:
        time.sleep(REFRESH)
    return Outcome(name="what smi edges shows", expected=due, observed=observed, ok=observed == due)


def _change(scenario: Scenario, index: int, mesh: Stage, traffic: Traffic) -> Counter[str]:
    """Makes the step's edit under traffic and waits until it is enforced; returns what was answered meanwhile."""
    step = scenario.steps[index]
    if step.edit is None:
        return Counter()
    between = Tally(request=step.request)
    before = mesh.versions(step.enforced_by)
    traffic.count_into(between)
    step.edit(mesh.folder)
    mesh.wait_for_change(step.enforced_by, before)
    return between.answers


def _measure(step: Step, mesh: Stage, traffic: Traffic, watch: Callable[[Tally], None]) -> Tally:
    tally = Tally(request=step.request, limit=0)
    traffic.count_into(tally)
    while (left := step.requests - tally.answers.total()) > 0:
        if step.awaits:
            mesh.wait_until_ready(step.awaits)
        tally.expect(1 if step.awaits else left)
        while not tally.full.wait(REFRESH):
            watch(tally)
            if tally.answers[NO_ANSWER] >= GIVE_UP:
                raise DemoError(f"{tally.answers[NO_ANSWER]} requests came back without an answer")
    watch(tally)
    return tally


def _judge(step: Step, measured: Tally) -> Outcome:
    observed = {kind: measured.answers[kind] for kind in {**step.due, **measured.answers}}
    seconds = [one for kind, taken in measured.seconds.items() if step.due.get(kind) for one in taken]
    return Outcome(
        name=step.name,
        expected=step.due,
        observed=observed,
        ok=holds(step.due, observed, step.chance),
        median=statistics.median(seconds) if seconds else None,
    )


def _lost(between: Mapping[str, int], after: Step, before: Step) -> int:
    """Answers during a change that belong neither to the old state nor to the new one."""
    known = {kind for step in (before, after) for kind, due in step.due.items() if due}
    return sum(count for kind, count in between.items() if kind not in known)


def _nothing_lost(lost: int) -> Outcome:
    return Outcome(
        name="no request failed while something changed",
        expected={"failed": 0},
        observed={"failed": lost},
        ok=lost == 0,
    )
