"""Questions as they come in a query, and the kind of their answers."""

from __future__ import annotations

import pytest

from translator.observed import Observed
from translator.question import BadQuestion, Question, answer, question
from translator.resources import Resource
from translator.rows import EdgeAnswer, SplitAnswer, StatAnswer, TopAnswer
from translator.views import NotThere
from translator.world import World

NOTHING = Observed(entries=[], seconds=12.3456, pods={}, world=World.of())


def test_what_is_not_said_has_a_default() -> None:
    assert question({}) == Question(view="stat", asked=Resource("Deployment", "", ""), seconds=30.0)


def test_everything_said() -> None:
    said = {
        "view": "stat", "resource": "po/web-1", "namespace": "shop", "seconds": "90.5",
        "from": "deploy/client", "fromNamespace": "other",
    }  # fmt: skip
    assert question(said) == Question(
        view="stat",
        asked=Resource("Pod", "shop", "web-1"),
        seconds=90.5,
        source=Resource("Deployment", "other", "client"),
    )
    assert question({"namespace": "shop", "to": "svc/web"}).destination == Resource("Service", "shop", "web")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"view": "map"}, "view: 'map' is not one of stat, routes, edges, top"),
        ({"resource": "ingress"}, "is no kind of resource"),
        ({"resource": "deploy/"}, "no name"),
        ({"from": "x"}, "is no kind of resource"),
        ({"to": "x"}, "is no kind of resource"),
        ({"window": "30"}, "there is no such parameter"),
        ({"seconds": "30s"}, "is no number"),
        ({"seconds": "0"}, "cannot be looked at"),
        ({"seconds": "-1"}, "cannot be looked at"),
        ({"seconds": "nan"}, "cannot be looked at"),
        ({"seconds": "inf"}, "cannot be looked at"),
        ({"seconds": "601"}, "counts are kept for 600 s"),
        ({"view": "edges", "from": "deploy/a"}, "for view=stat"),
        ({"from": "deploy/a", "to": "deploy/b"}, "together"),
    ],
)
def test_bad_questions(said: dict[str, str], why: str) -> None:
    with pytest.raises(BadQuestion, match=why):
        question(said)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({}, StatAnswer),
        ({"resource": "ts"}, SplitAnswer),
        ({"view": "edges"}, EdgeAnswer),
        ({"view": "top"}, TopAnswer),
    ],
)
def test_an_empty_mesh_has_empty_answers(said: dict[str, str], kind: type) -> None:
    given = answer(question(said), NOTHING)
    assert isinstance(given, kind)
    assert (given.window, given.seconds, given.rows) == (30.0, 12.346, [])


@pytest.mark.parametrize(
    "said", [{"resource": "svc/web"}, {"resource": "ts/x"}, {"view": "routes", "resource": "svc/x"}]
)
def test_what_is_not_there(said: dict[str, str]) -> None:
    with pytest.raises(NotThere):
        answer(question(said), NOTHING)


@pytest.mark.parametrize(
    "said",
    [
        {"view": "routes", "resource": "svc"},
        {"view": "edges", "resource": "svc"},
        {"view": "top", "resource": "tt"},
        {"resource": "ts", "to": "svc/web"},
        {"resource": "tt", "from": "deploy/x"},
    ],
)
def test_what_has_no_answer(said: dict[str, str]) -> None:
    with pytest.raises(BadQuestion):
        answer(question(said), NOTHING)
