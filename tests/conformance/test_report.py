"""The three shapes of a result."""

import json
from xml.etree import ElementTree

from conformance.case import Case
from conformance.report import as_json, as_junit, line, verdict
from conformance.run import Result


def result(name: str, *faults: str) -> Result:
    case = Case(name=name, world="split", about=f"about {name}", steps=())
    return Result(case=case, faults=faults, seconds=1.25)


GOOD, BAD = result("good"), result("bad", "v1: 1 answers, due are 2", "v2: <none>")


def test_the_table_tells_faults_below_their_case() -> None:
    assert line(GOOD).split() == ["ok", "good", "1.2", "s"]
    assert line(BAD).splitlines()[1:] == ["        v1: 1 answers, due are 2", "        v2: <none>"]
    assert verdict([GOOD, BAD, GOOD]) == "2 passed, 1 failed"


def test_json_is_ok_only_if_something_ran_and_all_held() -> None:
    assert json.loads(as_json([GOOD, BAD])) == {
        "ok": False,
        "cases": [
            {"name": "good", "about": "about good", "ok": True, "seconds": 1.25, "faults": []},
            {"name": "bad", "about": "about bad", "ok": False, "seconds": 1.25, "faults": list(BAD.faults)},
        ],
    }
    assert json.loads(as_json([GOOD]))["ok"] is True
    assert json.loads(as_json([]))["ok"] is False


def test_junit_counts_and_quotes() -> None:
    suite = ElementTree.fromstring(as_junit([GOOD, BAD]))

    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert [(case.get("classname"), case.get("name")) for case in suite] == [("split", "good"), ("split", "bad")]
    assert [failure.text for failure in suite.iter("failure")] == ["v1: 1 answers, due are 2\nv2: <none>"]
