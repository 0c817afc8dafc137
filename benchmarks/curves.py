"""Which curves a run's JSON has: latencies by percentile, and growths that ``control.py`` measured. Pure.

A growth is told in ``samples["control"]["growth"]``: by name, pairs of a size and a value, both above 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.chart import Chart
from benchmarks.estimate import exponent
from benchmarks.report import Run

WORST = 99.95
"""Where the slowest request of all is drawn: a percentile of 100 would be at no end of the axis."""


def charts(run: Run) -> dict[str, Chart]:
    """By the name of their file, without its ending."""
    found = {
        f"latency-{rate}": _latency(int(rate), curves) for rate, curves in run["samples"].get("latency", {}).items()
    }
    growth = run["samples"].get("control", {}).get("growth", {})
    if growth:
        found["growth"] = _growth(growth)
    return found


def _latency(rate: int, curves: Mapping[str, Mapping[str, float]]) -> Chart:
    """Percentiles by how rare what is above them is, as of an HDR histogram."""
    lines = {
        name: [(1 / (1 - min(float(percent), WORST) / 100), value) for percent, value in curve.items()]
        for name, curve in curves.items()
    }
    marks = (0.0, 50.0, 90.0, 99.0, 99.9)
    return Chart(
        title=f"Latency at {rate:,} requests a second, two hops with mTLS",
        x="percentile",
        y="milliseconds",
        lines=lines,
        log_x=True,
        log_y=True,
        ticks=[(1 / (1 - mark / 100), f"{mark:g} %") for mark in marks],
    )


def _growth(growth: Mapping[str, Any]) -> Chart:
    """Each against its own smallest, so that different quantities are in one picture."""
    lines = {}
    for name, points in growth.items():
        ordered = sorted((float(size), float(value)) for size, value in points)
        told = f"{name}: n^{exponent(ordered):.2f}" if len({size for size, _ in ordered}) > 1 else name
        lines[told] = [(size, value / ordered[0][1]) for size, value in ordered]
    return Chart(
        title="Growth with the number of Services",
        x="Services",
        y="times that of the smallest",
        lines=lines,
        log_x=True,
        log_y=True,
    )
