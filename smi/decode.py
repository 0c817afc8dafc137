"""Manifest text to hub objects: the gate through which everything the operator wrote comes in.

``smi.documents`` finds the objects, ``smi.kept`` puts back what conversion took
out of them, ``smi.wire`` says what each kind and version may look like; here they
meet, and every fault becomes a ``Problem`` with file, line and field. Pure.
``smi.sources`` calls it for each file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from pydantic import ValidationError

from smi.documents import Found, kind_of_value, objects_of
from smi.errors import BadAnnotation
from smi.kept import Unfolded, annotation_steps, unfold
from smi.problems import Origin, Problem, Step
from smi.wire.base import BY_HAND, Misspelled, WireError
from smi.wire.kinds import SMI_KINDS, Convertible, SmiObject, kind_of
from smi.wire.split import QuantitySplit
from smi.workloads import Workload
from smi.yamltree import Node, read_tree

__all__ = ["Decoded", "Origin", "Problem", "SmiObject", "decode_text", "kind_of"]

_LOCATED = frozenset({*SMI_KINDS, "Service", "EndpointSlice"})
"""Kinds whose objects may be doubtful without being wrong: it is kept at which line each field stands."""

_ANNOTATION = "metadata.annotations["
"""Of other kinds the lines of these are kept: their annotations may be doubtful."""

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


def decode_text(text: str, file: str) -> Decoded:
    """Everything in ``text``, a YAML file of any number of documents. Never raises.

    ``file`` is what problems call it; its folder becomes the working directory of workloads.
    """
    try:
        found = list(_read_file(text, file))
    except Exception as error:
        message = f"cannot be read: {type(error).__name__}: {error}"
        found = [Problem(file=file, line=1, field="file", message=message)]
    problems = sorted(item for item in found if isinstance(item, Problem))
    good = [] if problems else [item for item in found if isinstance(item, tuple)]
    return Decoded(
        objects=tuple(obj for obj, _ in good),
        origins=tuple(origin for _, origin in good),
        problems=tuple(problems),
        ignored=tuple(f"{file}:{item.node.line}: {item}" for item in found if isinstance(item, Found)),
    )


def _read_file(text: str, file: str) -> Iterator[tuple[SmiObject, Origin] | Problem | Found]:
    for found in objects_of(read_tree(text), file):
        if isinstance(found, Problem) or found.model is None:
            yield found
        else:
            yield from _read_found(found, found.model, file)


def _read_found(found: Found, model: type[Convertible], file: str) -> Iterator[tuple[SmiObject, Origin] | Problem]:
    read = decode_found(found, model, file, BY_HAND)
    if isinstance(read, list):
        yield from read
        return
    if isinstance(read, Workload):
        read = replace(read, folder=str(PurePosixPath(file).parent))
    lines, located = found.node.lines(), found.kind in _LOCATED
    fields = {path: line for path, line in lines if located or _ANNOTATION in path}
    yield read, Origin(file=file, line=found.node.line, fields=fields)


def decode_object(thing: dict[str, Any], model: type[Convertible], name: str) -> SmiObject | list[Problem]:
    """An object as an API server sends it; ``name`` is what problems call it. Never raises.

    ``model`` reads it, whatever version it was written at: custom resources are not converted, so what its
    ``apiVersion`` says is the version it was asked for at.
    """
    kind, api_version = str(thing.get("kind", "")), str(thing.get("apiVersion", ""))
    found = Found(
        document=0,
        node=Node(line=0, value=thing),
        steps=(),
        api_version=api_version,
        kind=kind,
        model=model,
        inherited={},
    )
    try:
        return decode_found(found, model, name)
    except Exception as error:
        message = f"cannot be read: {type(error).__name__}: {error}"
        return [Problem(file=name, line=0, field="", message=message)]


def decode_found(
    found: Found, model: type[Convertible], file: str, context: object = None
) -> SmiObject | list[Problem]:
    """The hub's object, what annotations keep of it included, or what is wrong. ``context`` is the model's."""
    manifest = found.manifest()
    unfolded = Unfolded(manifest=manifest)
    try:
        if found.kind in SMI_KINDS:
            unfolded = unfold(manifest, found.kind)
        if unfolded.quantities:
            model = QuantitySplit
        return model.model_validate(unfolded.manifest, context=context).to_hub()
    except BadAnnotation as error:
        return [found.problem(file, annotation_steps(error.name), str(error))]
    except ValidationError as error:
        return problems_of(error, unfolded, found, file)
    except WireError as error:
        return [found.problem(file, unfolded.source(at), message) for at, message in error.faults]


def problems_of(error: ValidationError, unfolded: Unfolded, found: Found, file: str) -> list[Problem]:
    """Each of pydantic's errors as a problem of ``found``; ``unfolded`` is what the model was given."""
    return [
        found.problem(file, unfolded.source(_trace(unfolded.manifest, detail["loc"])), _message(detail))
        for detail in error.errors(include_url=False)
    ]


def _trace(value: object, loc: tuple[Step, ...]) -> tuple[Step, ...]:
    """Pydantic's location as steps in the manifest.

    A map that a model takes as a list of one has an index in ``loc`` that the manifest has not.
    """
    steps: list[Step] = []
    for step in loc:
        if step == "[key]" or (isinstance(value, dict) and isinstance(step, int)):
            continue
        steps.append(step)
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int):
            value = value[step]
    return tuple(steps)


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
            return f"must be text, not {kind_of_value(given)}{quote}"
        case known if known in _MESSAGES:
            return _MESSAGES[known].format(**{**context, "input": kind_of_value(given)})
        case _:
            return str(detail["msg"])
