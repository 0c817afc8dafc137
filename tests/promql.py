"""As much of Prometheus' query language and text format as tests of queries need: the names in them.

A query is not evaluated here; ``selectors`` and ``grouped_by`` read it, so that a misspelt metric or label is found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

_STRING = r'"(?:[^"\\]|\\.)*"'
_SELECTOR = re.compile(rf"\b([a-z_][a-z0-9_]*)\s*(?:\{{((?:{_STRING}|[^{{}}\"])*)\}}|(?=\[|\)|\s|$))")
_MATCHER = re.compile(rf"\s*([a-z_][a-z0-9_]*)\s*(=~|!~|!=|=)\s*({_STRING})\s*(?:,|$)")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^()]*)\)")
_WORDS = frozenset({"sum", "count", "min", "max", "avg", "topk", "and", "or", "unless", "bool"})
_SAMPLE = re.compile(rf"([a-z_][a-z0-9_]*)(?:\{{((?:{_STRING}|[^{{}}\"])*)\}})? (\S+)")


class Matcher(NamedTuple):
    """``label op "value"``."""

    label: str
    op: str
    value: str

    def meets(self, labels: Mapping[str, str]) -> bool:
        """As Prometheus has it: a label that is not there is empty, an expression holds for the whole value."""
        found = labels.get(self.label, "")
        same = bool(re.fullmatch(self.value, found)) if "~" in self.op else found == self.value
        return same is not self.op.startswith("!")


class Selector(NamedTuple):
    """One metric in a query, and what is asked of its labels."""

    metric: str
    matchers: tuple[Matcher, ...]


class Sample(NamedTuple):
    """One line of a metrics page."""

    metric: str
    labels: Mapping[str, str]
    value: float


def selectors(query: str) -> list[Selector]:
    """Every metric of a query."""
    plain = _GROUPING.sub(" ", query)
    return [Selector(name, matchers(inner or "")) for name, inner in _SELECTOR.findall(plain) if name not in _WORDS]


def matchers(text: str) -> tuple[Matcher, ...]:
    """What is between the braces. Raises ``ValueError``."""
    found, at = [], 0
    while at < len(text) and text[at:].strip():
        one = _MATCHER.match(text, at)
        if one is None:
            raise ValueError(f"no matcher: {text[at:]}")
        found.append(Matcher(one[1], one[2], one[3][1:-1]))
        at = one.end()
    return tuple(found)


def grouped_by(query: str) -> set[str]:
    """Labels in ``by (…)`` and its like."""
    return {label.strip() for inner in _GROUPING.findall(query) for label in inner.split(",") if label.strip()}


def samples(page: str) -> list[Sample]:
    """A metrics page read."""
    found = []
    for line in page.splitlines():
        if line and not line.startswith("#"):
            one = _SAMPLE.fullmatch(line)
            assert one is not None, line
            labels = {matcher.label: matcher.value for matcher in matchers(one[2] or "")}
            found.append(Sample(one[1], labels, float(one[3])))
    return found


def selected(page: Iterable[Sample], selector: Selector) -> list[Sample]:
    """What a selector selects."""
    return [
        sample
        for sample in page
        if sample.metric == selector.metric and all(one.meets(sample.labels) for one in selector.matchers)
    ]


def histogram_quantile(quantile: float, buckets: Mapping[float, float]) -> float:
    """Cumulative counts by upper bound, read as Prometheus reads them: linear within a bucket."""
    rank = quantile * buckets[float("inf")]
    lower = below = 0.0
    for bound, count in sorted(buckets.items()):
        if count >= rank:
            if bound == float("inf"):
                return lower
            return lower + (bound - lower) * (rank - below) / (count - below)
        lower, below = bound, count
    raise AssertionError("the last bucket has everything")
