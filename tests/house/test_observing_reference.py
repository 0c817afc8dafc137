"""The reference in docs/observing.md is what the code exports: every metric, every kind, every field of a log line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from proxy.prometheus import FAMILIES
from translator.api import METRICS, Knowledge, controller_metrics
from translator.collect import Collector
from translator.compiler import compile_sidecar
from translator.local.sidecar import ACCESS_LOG, ACCESS_LOGS
from translator.reconcile import Reconciler
from translator.resources import KINDS
from translator.traffic import Traffic

TEXT = (Path(__file__).parents[2] / "docs" / "observing.md").read_text()


class Nothing:
    """A controller that knows nothing yet."""

    reconciler = Reconciler(compile_sidecar)
    collector = Collector(Traffic(1.0, 0.0), 1.0, lambda: 0.0)
    problems = ()


def table(header: str, rows: Iterable[tuple[str, ...]]) -> str:
    """The Markdown of a table."""
    lines = [header, "|---" * (header.count("|") - 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def test_the_metrics_of_a_sidecar() -> None:
    rows = [(f"`{f.name}`", f.kind, f.help, " ".join(f"`{label}`" for label in f.labels)) for f in FAMILIES]
    assert table("| metric | type | what | labels |", rows) in TEXT


def test_the_metrics_of_the_controller() -> None:
    known = cast(Knowledge, cast(Any, Nothing()))
    rows = [(f"`{METRICS}{metric.name}`", metric.kind, metric.help) for metric in controller_metrics(known)]
    assert table("| metric | type | what |", rows) in TEXT


def test_the_words_for_kinds() -> None:
    named = set(re.findall(r"`([a-z]+)`", TEXT[TEXT.index("`KIND` is") : TEXT.index("All of them take")])) - {"stat"}
    assert named <= KINDS.keys()
    assert {KINDS[word] for word in named} == set(KINDS.values())


def test_the_annotation_and_its_values() -> None:
    paragraph = TEXT[TEXT.index("## Access log") : TEXT.index("## The API")]
    assert f"`{ACCESS_LOG}`" in paragraph
    assert all(f"`{value}`" in paragraph for value in ACCESS_LOGS)
