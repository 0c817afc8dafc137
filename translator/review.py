"""Findings on a whole world, whoever is affected: what the API lists, and what ``smi lint`` says about annotations."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from smi.decode import Origin, SmiObject
from smi.meta import Meta
from smi.problems import field_path
from smi.sources.snapshot import Snapshot
from smi.validate import LintWarning
from smi.workloads import Namespace, Service, Workload
from translator.derived import Derivations
from translator.findings import Finding, Reason, ordered
from translator.policy import grant
from translator.retries import calls, is_about_calls, speaks
from translator.slices import slice_findings
from translator.splits import effective_splits, split_findings
from translator.subjects import binding_findings, destination_findings
from translator.vocabulary import LOCAL_PREFIX, ON_POD_NAMES, ON_TEMPLATE_NAMES, fault
from translator.world import Read, World

_METADATA = ("metadata", "annotations")
_TEMPLATE = ("spec", "template", "metadata", "annotations")


def review(world: World) -> tuple[Finding, ...]:
    """Every remark on every split, target, binding, Service and EndpointSlice."""
    findings: set[Finding] = set()
    for table, about in _ABOUT.items():
        for key in world.tables[table]:
            if _counts(world, Piece(table, key)):
                findings.update(about(world, key))
    return ordered(findings)


class Piece(NamedTuple):
    """One thing that is looked at: a key of a table."""

    table: str
    key: str


class Review:
    """What ``review`` finds in the newest world of ``derivations``, kept: a change costs what it concerns."""

    def __init__(self, derivations: Derivations) -> None:
        self._derivations = derivations
        self._found: dict[Piece, tuple[Finding, ...]] = {}
        world = derivations.world
        self._due = dict.fromkeys(Piece(table, key) for table in _ABOUT for key in world.tables[table])
        """To be looked at, again or for the first time."""

    def moved(self, changes: Iterable[Read], stale: Iterable[Hashable]) -> None:
        """The world has changed: what reads differently in it, and the roots that are stale by that."""
        self._due.update((piece, None) for piece in stale if isinstance(piece, Piece))
        self._due.update((Piece(table, str(key)), None) for table, key in changes if table in _ABOUT)

    def some(self, most: int) -> bool:
        """Looks at so many; whether more are to be looked at. A whole cluster is not gone through in one go."""
        for _ in range(min(most, len(self._due))):
            piece, _ = self._due.popitem()
            self._look(piece)
        return bool(self._due)

    def findings(self) -> list[Finding]:
        """All there are, in no order."""
        while self.some(len(self._due)):
            pass
        return [finding for found in self._found.values() for finding in found]

    def _look(self, piece: Piece) -> None:
        world, about, found = self._derivations.world, _ABOUT[piece.table], tuple[Finding, ...]()
        if _counts(world, piece):
            found = self._derivations.root(piece, lambda world: about(world, piece.key))
        else:
            self._derivations.drop(piece)
        if found:
            self._found[piece] = found
        else:
            self._found.pop(piece, None)


def _counts(world: World, piece: Piece) -> bool:
    """Whether there is such a thing, and anything to be said of it."""
    thing = world.tables[piece.table].get(piece.key)
    return thing is not None and (piece.table != "services" or speaks(thing))


def _on_split(world: World, key: str) -> tuple[Finding, ...]:
    return tuple(split_findings(world, world.objects.splits[key]))


def _on_root(world: World, key: str) -> tuple[Finding, ...]:
    apex = world.objects.services.get(key)
    return tuple(effective_splits(world, apex)[1]) if apex is not None else ()


def _on_target(world: World, key: str) -> tuple[Finding, ...]:
    target = world.objects.targets[key]
    return tuple(destination_findings(world, target) or grant(world, target)[1])


def _on_binding(world: World, key: str) -> tuple[Finding, ...]:
    return tuple(binding_findings(world, world.objects.bindings[key]))


def _on_udp(world: World, key: str) -> tuple[Finding, ...]:
    message = "UDP goes past the sidecars: it is neither let in nor refused, whatever a TrafficTarget says"
    return (Finding.on("UDPRoute", world.objects.udp_routes[key].meta, Reason.UNSUPPORTED_PROTOCOL, message),)


def _on_slice(world: World, key: str) -> tuple[Finding, ...]:
    return tuple(slice_findings(world, world.objects.slices[key]))


def _on_service(world: World, key: str) -> tuple[Finding, ...]:
    service = world.objects.services[key]
    return tuple(calls(world, service).findings(service.meta))


_ABOUT: Final[Mapping[str, Callable[[World, str], tuple[Finding, ...]]]] = {
    "splits": _on_split,
    "splits_by_root": _on_root,
    "udp_routes": _on_udp,
    "targets": _on_target,
    "bindings": _on_binding,
    "slices": _on_slice,
    "services": _on_service,
}
"""What is said of each key of which table."""


def annotation_warnings(snapshot: Snapshot) -> tuple[LintWarning, ...]:
    """What is doubtful about the mesh's annotations on Services, pods and namespaces, by file and line."""
    world = World.of(snapshot.objects.values())
    found: list[LintWarning] = []
    for key, obj in snapshot.objects.items():
        origin = snapshot.origins.get(key, Origin(file="", line=0))
        for steps, message in _doubts(world, obj):
            where, line = origin.locate(field_path(steps))
            subject = f"{key[0]} {key[1]}/{key[2]}"
            found.append(LintWarning(file=origin.file, line=line, field=where, message=message, subject=subject))
    return tuple(sorted(found))


def _doubts(world: World, obj: SmiObject) -> Iterator[tuple[tuple[str, ...], str]]:
    """The path of each annotation that does not do what it seems to, and why."""
    if isinstance(obj, Service):
        for said in calls(world, obj).remarks:
            yield (*_METADATA, said.annotation), said.message
        for name in obj.meta.annotations:
            if remark := _elsewhere(name, on_pods=False, on_namespace=False):
                yield (*_METADATA, name), remark
        return
    places: list[tuple[tuple[str, ...], Meta]] = [(_METADATA, obj.meta)]
    if isinstance(obj, Workload) and obj.kind != "Pod":
        places.append((_TEMPLATE, obj.template))
    for path, meta in places:
        on_pods = path == _TEMPLATE or (isinstance(obj, Workload) and obj.kind == "Pod")
        for name, value in meta.annotations.items():
            if is_about_calls(name):
                yield (*path, name), "it is read on Services only and does nothing here"
            elif (on_pods or isinstance(obj, Namespace | Workload)) and (wrong := fault(name, value)):
                yield (*path, name), f"{wrong}; it does not count"
            elif remark := _elsewhere(name, on_pods=on_pods, on_namespace=isinstance(obj, Namespace)):
                yield (*path, name), remark


def _elsewhere(name: str, *, on_pods: bool, on_namespace: bool) -> str:
    """Why an annotation of pods does nothing where it stands; empty: it does something, or it is none of these."""
    if name.startswith(LOCAL_PREFIX):
        if name not in ON_TEMPLATE_NAMES:
            return f"is not known; known is {', '.join(sorted(ON_TEMPLATE_NAMES))}; it does not count"
        return "" if on_pods else "it is read on pods and pod templates only and does nothing here"
    if name in ON_POD_NAMES and not on_pods and not on_namespace:
        return "it is read on pods, pod templates and namespaces only and does nothing here"
    return ""
