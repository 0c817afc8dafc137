"""Questions as users write them, as the API is asked them, and what is none."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest

from translator.explain.question import BadQuestion, Check, Question, asked, check_of, question


def test_a_question_comes_back_from_its_query() -> None:
    one = asked("POST", "web/ä?x=1&y#part", "deploy/client", "shop", headers=["X-A:  b: c ", "X-A: d"])
    assert one == Question(
        method="POST",
        url="http://web/ä?x=1&y",
        source="deploy/client",
        namespace="shop",
        headers=(("X-A", "b: c"), ("X-A", "d")),
    )
    assert question(parse_qsl(one.query(), keep_blank_values=True)) == one


def test_a_check_comes_back_from_its_query() -> None:
    for one in (Check(), Check(source="a", destination="deploy/b", to_namespace="x", method="GET", path="/?&=")):
        assert check_of(parse_qsl(one.query(), keep_blank_values=True)) == one


@pytest.mark.parametrize(
    ("method", "url", "headers", "why"),
    [
        ("GE T", "http://web/", [], "is no method"),
        ("CONNECT", "web:80", [], "ask about one of those"),
        ("GET", "https://web/", [], "https://: the mesh looks into http:// only"),
        ("GET", "http://web/\r\nX: y", [], "one line"),
        ("GET", "http://web/", ["nonsense"], "'nonsense' is no header: write 'Name: value'"),
        ("GET", "http://web/", ["X: y\r\nZ: w"], "is no header"),
        ("GET", "http://web/", [": y"], "is no header"),
    ],
)
def test_what_is_no_question(method: str, url: str, headers: list[str], why: str) -> None:
    with pytest.raises(BadQuestion, match=why):
        asked(method, url, "deploy/client", "default", headers=headers)


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("url=http://web/", "from: is missing"),
        ("from=deploy/client", "url: is missing"),
        ("url=http://web/&from=x&form=y", "form: there is no such parameter; there are method, url"),
    ],
)
def test_what_is_no_query(query: str, why: str) -> None:
    with pytest.raises(BadQuestion, match=why):
        question(parse_qsl(query))
    with pytest.raises(BadQuestion, match="url: there is no such parameter; there are source"):
        check_of([("url", "x")])
