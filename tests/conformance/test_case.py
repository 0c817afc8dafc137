"""The case format: what is read, what is expanded, what is refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from conformance.case import CaseError, expand, load

SHIPPED = Path(__file__).parents[2] / "conformance"

ONE = """
name: one
about: something
world: split
steps:
  - apply: [{kind: TrafficSplit, apiVersion: "split.smi-spec.io/{version}"}]
    requests:
      - {from: client, to: "http://web/", times: 10, answers: {v1: 9, v2: 1, "503": [0, 2]}, within: 1}
      - {from: far/a, to: "http://web/", method: POST, headers: {a: 1}, clients: 2, times: 4, answers: v1}
  - requests:
      - {from: client, to: "http://web/", answers: v1, sees: {x: null}}
      - {from: client, to: "http://web/", raw: "GET /\\xff HTTP/1.1\\r\\n\\r\\n", answers: "400", reaches: {web: 0}}
"""


def document(**changes: Any) -> dict[str, Any]:
    return {**yaml.safe_load(ONE), **changes}


def test_one_document_is_one_case() -> None:
    (case,) = expand(document(), "x.yaml")

    first, second = case.steps
    assert (case.name, case.world, case.about) == ("one", "split", "something")
    assert first.requests[0].answers == {"v1": (8, 10), "v2": (0, 2), "503": (0, 2)}
    assert first.requests[1].answers == {"v1": (4, 4)}
    assert (first.requests[1].caller, first.requests[1].method, first.requests[1].clients) == ("far/a", "POST", 2)
    assert first.requests[1].headers == {"a": "1"}
    assert second.apply is None
    assert second.requests[0].sees == {"x": None}
    assert (second.requests[0].raw, second.requests[0].reaches) == ("", {})
    assert (second.requests[1].raw, second.requests[1].reaches) == ("GET /\xff HTTP/1.1\r\n\r\n", {"web": 0})


def test_versions_make_one_case_each() -> None:
    cases = tuple(expand(document(versions=["v1alpha1", "v1alpha4"]), "x.yaml"))

    assert [case.name for case in cases] == ["one@v1alpha1", "one@v1alpha4"]
    assert [case.steps[0].apply for case in cases] == [
        ({"kind": "TrafficSplit", "apiVersion": "split.smi-spec.io/v1alpha1"},),
        ({"kind": "TrafficSplit", "apiVersion": "split.smi-spec.io/v1alpha4"},),
    ]


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(CaseError, match=r"x.yaml: one: unknown field expect; known are: about"):
        tuple(expand(document(expect=1), "x.yaml"))


def test_a_missing_field_is_named() -> None:
    wrong = document()
    del wrong["world"]

    with pytest.raises(CaseError, match=r"x.yaml: one: 'world' is missing"):
        tuple(expand(wrong, "x.yaml"))


def test_two_cases_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(ONE)
    (tmp_path / "b.yaml").write_text(ONE)

    with pytest.raises(CaseError, match="one: there are several cases of this name"):
        load(tmp_path)


def test_the_shipped_cases_are_well_formed_and_play_in_worlds_that_exist() -> None:
    cases = load(SHIPPED / "cases")

    assert len(cases) > 90
    assert {case.world for case in cases} == {"access", "split"}
    assert all((SHIPPED / "worlds" / f"{case.world}.yaml").exists() for case in cases)
    assert all(step.requests for case in cases for step in case.steps)


def test_every_version_of_every_kind_is_played() -> None:
    applied = {
        (str(thing["kind"]), str(thing["apiVersion"]).rpartition("/")[2])
        for case in load(SHIPPED / "cases")
        for step in case.steps
        for thing in step.apply or ()
    }

    for kind in ("TrafficSplit", "TrafficTarget", "HTTPRouteGroup", "TCPRoute"):
        assert {version for name, version in applied if name == kind} == {f"v1alpha{n}" for n in (1, 2, 3, 4)}
    assert ("IdentityBinding", "v1alpha4") in applied
