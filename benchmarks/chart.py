"""Curves as SVG, with no library: lines over one another, linear or logarithmic axes. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 840, 420
LEFT, RIGHT, TOP, BOTTOM = 80, 300, 40, 60
"""Pixels around the drawing: for the numbers, the names of the lines, the title, the words below."""

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Those of Okabe and Ito, which the colour-blind tell apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """``lines`` by name; values on a logarithmic axis are above 0. ``ticks``: where the x axis has words, in order."""

    title: str
    x: str
    y: str
    lines: Mapping[str, Points]
    log_x: bool = False
    log_y: bool = False
    ticks: Sequence[tuple[float, str]] = ()


def svg(chart: Chart) -> str:
    """The picture. Raises ``ValueError`` when there is nothing to draw, or a value that its axis does not have."""
    points = [point for line in chart.lines.values() for point in line]
    if not points:
        raise ValueError("there is nothing to draw")
    x_ticks = list(chart.ticks) or _ticks([x for x, _ in points], log=chart.log_x)
    y_ticks = _ticks([y for _, y in points], log=chart.log_y)
    across = _scale([x for x, _ in (*points, *x_ticks)], LEFT, WIDTH - RIGHT, log=chart.log_x)
    up = _scale([*(y for _, y in points), *(y for y, _ in y_ticks)], HEIGHT - BOTTOM, TOP, log=chart.log_y)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, TOP - 16, chart.title, size=15),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16, chart.x, anchor="middle"),
        f'<g transform="rotate(-90)">{_text(-(TOP + HEIGHT - BOTTOM) / 2, 18, chart.y, anchor="middle")}</g>',
    ]
    for value, word in x_ticks:
        parts += [_line((across(value), TOP), (across(value), HEIGHT - BOTTOM))]
        parts += [_text(across(value), HEIGHT - BOTTOM + 18, word, anchor="middle")]
    for value, word in y_ticks:
        parts += [_line((LEFT, up(value)), (WIDTH - RIGHT, up(value)))]
        parts += [_text(LEFT - 8, up(value) + 4, word, anchor="end")]
    for number, (name, line) in enumerate(chart.lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        places = [(across(x), up(y)) for x, y in line]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts += [f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"/>']
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        parts += [_text(WIDTH - RIGHT + 14, TOP + 14 + 18 * number, name, colour=colour)]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _scale(values: Sequence[float], begin: float, end: float, *, log: bool) -> Callable[[float], float]:
    def on_axis(value: float) -> float:
        if not log:
            return value
        if value <= 0:
            raise ValueError(f"a logarithmic axis has no {value}")
        return math.log10(value)

    low, high = on_axis(min(values)), on_axis(max(values))
    spread = (high - low) or 1.0
    return lambda value: begin + (on_axis(value) - low) / spread * (end - begin)


def _ticks(values: Sequence[float], *, log: bool) -> list[tuple[float, str]]:
    """Round numbers from below the least value to above the greatest."""
    low, high = min(values), max(values)
    if log:
        if low <= 0:
            raise ValueError(f"a logarithmic axis has no {low}")
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        return [(10.0**decade, f"{10.0**decade:,g}") for decade in decades]
    step = 10.0 ** math.floor(math.log10((high - min(low, 0)) or 1.0))
    first, last = math.floor(min(low, 0) / step), math.ceil(high / step)
    return [(number * step, f"{number * step:,g}") for number in range(first, last + 1)]


def _text(x: float, y: float, words: str, *, anchor: str = "start", size: int = 12, colour: str = "#333") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}"'
    return f"<text {place}>{escape(words)}</text>"


def _line(begin: tuple[float, float], end: tuple[float, float]) -> str:
    return (
        f'<line x1="{begin[0]:.1f}" y1="{begin[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" stroke="#ddd"/>'
    )  # fmt: skip
