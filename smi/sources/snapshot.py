"""What a source holds at one moment, and the rules by which files become that. Pure.

A file counts whole or not at all: while it is wrong, its last good state
stands. Of an object in several files the first in path order counts.
``smi.sources.directory`` does the I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

from smi.decode import Decoded, Origin, Problem, SmiObject, kind_of

Key = tuple[str, str, str]
"""(kind, namespace, name); the namespace of a Namespace is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that the operator asks for. Immutable.

    ``origins`` has the same keys as ``objects``. ``ignored`` are manifests of
    other kinds, one line of text each.
    """

    objects: Mapping[Key, SmiObject]
    problems: tuple[Problem, ...] = ()
    origins: Mapping[Key, Origin] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """One file: the last good state of its objects, and what is wrong with it now.

    ``once_good`` is False as long as no version of it could be read.
    """

    file: str
    objects: tuple[SmiObject, ...] = ()
    origins: tuple[Origin, ...] = ()
    problems: tuple[Problem, ...] = ()
    ignored: tuple[str, ...] = ()
    once_good: bool = False


def key_of(obj: SmiObject) -> Key:
    """The key of an object in ``Snapshot.objects``."""
    return kind_of(obj), obj.meta.namespace, obj.meta.name


def advance(last: FileState, decoded: Decoded) -> FileState:
    """The state of a file after it was read anew."""
    if decoded.problems:
        return replace(last, problems=decoded.problems, ignored=decoded.ignored)
    return FileState(
        file=last.file,
        objects=decoded.objects,
        origins=decoded.origins,
        ignored=decoded.ignored,
        once_good=True,
    )


def merge(files: Sequence[FileState], faults: Sequence[Problem] = ()) -> Snapshot:
    """All files as one; they come in path order. ``faults`` are problems of no file, such as a missing folder."""
    objects: dict[Key, SmiObject] = {}
    origins: dict[Key, Origin] = {}
    problems = [*faults, *(problem for state in files for problem in state.problems)]
    for state in files:
        for obj, origin in zip(state.objects, state.origins, strict=True):
            key = key_of(obj)
            if key in objects:
                problems.append(_duplicate(key, origin, origins[key]))
            else:
                objects[key], origins[key] = obj, origin
    return Snapshot(
        objects=MappingProxyType(objects),
        origins=MappingProxyType(origins),
        problems=tuple(problems),
        ignored=tuple(line for state in files for line in state.ignored),
    )


def _duplicate(key: Key, here: Origin, first: Origin) -> Problem:
    kind, namespace, name = key
    called = f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
    where, line = here.locate("metadata.name")
    message = f"{called} is also in {first.file}:{first.line}, which counts; this one does not"
    return Problem(file=here.file, line=line, field=where, message=message)


def stamp(
    snapshot: Snapshot, seen: Mapping[str, datetime], now: datetime, forget: bool
) -> tuple[Snapshot, Mapping[str, datetime]]:
    """Objects without a creationTimestamp get the time they were first seen; also that memory, brought up to date.

    ``seen`` is keyed ``kind/namespace/name``. Objects that are gone are dropped
    from it if ``forget``; without, they may only be hidden by an unreadable file.
    """
    current = {"/".join(key): seen.get("/".join(key), now) for key in snapshot.objects}
    stamped = {key: _created(obj, current["/".join(key)]) for key, obj in snapshot.objects.items()}
    return replace(snapshot, objects=MappingProxyType(stamped)), current if forget else {**seen, **current}


def _created(obj: SmiObject, moment: datetime) -> SmiObject:
    return obj if obj.meta.created is not None else replace(obj, meta=replace(obj.meta, created=moment))


def any_hidden(files: Iterable[FileState]) -> bool:
    """Whether objects may exist that were never read: some file was wrong from the start."""
    return any(not state.once_good for state in files)
