"""The case format: what is applied, what is asked, what is due. Read from YAML, checked, expanded.

``docs/conformance.md`` describes it for those who write cases; here are the
same names. Neighbours: ``conformance.run`` plays cases, ``conformance.cases``
and ``conformance.worlds`` hold the YAML.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Bounds = tuple[int, int]
"""Least and most answers of one kind."""

_CASE_FIELDS = {"name", "about", "world", "versions", "meshes", "steps"}
_STEP_FIELDS = {"apply", "requests"}
_REQUEST_FIELDS = {
    "from",
    "to",
    "method",
    "headers",
    "raw",
    "times",
    "clients",
    "answers",
    "within",
    "sees",
    "reaches",
}


class CaseError(Exception):
    """A case file that says something the format does not know; the text names file, case and field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """``times`` requests from one pod over ``clients`` kept-alive connections, and what must come back.

    ``answers`` bounds the number of each kind; kinds that are not named must
    not occur. ``sees`` are headers as the server must have got them, None for
    one it must not have got. ``raw``, unless empty, is sent as it stands on a
    connection of its own instead, a byte for each character. ``reaches`` is the
    number of requests that must have come to the application of a workload.
    """

    caller: str
    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: str = ""
    times: int = 1
    clients: int = 1
    answers: Mapping[str, Bounds]
    sees: Mapping[str, str | None] = field(default_factory=dict)
    reaches: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """``apply`` replaces all objects of the case so far (None: leave them); then the requests go out in order."""

    apply: tuple[Mapping[str, Any], ...] | None
    requests: tuple[Request, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One behaviour. ``world`` names the manifests it plays in, ``meshes`` the kinds of mesh it can be asked of.

    Empty: of all. One that depends on names that no DNS knows, say, can be asked only where the mesh itself
    resolves names.
    """

    name: str
    world: str
    about: str
    steps: tuple[Step, ...]
    meshes: tuple[str, ...] = ()


def load(folder: Path) -> tuple[Case, ...]:
    """All cases of the ``*.yaml`` files in ``folder``, in path order. Raises ``CaseError``."""
    cases = [
        case
        for path in sorted(folder.glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
        if document is not None
        for case in expand(document, path.name)
    ]
    names = [case.name for case in cases]
    for name in names:
        if names.count(name) > 1:
            raise CaseError(f"{name}: there are several cases of this name")
    return tuple(cases)


def expand(document: Mapping[str, Any], file: str) -> Iterator[Case]:
    """The cases of one YAML document: one, or one for each of its ``versions`` put in for ``{version}``."""
    where = f"{file}: {document.get('name', '?')}"
    _known(document, _CASE_FIELDS, where)
    versions = document.get("versions")
    if versions is None:
        yield _case(document, str(document["name"]), where)
        return
    for version in versions:
        yield _case(_put_in(document, str(version)), f"{document['name']}@{version}", where)


def _case(document: Mapping[str, Any], name: str, where: str) -> Case:
    try:
        return Case(
            name=name,
            world=str(document["world"]),
            about=str(document["about"]),
            steps=tuple(_step(step, where) for step in document["steps"]),
            meshes=tuple(document.get("meshes", ())),
        )
    except KeyError as error:
        raise CaseError(f"{where}: {error} is missing") from error


def _step(document: Mapping[str, Any], where: str) -> Step:
    _known(document, _STEP_FIELDS, where)
    applied = document.get("apply")
    return Step(
        apply=None if applied is None else tuple(applied),
        requests=tuple(_request(request, where) for request in document["requests"]),
    )


def _request(document: Mapping[str, Any], where: str) -> Request:
    _known(document, _REQUEST_FIELDS, where)
    times = int(document.get("times", 1))
    within = int(document.get("within", 0))
    answers = document["answers"]
    if isinstance(answers, str | int):
        answers = {answers: times}
    return Request(
        caller=str(document["from"]),
        url=str(document["to"]),
        method=str(document.get("method", "GET")),
        headers={str(name): str(value) for name, value in document.get("headers", {}).items()},
        raw=str(document.get("raw", "")),
        times=times,
        clients=int(document.get("clients", 1)),
        answers={str(kind): _bounds(count, within) for kind, count in answers.items()},
        sees=dict(document.get("sees", {})),
        reaches={str(workload): int(count) for workload, count in document.get("reaches", {}).items()},
    )


def _bounds(count: int | list[int], within: int) -> Bounds:
    if isinstance(count, list):
        low, high = count
        return int(low), int(high)
    return max(0, count - within), count + within


def _known(document: Mapping[str, Any], fields: set[str], where: str) -> None:
    unknown = sorted(set(document) - fields)
    if unknown:
        raise CaseError(f"{where}: unknown field {unknown[0]}; known are: {', '.join(sorted(fields))}")


def _put_in(value: Any, version: str) -> Any:
    if isinstance(value, str):
        return value.replace("{version}", version)
    if isinstance(value, dict):
        return {key: _put_in(item, version) for key, item in value.items()}
    if isinstance(value, list):
        return [_put_in(item, version) for item in value]
    return value
