"""Conditions of routes: as matches that say the same, or refused; and which of them may meet."""

from __future__ import annotations

from typing import Any

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from smi.linkerd.routes import Requests, Unsayable, alternatives_of, anchored, may_overlap
from smi.wire.linkerd import RequestCondition

GET, POST = frozenset({"GET"}), frozenset({"POST"})


def said(condition: dict[str, Any]) -> list[Requests]:
    return alternatives_of(RequestCondition.model_validate(condition))


@pytest.mark.parametrize(
    ("condition", "requests"),
    [
        ({"method": "GET"}, [Requests(GET)]),
        ({"method": "get", "pathRegex": "/a"}, [Requests(GET, "/a")]),
        ({"all": [{"method": "GET"}, {"pathRegex": "/a"}]}, [Requests(GET, "/a")]),
        ({"all": [{"method": "GET"}, {"method": "POST"}]}, []),
        ({"any": [{"method": "GET"}, {"method": "POST"}]}, [Requests(GET | POST)]),
        ({"any": [{"method": "GET"}, {"pathRegex": "/a"}]}, [Requests(GET), Requests(None, "/a")]),
        ({"any": [{"method": "GET", "pathRegex": "/a"}, {"pathRegex": "/a"}]}, [Requests(None, "/a")]),
        (
            {"pathRegex": "/a", "any": [{"method": "GET"}, {"all": [{"method": "POST"}, {"pathRegex": "/a"}]}]},
            [Requests(GET | POST, "/a")],
        ),
        ({"any": []}, []),
        ({"all": []}, [Requests()]),
    ],
)
def test_a_condition_as_matches(condition: dict[str, Any], requests: list[Requests]) -> None:
    assert said(condition) == requests


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ({"not": {"method": "GET"}}, "`not` cannot be said"),
        ({"any": [{"method": "GET"}, {"not": {"method": "GET"}}]}, "`not` cannot be said"),
        ({"all": [{"pathRegex": "/a"}, {"pathRegex": "/b"}]}, "two paths at once cannot be said"),
        ({"any": [{"method": "GET"}] * 65}, "this means more than 64 matches"),
    ],
)
def test_what_cannot_be_said(condition: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unsayable, match=reason):
        said(condition)


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        ("/a", "/a$"),
        ("/a$", "/a$"),
        (r"/a\$", r"/a\$$"),
        (r"/a\\$", r"/a\\$"),
        ("/a|/b", "(?:/a|/b)$"),
        (r"/\Qa|b", r"(?:/\Qa|b\E)$"),
        (r"/\Qa.\E/\Q$", r"/\Qa.\E/\Q$\E$"),
        (r"/\Qa.\E", r"/\Qa.\E$"),
        (r"/\\Q", r"/\\Q$"),
        (".*", ".*"),
        ("/.*", "/.*"),
        ("/a/.*", "/a/.*$"),
    ],
)
def test_linkerd_matches_paths_whole(path: str, ours: str) -> None:
    assert anchored(path) == ours
    re2.compile(ours)


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        (Requests(GET, "/a"), Requests(POST, "/a"), False),
        (Requests(GET, "/a"), Requests(None, "/a"), True),
        (Requests(None, "/a"), Requests(None, "/b"), False),
        (Requests(None, "/a"), Requests(None, "/ab"), False),
        (Requests(None, "/a"), Requests(None, "/[ab]"), True),
        (Requests(None, "/a"), Requests(None, "/a/[^/]+"), False),
        (Requests(None, "/a/[^/]+"), Requests(None, "/a/b/[^/]+"), True),
        (Requests(None, "/a/[^/]+"), Requests(None, "/b/[^/]+"), False),
        (Requests(None, "/ab*"), Requests(None, "/a"), True),
        (Requests(None, "/b|/a"), Requests(None, "/a"), True),
        (Requests(GET), Requests(None, "/a"), True),
        (Requests(None, r"/a\.json"), Requests(None, "/a.json"), True),
    ],
)
def test_which_conditions_may_meet(one: Requests, other: Requests, overlap: bool) -> None:
    assert may_overlap(one, other) is overlap
    assert may_overlap(other, one) is overlap


PATTERNS = st.sampled_from(
    ("", "/a", "/a+", "/ab?", "/a.*", r"/a\.", "/(a|b)", "^/a", "/b", "/[ab]", "/a$", "a|/b", "/a{2}")
)
PATHS = ("/a", "/b", "/ab", "/aa", "/a.", "a", "/")


@settings(max_examples=300, deadline=None)
@given(PATTERNS, PATTERNS)
def test_conditions_that_some_path_meets_are_never_told_apart(one: str, other: str) -> None:
    import re2

    def meets(pattern: str, path: str) -> bool:
        return not pattern or re2.fullmatch(pattern, path) is not None

    if any(meets(one, path) and meets(other, path) for path in PATHS):
        assert may_overlap(Requests(None, one), Requests(None, other))
