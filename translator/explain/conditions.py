"""Why a match accepts a request or not: each of its conditions asked by itself, of the sidecar's own matcher. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.contract.config import HttpMatch
from proxy.matching import Request, compile_match
from translator.explain.answer import Condition, Match


def explained(match: HttpMatch, request: Request) -> Match:
    """One match and its conditions."""
    conditions = tuple(
        Condition(condition=text, holds=compile_match(alone).accepts(request)) for text, alone in _alone(match)
    )
    return Match(name=match.name, accepts=compile_match(match).accepts(request), conditions=conditions)


def failing(match: Match) -> str:
    """The conditions that do not hold."""
    return " and ".join(condition.condition for condition in match.conditions if not condition.holds)


def described(match: HttpMatch) -> str:
    """All conditions of a match in one line."""
    return ", ".join(text for text, _ in _alone(match)) or "any request"


def _alone(match: HttpMatch) -> Iterator[tuple[str, HttpMatch]]:
    if match.methods:
        yield f"method {'|'.join(match.methods)}", HttpMatch(methods=match.methods)
    if match.path:
        yield f"path {match.path}", HttpMatch(path=match.path)
    for name, pattern in match.headers:
        yield f"header {name}: {pattern}", HttpMatch(headers=((name, pattern),))
