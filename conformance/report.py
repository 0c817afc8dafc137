"""Results for people (table), for scripts (JSON) and for CI servers (JUnit XML)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from xml.etree import ElementTree

from conformance.run import Result


def line(result: Result) -> str:
    """One row of the table, its faults below it."""
    head = f"{'ok' if result.ok else 'FAILED':7} {result.case.name:48} {result.seconds:6.1f} s"
    return "\n".join([head, *(f"        {fault}" for fault in result.faults)])


def verdict(results: Sequence[Result]) -> str:
    """The last line of the table."""
    held = sum(result.ok for result in results)
    return f"{held} passed, {len(results) - held} failed"


def as_json(results: Sequence[Result]) -> str:
    """``{"ok", "cases": [{"name", "about", "ok", "seconds", "faults"}]}``."""
    cases = [
        {
            "name": result.case.name,
            "about": result.case.about,
            "ok": result.ok,
            "seconds": round(result.seconds, 3),
            "faults": list(result.faults),
        }
        for result in results
    ]
    ok = bool(results) and all(result.ok for result in results)
    return json.dumps({"ok": ok, "cases": cases}, indent=2, ensure_ascii=False)


def as_junit(results: Sequence[Result]) -> str:
    """One ``testsuite`` with a ``testcase`` for each case; the world is its class name."""
    failed = sum(not result.ok for result in results)
    suite = ElementTree.Element("testsuite", name="smi-conformance", tests=str(len(results)), failures=str(failed))
    for result in results:
        case = ElementTree.SubElement(
            suite, "testcase", classname=result.case.world, name=result.case.name, time=f"{result.seconds:.3f}"
        )
        if not result.ok:
            ElementTree.SubElement(case, "failure", message=result.faults[0]).text = "\n".join(result.faults)
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)
