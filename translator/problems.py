"""Saying what is wrong with the manifests once, not every time somebody looks. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from smi.problems import Problem


def news(before: Iterable[Problem], after: Iterable[Problem]) -> tuple[str, ...]:
    """The lines to print when the problems changed: new ones as they are, those gone with ``resolved:``.

    A problem that only moved to another line is printed with its new place.
    """
    old, new = tuple(before), tuple(after)
    known, left = set(old), {_what(problem) for problem in new}
    appeared = tuple(str(problem) for problem in new if problem not in known)
    resolved = tuple(f"resolved: {problem}" for problem in old if _what(problem) not in left)
    return (*appeared, *resolved)


def _what(problem: Problem) -> tuple[str, str, str]:
    return (problem.file, problem.field, problem.message)
