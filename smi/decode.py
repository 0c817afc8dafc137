"""Manifest text to hub objects: the gate through which everything the operator wrote comes in.

``smi.yamltree`` gives data with lines, ``smi.wire`` says what each kind and
version may look like; here they meet, and every fault becomes a ``Problem``
with file, line and field. Pure. ``smi.sources`` calls it for each file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from pydantic import ValidationError

from smi.names import shown
from smi.problems import Origin, Problem, Step, field_path
from smi.wire.base import Misspelled, WireError
from smi.wire.kinds import SMI_KINDS, Convertible, SmiObject, kind_of, model_of
from smi.workloads import Workload
from smi.yamltree import Node, read_tree

__all__ = ["Decoded", "Origin", "Problem", "SmiObject", "decode_text", "kind_of"]

KUSTOMIZATIONS = frozenset({"kustomization.yaml", "kustomization.yml"})
"""Kustomize's own file may leave out apiVersion and kind and lies in the same folders."""

_OBJECT = "must be an object: a mapping with apiVersion, kind and metadata"
_MESSAGES = {
    "missing": "required",
    "int_type": "must be a whole number, not {input}",
    "bool_type": "must be true or false, not {input}",
    "list_type": "must be a list, not {input}",
    "dict_type": "must be a mapping, not {input}",
    "model_type": "must be a mapping, not {input}",
    "too_short": "must have at least one entry",
    "greater_than_equal": "must be at least {ge}, is {input}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """One file, read. With any problem ``objects`` is empty: a file counts whole or not at all.

    ``origins[i]`` is where ``objects[i]`` stands. ``ignored`` are objects of
    kinds that are none of the mesh's business, one line of text each.
    """

    objects: tuple[SmiObject, ...] = ()
    origins: tuple[Origin, ...] = ()
    problems: tuple[Problem, ...] = ()
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Ignored:
    line: int
    what: str


_Found = tuple[SmiObject, Origin] | Problem | _Ignored


def decode_text(text: str, file: str) -> Decoded:
    """Everything in ``text``, a YAML file of any number of documents. Never raises.

    ``file`` is what problems call it; its folder becomes the working directory of workloads.
    """
    try:
        found = list(_read_file(text, file))
    except Exception as error:
        found = [_problem(file, 1, "file", f"cannot be read: {type(error).__name__}: {error}")]
    problems = sorted(item for item in found if isinstance(item, Problem))
    good = [] if problems else [item for item in found if isinstance(item, tuple)]
    return Decoded(
        objects=tuple(obj for obj, _ in good),
        origins=tuple(origin for _, origin in good),
        problems=tuple(problems),
        ignored=tuple(f"{file}:{item.line}: {item.what}" for item in found if isinstance(item, _Ignored)),
    )


def _problem(file: str, line: int, where: str, message: str) -> Problem:
    return Problem(file=file, line=line, field=where, message=message)


def _read_file(text: str, file: str) -> Iterator[_Found]:
    tree = read_tree(text)
    if not tree.documents and not tree.flaws:
        yield _problem(file, 1, "file", "is empty: there is no object in it")
    for flaw in tree.flaws:
        yield _problem(file, flaw.line, flaw.field, flaw.message)
    for document in tree.documents:
        yield from _read_object(document, (), file, {})


def _read_object(node: Node, steps: tuple[Step, ...], file: str, inherited: Mapping[str, str]) -> Iterator[_Found]:
    """A document or a list's item; ``steps`` lead to it, ``inherited`` is what a typed list says of its items."""
    if not isinstance(node.value, dict):
        yield _problem(file, node.line, field_path(steps) or "yaml", f"{_OBJECT}, not {_kind_of_value(node.value)}")
        return
    head = {**inherited, **{key: node.value.get(key) for key in ("apiVersion", "kind") if node.value.get(key)}}
    if not head and PurePosixPath(file).name in KUSTOMIZATIONS:
        yield _Ignored(node.line, "Kustomization")
        return
    faults = list(_head_faults(head))
    for name, message in faults:
        yield _problem(file, node.line_at((name,)), field_path((*steps, name)), message)
    if not faults:
        yield from _read_kind(node, steps, file, (str(head["apiVersion"]), str(head["kind"])))


def _head_faults(head: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name in ("apiVersion", "kind"):
        if name not in head:
            yield name, "required"
        elif not isinstance(head[name], str):
            yield name, f"must be text, not {shown(head[name])}"


def _read_kind(node: Node, steps: tuple[Step, ...], file: str, head: tuple[str, str]) -> Iterator[_Found]:
    api_version, kind = head
    model = model_of(api_version, kind)
    if isinstance(model, tuple):
        name, message = model
        yield _problem(file, node.line_at((name,)), field_path((*steps, name)), message)
    elif model is not None:
        yield from _read_model(model, node, steps, file, head)
    elif kind.endswith("List"):
        yield from _read_list(node, steps, file, head)
    else:
        yield _Ignored(node.line, f"{kind} ({api_version})")


def _read_list(node: Node, steps: tuple[Step, ...], file: str, head: tuple[str, str]) -> Iterator[_Found]:
    """A ``List`` of anything, or a typed one (``TrafficSplitList``), whose items may leave out what it says."""
    api_version, kind = head
    element = kind.removesuffix("List")
    inherited = {"apiVersion": api_version, "kind": element} if element else {}
    if element and model_of(api_version, element) is None:
        yield _Ignored(node.line, f"{kind} ({api_version})")
        return
    items = node.children.get("items")
    if items is None or items.value is None:
        return
    if not isinstance(items.value, list):
        yield _problem(file, items.line, field_path((*steps, "items")), "must be a list")
        return
    for index, item in items.children.items():
        yield from _read_object(item, (*steps, "items", index), file, inherited)


def _read_model(
    model: type[Convertible], node: Node, steps: tuple[Step, ...], file: str, head: tuple[str, str]
) -> Iterator[_Found]:
    api_version, kind = head
    try:
        obj = model.model_validate({**_mapping(node.value), "apiVersion": api_version, "kind": kind}).to_hub()
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            where, line = _trace(node, detail["loc"])
            yield _problem(file, line, field_path((*steps, *where)), _message(detail))
        return
    except WireError as error:
        for at, message in error.faults:
            yield _problem(file, node.line_at(at), field_path((*steps, *at)), message)
        return
    if isinstance(obj, Workload):
        obj = replace(obj, folder=str(PurePosixPath(file).parent))
    # Kept for the kinds whose objects may be doubtful without being wrong; lines cost memory.
    fields = dict(node.lines()) if kind in SMI_KINDS or kind == "Service" else {}
    yield obj, Origin(file=file, line=node.line, fields=fields)


def _mapping(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _trace(node: Node, loc: tuple[Step, ...]) -> tuple[tuple[Step, ...], int]:
    """Pydantic's location as steps in the manifest, and the line there.

    A map that a model takes as a list of one has an index in ``loc`` that the manifest has not.
    """
    steps: list[Step] = []
    at: Node | None = node
    for step in loc:
        if step == "[key]" or (at is not None and isinstance(at.value, dict) and isinstance(step, int)):
            continue
        steps.append(step)
        at = at.children.get(step) if at is not None else None
    return tuple(steps), node.line_at(tuple(steps))


def _message(detail: Any) -> str:
    """A pydantic error in the operator's terms."""
    given, context = detail["input"], detail.get("ctx", {})
    if isinstance(given, Misspelled):
        return given.message
    match detail["type"]:
        case "value_error":
            return str(context["error"])
        case "string_type":
            quote = "" if isinstance(given, dict | list) else ", put it in quotes"
            return f"must be text, not {_kind_of_value(given)}{quote}"
        case known if known in _MESSAGES:
            return _MESSAGES[known].format(**{**context, "input": _kind_of_value(given)})
        case _:
            return str(detail["msg"])


def _kind_of_value(value: object) -> str:
    match value:
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case None:
            return "nothing"
        case _:
            return shown(value)
