"""What KUTTL does with the objects of a step: create or merge-patch, delete and wait, compare with what is live.

A merge patch is not ``kubectl apply``: what an earlier step wrote and a later one leaves out stays.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from cluster import Place, run

TIMEOUT = 120.0
"""Seconds for a step's objects to be as asserted: the suite's command gives that much, its server 30, which a busy
machine may need to start three pods."""

Object = Mapping[str, Any]


def put(where: Place, objects: Sequence[Object]) -> None:
    """Creates objects; those that are there get a merge patch."""
    for thing in objects:
        text = json.dumps({**thing, "metadata": {**thing["metadata"], "namespace": where.name}})
        if live(where, thing) is None:
            where.kubectl("create", "-f", "-", text=text)
        else:
            where.kubectl("patch", *_reference(thing), "--type=merge", "-p", text)


def remove(where: Place, objects: Sequence[Object]) -> None:
    """Deletes objects and returns when they are gone."""
    for thing in objects:
        where.kubectl("delete", *_reference(thing), "--ignore-not-found", "--wait=true", f"--timeout={TIMEOUT:g}s")


def holds(where: Place, objects: Sequence[Object]) -> None:
    """Returns when all of the objects are live as written, at the version written. Raises ``AssertionError``."""
    deadline = time.monotonic() + TIMEOUT
    while faults := [fault for thing in objects for fault in differences(thing, live(where, thing), thing["kind"])]:
        assert time.monotonic() < deadline, "\n".join(faults)
        time.sleep(0.2)


def live(where: Place, thing: Object) -> Any:
    """The object as the API server shows it at its version; None: it is not there."""
    ended = run("kubectl", "-n", where.name, "get", *_reference(thing), "--ignore-not-found", "-o", "json")
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout) if ended.stdout else None


def differences(expected: Any, actual: Any, path: str = "") -> list[str]:
    """Where ``expected`` is no subset of ``actual``: keys may be more, lists are as long and in the same order."""
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        missing = [f"{path}.{key}: missing" for key in expected if key not in actual]
        common = [key for key in expected if key in actual]
        return missing + [fault for key in common for fault in differences(expected[key], actual[key], f"{path}.{key}")]
    if isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            return [f"{path}: {len(actual)} elements, due are {len(expected)}"]
        pairs = enumerate(zip(expected, actual, strict=True))
        return [fault for at, pair in pairs for fault in differences(*pair, f"{path}[{at}]")]
    # 1 == True in Python, not in JSON.
    same = expected == actual and isinstance(expected, bool) == isinstance(actual, bool)
    return [] if same else [f"{path}: {actual!r}, due is {expected!r}"]


def _reference(thing: Object) -> tuple[str, str]:
    """``kubectl``'s KIND.VERSION.GROUP and name: without the version it would take the preferred one."""
    group, _, version = str(thing["apiVersion"]).rpartition("/")
    kind = f"{thing['kind']}.{version}.{group}" if group else str(thing["kind"])
    return kind, str(thing["metadata"]["name"])
