"""What a run found, as tables for people: text for a terminal, Markdown for ``docs/performance.md``. Pure.

Both are made from the JSON that a run leaves, so that what is printed can be printed again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.estimate import Estimate

Run = Mapping[str, Any]
"""A run's JSON: ``mode``, ``invalid`` (why nothing may be concluded; empty: it may), ``machine``, ``goals``,
``figures``, ``samples``, ``notes``."""

Table = Sequence[Sequence[str]]
"""Rows of cells; the first is the heading."""

WORDS = {True: "yes", False: "no", None: "–"}


def as_json(figures: Mapping[str, Estimate]) -> dict[str, dict[str, float]]:
    """Figures for a run's JSON."""
    return {name: asdict(figure) for name, figure in figures.items()}


def text(run: Run) -> str:
    """Everything, for a terminal."""
    parts = [verdict(run)]
    for title, table in sections(run):
        parts += [f"{title}\n{aligned(table)}"]
    parts += [f"note: {note}" for note in run["notes"]]
    return "\n\n".join(parts) + "\n"


def markdown(run: Run, figures: Sequence[tuple[str, str]]) -> str:
    """Everything, for a document; ``figures`` are captions and the paths of pictures."""
    parts = [verdict(run)]
    for title, table in sections(run):
        parts += [f"### {title}", piped(table)]
    parts += [f"![{caption}]({path})" for caption, path in figures]
    parts += ["\n".join(f"* {note}" for note in run["notes"])] if run["notes"] else []
    parts += ["### Measured on", piped([("what", "which"), *_machine(run)])]
    return "\n\n".join(parts) + "\n"


def verdict(run: Run) -> str:
    """In one sentence, whether the run says anything."""
    twin = run["figures"].get("cpu: ours / ours")
    if run["invalid"]:
        return f"This run is INVALID: {run['invalid']}."
    return f"Two processes of the same sidecar compared to each other (A/A): {interval(twin)}; the run is valid."


def sections(run: Run) -> list[tuple[str, Table]]:
    """The tables that there is something for, with their titles."""
    samples = run["samples"]
    built = (
        ("Goals", _goals(run)),
        ("Ratios", _ratios(run)),
        ("At saturation, 32 connections, small GET, the proxy alone on one core", _saturation(samples)),
        ("Latency in milliseconds at a fixed rate, 16 connections, from when a request was due", _latency(samples)),
        ("Memory at rest, PSS in MB", _memory(samples)),
        ("Connections with mutual TLS, a core and second", _handshakes(samples)),
        ("From a change of weights until sidecars run on it, in milliseconds", _changes(samples)),
        ("The controller's memory, PSS in MB", _plane(samples)),
    )
    return [(title, table) for title, table in built if len(table) > 1]


def _goals(run: Run) -> Table:
    rows = [("quantity", "goal", "measured", "met")]
    for row in run["goals"]:
        why = f" ({row['why']})" if row.get("why") and row["measured"] is not None else ""
        rows.append((row["name"], row["goal"], measured(row["measured"]) + why, WORDS[row["met"]]))
    return rows


def measured(value: Any) -> str:
    """A goal's measurement in words."""
    match value:
        case None:
            return "–"
        case Mapping():
            return ", ".join(f"{measured(number)} {of}" for of, number in value.items())
        case int() | float():
            return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
        case _:
            return str(value)


def _ratios(run: Run) -> Table:
    rows = [("ratio", "value", "95 % interval", "pairs")]
    for name, figure in run["figures"].items():
        if " / " in name:
            rows.append((name, f"{figure['value']:.3f}", _ends(figure), str(figure["count"])))
    return rows


def interval(figure: Mapping[str, float] | None) -> str:
    """A figure with its interval."""
    return "–" if figure is None else f"{figure['value']:.3f} [{_ends(figure)}]"


def _ends(figure: Mapping[str, float]) -> str:
    return f"{figure['low']:.3f} – {figure['high']:.3f}"


def _saturation(samples: Mapping[str, Any]) -> Table:
    heading = ("proxy", "CPU µs/request", "user", "system", "requests/s", "core used", "syscalls", "instructions")
    rows = [heading]
    for name, one in samples.get("saturation", {}).items():
        rows.append(
            (
                name,
                f"{one['cpu_us']:.1f}",
                f"{one['user_us']:.1f}",
                f"{one['system_us']:.1f}",
                f"{one['rate']:,.0f}",
                f"{one['busy']:.0%}",
                _or_dash(one.get("syscalls"), ".2f"),
                _or_dash(one.get("instructions"), ",.0f"),
            )
        )
    return rows


def _latency(samples: Mapping[str, Any]) -> Table:
    percents = ("50", "90", "99", "99.9")
    rows = [("rps", "through", *(f"p{percent}" for percent in percents), "CPU µs/request")]
    for rate, curves in samples.get("latency", {}).items():
        spent = samples.get("cpu at rate", {}).get(rate, {})
        for name, curve in curves.items():
            told = _or_dash(spent.get(name) or None, ".1f")  # direct has no proxy that could spend any
            rows.append((rate, name, *(f"{curve[percent]:.3f}" for percent in percents), told))
    return rows


def _memory(samples: Mapping[str, Any]) -> Table:
    rows = [("process", "each of five")]
    for name, sizes in samples.get("PSS", {}).items():
        rows.append((name, ", ".join(f"{size:.1f}" for size in sizes)))
    return rows


def _handshakes(samples: Mapping[str, Any]) -> Table:
    said = samples.get("handshakes", {})
    return [("server", "connections"), *((name, f"{said[name]:,.0f}") for name in ("ours", "Envoy") if name in said)]


def _changes(samples: Mapping[str, Any]) -> Table:
    heading = (
        "Services",
        "sidecars",
        "affected",
        "each p50",
        "p99",
        "the last p50",
        "p99",
        "controller's CPU",
        "bytes",
    )
    rows: list[Sequence[str]] = [heading]
    for one in samples.get("control", {}).get("runs", ()):
        services = f"{one['services']:,}"
        if "alone_ms" in one:
            each = tuple(f"{one['alone_ms'][percent]:.1f}" for percent in ("p50", "p99"))
            rows.append((services, "1", "1", *each, *each, "–", "–"))
        for of in (one[size] for size in ("few", "many") if size in one):
            for kind in ("rare", "popular"):
                times = (of[kind][which][percent] for which in ("first_ms", "last_ms") for percent in ("p50", "p99"))
                told = (*(f"{time:.1f}" for time in times), f"{of[kind]['cpu_ms']:.1f}", str(of[kind]["bytes"]))
                rows.append((services, f"{of['sidecars']:,}", f"{of[kind]['affected']:,}", *told))
    return rows


def _plane(samples: Mapping[str, Any]) -> Table:
    rows = [("Services", "sidecars", "PSS")]
    for one in samples.get("control", {}).get("runs", ()):
        sizes = {0: one["pss_bare"]} | {
            one[size]["sidecars"]: one[size]["pss"] for size in ("few", "many") if size in one
        }
        rows += [(f"{one['services']:,}", f"{sidecars:,}", f"{pss:.1f}") for sidecars, pss in sizes.items()]
    return rows


def _machine(run: Run) -> list[tuple[str, str]]:
    return [
        (name, ", ".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value))
        for name, value in run["machine"].items()
    ]


def _or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def aligned(table: Table) -> str:
    """A table for a terminal."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]])


def piped(table: Table) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]
    return "\n".join([lines[0], "|---" * len(table[0]) + "|", *lines[1:]])
