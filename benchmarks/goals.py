"""What is to be reached, and whether it was. Pure.

Every goal has a row, whether or not a run measured it: what was not measured is null, never left out. A goal has
limits, each on one figure; who measures the control plane (``control.py``) brings the rows of its goals itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.estimate import Estimate

Row = dict[str, Any]
"""``name``, ``goal``, ``measured`` (a number, numbers by what they are of, or None), ``met`` (None: not measured)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """``figure`` names an estimate (``benchmarks.comparison``), ``of`` says in words what the number is of."""

    figure: str
    of: str
    sign: Literal["≤", "≥"]
    bound: float

    def holds(self, value: float) -> bool:
        """Whether ``value`` is within."""
        return value <= self.bound if self.sign == "≤" else value >= self.bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """``judged`` False: what was measured is not what the goal means, so it is told and not judged; ``why``."""

    name: str
    text: str
    limits: tuple[Limit, ...] = ()
    judged: bool = True
    why: str = ""


GOALS: tuple[Goal, ...] = (
    Goal(
        name="CPU per request, one hop, plain",
        text="≤ 0.5 × Envoy, ≤ 2 × HAProxy",
        limits=(
            Limit(figure="cpu: ours / Envoy", of="× Envoy", sign="≤", bound=0.5),
            Limit(figure="cpu: ours / HAProxy", of="× HAProxy", sign="≤", bound=2.0),
        ),
    ),
    Goal(
        name="CPU per request, two hops with mTLS",
        text="≤ 0.6 × Envoy pair",
        limits=(Limit(figure="cpu: ours pair / Envoy pair", of="× Envoy pair", sign="≤", bound=0.6),),
    ),
    Goal(
        name="throughput per core",
        text="≥ 2 × Envoy, ≥ 8 × naive aiohttp proxy",
        limits=(
            Limit(figure="rate: ours / Envoy", of="× Envoy", sign="≥", bound=2.0),
            Limit(figure="rate: ours / naive", of="× naive", sign="≥", bound=8.0),
        ),
    ),
    Goal(
        name="added p50 / p99 at 1,000 rps, 16 connections, two hops, mTLS",
        text="≤ 1.0 × Envoy pair",
        limits=(
            Limit(figure="added p50: ours pair / Envoy pair", of="p50 × Envoy pair", sign="≤", bound=1.0),
            Limit(figure="added p99: ours pair / Envoy pair", of="p99 × Envoy pair", sign="≤", bound=1.0),
        ),
    ),
    Goal(
        name="idle PSS of a sidecar, in a mesh of 5 pods on one node",
        text="≤ 32 MB",
        limits=(Limit(figure="PSS: ours", of="MB", sign="≤", bound=32.0),),
    ),
    Goal(name="PSS for 10,000 Services in the cluster", text="+ ≤ 1 MB (scoped)"),
    Goal(
        name="full mTLS handshakes per core",
        text="≥ 0.8 × Envoy",
        limits=(Limit(figure="handshakes: ours / Envoy", of="× Envoy", sign="≥", bound=0.8),),
    ),
    Goal(name="config, 10 dependencies of 3 endpoints, of any N Services", text="≤ 1.5 KB on the wire"),
    Goal(name="one weight change", text="≤ 150 B to each affected sidecar, 0 B to others"),
    Goal(
        name="change → enforced, one sidecar, first change after 100 ms of quiet",
        text="p50 ≤ 5 ms, p99 ≤ 20 ms",
    ),
    Goal(name="change → enforced at the last of 1,000 sidecars", text="p99 ≤ 200 ms"),
    Goal(
        name="controller PSS, 10,000 Services, 1,000 sidecars",
        text="≤ 220 MB; ≤ 60 KB more per sidecar",
    ),
    Goal(name="reports of 1,000 pods, share of a core", text="≤ 15 %"),
    Goal(name="memory over idle for 1,000 pods' reports", text="≤ 90 MB"),
    Goal(name="list of all pods' metrics, 1,000 pods", text="≤ 200 ms"),
    Goal(name="growth: scoped config and sidecar memory against all Services", text="exponent ≤ 0.05"),
    Goal(name="CPU of one change against all Services", text="exponent ≤ 0.1"),
    Goal(
        name="gRPC unary, CPU per call, one hop",
        text="≤ 2 × Envoy",
        limits=(Limit(figure="cpu: ours gRPC / Envoy gRPC", of="× Envoy", sign="≤", bound=2.0),),
        judged=False,
        why="the sidecar passes HTTP/2 on unread, while Envoy routes each call: not the same work",
    ),
)


def rows(figures: Mapping[str, Estimate], brought: Sequence[Row] = ()) -> list[Row]:
    """A row for each goal. ``brought`` are rows of others, which stand for the goals they name."""
    by_name = {row["name"]: row for row in brought}
    return [_row(goal, figures, by_name.get(goal.name)) for goal in GOALS]


def strangers(brought: Sequence[Row]) -> list[str]:
    """The names of rows that are none of our goals."""
    return [row["name"] for row in brought if row["name"] not in {goal.name for goal in GOALS}]


def _row(goal: Goal, figures: Mapping[str, Estimate], brought: Row | None) -> Row:
    if brought is not None:
        return {
            "name": goal.name, "goal": goal.text, "measured": brought.get("measured"), "met": brought.get("met")
        }  # fmt: skip
    found = {limit: figures[limit.figure].value for limit in goal.limits if limit.figure in figures}
    met: bool | None = all(limit.holds(value) for limit, value in found.items())
    if not goal.judged or not found or (met and len(found) < len(goal.limits)):
        met = None  # a part that misses its limit is enough to miss a goal, a part that keeps it not to reach one
    measured: Any = {limit.of: round(value, 4) for limit, value in found.items()}
    if len(goal.limits) == 1:
        measured = next(iter(measured.values()), None)
    row: Row = {"name": goal.name, "goal": goal.text, "measured": measured or None, "met": met}
    return {**row, "why": goal.why} if goal.why else row
