"""A route's condition in a ServiceProfile as matches of an HTTPRouteGroup, of which one must hold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import re2

from smi.wire.linkerd import RequestCondition

MAX_MATCHES = 64
"""Matches from one route: nested ``any`` inside ``all`` multiply."""

ANY_PATH = ("", ".*", "/.*")
"""Patterns that match every path."""


@dataclass(frozen=True, slots=True)
class Requests:
    """A condition that one match can say. No methods: any; an empty path: any."""

    methods: frozenset[str] | None = None
    path: str = ""

    @property
    def any(self) -> bool:
        """Whether every request meets it."""
        return self.methods is None and self.path in ANY_PATH


class Unsayable(Exception):
    """An HTTPRouteGroup cannot say a condition; the text tells why."""


def alternatives_of(condition: RequestCondition) -> list[Requests]:
    """``condition`` as matches of which one must hold, those of one path together."""
    by_path: dict[str, frozenset[str] | None] = {}
    for one in _disjuncts(condition):
        methods = by_path.get(one.path, frozenset())
        by_path[one.path] = None if methods is None or one.methods is None else methods | one.methods
    return [Requests(methods, path) for path, methods in by_path.items()]


def _disjuncts(condition: RequestCondition) -> list[Requests]:
    if condition.none_of is not None:
        raise Unsayable("`not` cannot be said")
    method = frozenset({condition.method.upper()}) if condition.method else None
    found = [Requests(method, condition.path_regex)]
    for one in condition.all_of or ():
        found = _both(found, _disjuncts(one))
    if condition.any_of is not None:
        found = _both(found, [requests for one in condition.any_of for requests in _disjuncts(one)])
    return found


def _both(one: Sequence[Requests], other: Sequence[Requests]) -> list[Requests]:
    """What both sides take: each alternative with each."""
    if len(one) * len(other) > MAX_MATCHES:
        raise Unsayable(f"this means more than {MAX_MATCHES} matches")
    found = []
    for left in one:
        for right in other:
            if left.path and right.path and left.path != right.path:
                raise Unsayable("two paths at once cannot be said")
            methods = left.methods if right.methods is None else right.methods
            if left.methods is not None and right.methods is not None:
                methods = left.methods & right.methods
            if methods is None or methods:
                found.append(Requests(methods, left.path or right.path))
    return found


def anchored(path: str) -> str:
    """Linkerd matches the whole path, SMI its beginning."""
    if path in ANY_PATH:
        return path
    path = _unquoted(path)
    if "|" in path:
        return f"(?:{path})$"
    ends = path.endswith("$") and (len(path) - len(path[:-1].rstrip("\\"))) % 2 == 1
    return path if ends else f"{path}$"


def _unquoted(path: str) -> str:
    r"""With ``\E`` where a ``\Q`` has none: a pattern may end with a quotation, and then nothing could follow."""
    escapes = re.finditer(r"\\Q(?:(?!\\E).)*(\\E)?|\\.", path, re.DOTALL)
    return path + r"\E" if any(one[0].startswith(r"\Q") and not one[1] for one in escapes) else path


def may_overlap(one: Requests, other: Requests) -> bool:
    """Whether some request may meet both; False is certain."""
    if one.methods is not None and other.methods is not None and not one.methods & other.methods:
        return False
    (first, first_whole), (second, second_whole) = _beginning(one.path), _beginning(other.path)
    if first_whole:
        return other.path == "" or re2.fullmatch(other.path, first) is not None
    if second_whole:
        return one.path == "" or re2.fullmatch(one.path, second) is not None
    return first.startswith(second) or second.startswith(first)


def _beginning(path: str) -> tuple[str, bool]:
    """The text that every path begins with that ``path`` matches, and whether that is all of it."""
    if "|" in path:
        return "", False
    plain = re.match(r"\^?((?:[\w/~%!@&=:;,<>\"' -]|\\[^\w])*)", path)
    assert plain is not None
    whole = plain.end() == len(path)
    text = re.sub(r"\\(.)", r"\1", plain[1])
    quantified = not whole and path[plain.end()] in "*?{"
    return (text[:-1] if quantified else text), whole and bool(path)
