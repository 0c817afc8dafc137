"""What of the community's suite needs no cluster: its steps and their order, and what its asserts take for equal."""

from __future__ import annotations

from collections import Counter

import communitysteps
import pytest
from cluster import Place
from communitysteps import OWN, PLAIN, STEPS, Form, Play, Step, reach
from kuttl import differences


def a_play(form: Form = PLAIN) -> Play:
    return Play(form=form, where=Place("ns"), runner=Place("elsewhere"))


def test_there_are_as_many_steps_as_in_the_suite() -> None:
    assert Counter(step.case for step in STEPS) == {"traffic-access": 7, "traffic-spec": 6, "traffic-split": 11}


@pytest.mark.parametrize(
    ("form", "service", "url"),
    [
        (PLAIN, "app-b", "http://app-b.ns:9091/echo"),
        (PLAIN, "app-svc", "http://app-svc.ns:9091/echo"),
        (OWN, "app-b", "http://app-b.ns..svc.cluster.local.:9091/echo"),
        (OWN, "app-svc", "http://app-svc.ns.svc.cluster.local.:9091/echo"),
    ],
)
def test_the_names_that_are_called(form: Form, service: str, url: str) -> None:
    assert a_play(form).url(service, "echo") == url


def test_an_object_may_have_more_than_is_asserted() -> None:
    assert differences({"a": {"b": [{"c": 1}]}}, {"a": {"b": [{"c": 1, "d": 2}], "e": 3}, "f": 4}) == []


@pytest.mark.parametrize(
    ("expected", "actual", "fault"),
    [
        ({"matches": []}, {"spec": {}}, ".matches: missing"),
        ({"port": "9091"}, {"port": 9091}, ".port: 9091, due is '9091'"),
        ({"names": ["tt"]}, {"names": ["tt", "x"]}, ".names: 2 elements, due are 1"),
        ({"weight": 1}, {"weight": True}, ".weight: True, due is 1"),
        ({"a": {}}, None, ": None, due is {'a': {}}"),
    ],
)
def test_what_is_not_as_asserted_is_told(expected: object, actual: object, fault: str) -> None:
    assert differences(expected, actual) == [fault]


def steps(monkeypatch: pytest.MonkeyPatch, played: list[int], faulty: int) -> list[Step]:
    """Four steps of which one does not hold."""

    def does(number: int) -> Step:
        def play(_: Play) -> None:
            played.append(number)
            assert number != faulty

        return Step("case", number, "", play)

    made = [does(number) for number in (1, 2, 3, 4)]
    monkeypatch.setattr(communitysteps, "STEPS", made)
    return made


def test_a_step_asked_for_alone_has_those_before_it_played_once(monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[int] = []
    made = steps(monkeypatch, played, faulty=0)
    play = a_play()

    for step in (made[1], made[2]):
        reach(play, step)

    assert played == [1, 2, 3]


def test_nothing_is_played_after_a_step_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[int] = []
    made = steps(monkeypatch, played, faulty=2)
    play = a_play()

    with pytest.raises(AssertionError):
        reach(play, made[1])
    with pytest.raises(AssertionError, match="not reached: case-02"):
        reach(play, made[3])

    assert played == [1, 2]
