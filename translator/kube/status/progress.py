"""How many of the sidecars that an object concerns run on it. Pure.

Each controller knows its own sidecars and says so in a ``Progress``; the leader puts them together.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from translator.dependencies import ObjectKey, ObjectVersion
from translator.findings import Finding

SHOWN = 3
"""Pods that a message names; of the others it says how many."""


class Row(Struct, frozen=True, kw_only=True):
    """One version of one object at one controller.

    ``concerned`` sidecars have it in their newest config, ``programmed`` of these have acknowledged that.
    ``waiting`` and ``refused`` (pod, reason) name some of the others.
    """

    version: ObjectVersion
    concerned: int
    programmed: int
    waiting: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


class Away(Struct, frozen=True, kw_only=True):
    """A sidecar that was connected once, is not now, and ran on something that depends on ``objects``."""

    pod: str
    objects: tuple[ObjectVersion, ...]


class Progress(Struct, frozen=True, kw_only=True):
    """``settled``: every sidecar here has been compiled for since the last change. ``seen`` tells which SMI objects are
    known here (``KubernetesSource.fingerprint``): who has not seen one yet does not count whom it concerns.
    ``findings`` are those that compiling for its sidecars came upon and no review of the world does.
    """

    settled: bool
    connected: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    away: tuple[Away, ...] = ()
    seen: str = ""
    findings: tuple[Finding, ...] = ()


@dataclass(slots=True, kw_only=True)
class Count:
    """All controllers' sidecars together; ``versions`` is how many run on which (uid, generation)."""

    concerned: int = 0
    versions: dict[tuple[str, int], int] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


def by_object(parts: Iterable[Progress]) -> Mapping[ObjectKey, Sequence[Row]]:
    """The rows of all of them."""
    found: dict[ObjectKey, list[Row]] = {}
    for part in parts:
        for row in part.rows:
            found.setdefault(key_of(row.version), []).append(row)
    return found


def not_connected(away: Iterable[Away], *connected: Container[str]) -> Iterator[tuple[ObjectKey, str]]:
    """Which objects wait for whom, each sidecar once; ``connected`` are the controllers'.

    A sidecar that is away from one and connected to another counts at the latter only.
    """
    for gone in {one.pod: one for one in away if not any(one.pod in pods for pods in connected)}.values():
        for version in gone.objects:
            yield key_of(version), f"{gone.pod} (not connected)"


def together(rows: Iterable[Row], missing: Sequence[str]) -> Count:
    """What is known of one object; ``missing`` are sidecars that it concerns and of which nothing is heard."""
    count = Count(concerned=len(missing))
    for row in rows:
        count.concerned += row.concerned
        version = row.version.uid, row.version.generation
        count.versions[version] = count.versions.get(version, 0) + row.programmed
        count.waiting += row.waiting
        count.refused += row.refused
    count.waiting += missing
    return count


def key_of(version: ObjectVersion) -> ObjectKey:
    """Which object it is a version of."""
    return version.kind, version.namespace, version.name
