"""The world as an API server knows it: every collection the mesh reads, mirrored and decoded.

An object that cannot be read keeps its last good state and is a problem; one that never was good is left out.
Neighbours: ``smi.sources.reflector`` (list and watch), ``smi.decode`` (meaning), ``translator.kube.controller``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from smi.decode import decode_object
from smi.meta import Meta
from smi.problems import Problem
from smi.sources.apiserver import ApiServer, Object
from smi.sources.reflector import Reflector
from smi.wire.access import Binding, Target
from smi.wire.core import WireNamespace, WireService
from smi.wire.kinds import ACCESS, SMI_KINDS, SPECS, SPLIT, Convertible, SmiObject
from smi.wire.specs import TCP, UDP, Group
from smi.wire.split import QuantitySplit, WholeSplit
from smi.workloads import Pod
from translator.kube.pods import running_pod

VERSION: Final = "v1alpha4"
"""The version SMI objects are asked for at. They are not converted, so each has the shape it was written in, and is
read by that."""

Key = tuple[str, str]


class Named(Protocol):
    """What is kept."""

    @property
    def meta(self) -> Meta:
        """Its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What an SMI object says of itself beside its meaning, read or not. ``path`` is its own at the API server."""

    api_version: str
    kind: str
    namespace: str
    name: str
    path: str
    uid: str
    generation: int
    status: Mapping[str, Any]


class Mirror:
    """One collection, decoded. ``changed`` is called after each change.

    ``know`` reads what is kept of each object beside, readable or not.
    """

    def __init__(
        self,
        read: Callable[[Object], Named | list[Problem] | None],
        told: Callable[[], None],
        know: Callable[[Object], Known] | None = None,
    ) -> None:
        self.objects: dict[Key, Named] = {}
        self.problems: dict[Key, tuple[Problem, ...]] = {}
        self.known: dict[Key, Known] = {}
        self.synced = False
        self._read, self._told, self._know = read, told, know

    def listed(self, objects: list[Object]) -> None:
        """See ``smi.sources.reflector.Sink``."""
        present = {_key(thing) for thing in objects}
        for gone in [key for key in {*self.objects, *self.problems} if key not in present]:
            self._forget(gone)
        for thing in objects:
            self._take(thing)
        self.synced = True
        self._told()

    def changed(self, thing: Object) -> None:
        """See ``smi.sources.reflector.Sink``."""
        if self._take(thing):
            self._told()

    def removed(self, thing: Object) -> None:
        """See ``smi.sources.reflector.Sink``."""
        self._forget(_key(thing))
        self._told()

    def _forget(self, key: Key) -> None:
        self.objects.pop(key, None)
        self.problems.pop(key, None)
        self.known.pop(key, None)

    def _take(self, thing: Object) -> bool:
        """Whether anything is other than before."""
        key = _key(thing)
        before, wrong = self.objects.get(key), self.problems.pop(key, ())
        if self._know is not None:
            self.known[key] = self._know(thing)
        found = self._read(thing)
        if isinstance(found, list):
            self.problems[key] = tuple(found)
            return self.problems[key] != wrong
        if found is None:
            self.objects.pop(key, None)
        else:
            self.objects[key] = found
        return found != before or bool(wrong)


class KubernetesSource:
    """All collections. ``told`` is called after each change from the moment all have been read once."""

    def __init__(self, api: ApiServer, told: Callable[[], None]) -> None:
        self._changed = told
        self._pods = Mirror(running_pod, self._told)
        self._mirrors = [
            Mirror(_reader(kind, model_of), self._told, _knower(kind, path) if kind in SMI_KINDS else None)
            for kind, model_of, path, _ in COLLECTIONS
        ]
        self._reflectors = [Reflector(api, "/api/v1/pods", self._pods)]
        for mirror, (_, _, path, absent) in zip(self._mirrors, COLLECTIONS, strict=True):
            self._reflectors.append(Reflector(api, path, mirror, absent=absent))

    @property
    def synced(self) -> bool:
        """Whether everything has been read once."""
        return self._pods.synced and all(mirror.synced for mirror in self._mirrors)

    @property
    def objects(self) -> Iterable[Named]:
        """Everything but pods."""
        return [thing for mirror in self._mirrors for thing in mirror.objects.values()]

    def namespace_annotations(self, name: str) -> Mapping[str, str] | None:
        """The annotations of a namespace; None where it is not known (yet)."""
        found = self._mirrors[0].objects.get(("", name))
        return found.meta.annotations if found is not None else None

    @property
    def pods(self) -> tuple[Pod, ...]:
        """Pods that run."""
        return tuple(pod for pod in self._pods.objects.values() if isinstance(pod, Pod))

    def smi_objects(self) -> Iterator[tuple[Known, Named | None, tuple[str, ...]]]:
        """Every SMI object, what it means as far as that is known, and why it cannot be read."""
        for mirror in self._mirrors:
            for key, known in mirror.known.items():
                problems = tuple(f"{one.field}: {one.message}" for one in mirror.problems.get(key, ()))
                yield known, mirror.objects.get(key), problems

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What cannot be read."""
        return tuple(one for mirror in self._mirrors for wrong in mirror.problems.values() for one in wrong)

    async def run(self) -> None:
        """Follows the API server until cancelled."""
        async with asyncio.TaskGroup() as group:
            for reflector in self._reflectors:
                group.create_task(reflector.run(), name=f"reflector {reflector.path}")

    def _told(self) -> None:
        if self.synced:
            self._changed()


def split_model(thing: Object) -> type[Convertible]:
    """v1alpha1's where a weight is no whole number: only there it may be a quantity."""
    backends = (thing.get("spec") or {}).get("backends")
    weights = [leaf.get("weight") for leaf in backends if isinstance(leaf, dict)] if isinstance(backends, list) else []
    quantities = any(isinstance(weight, str) and not weight.isdigit() for weight in weights)
    return QuantitySplit if quantities else WholeSplit


def _always(model: type[Convertible]) -> Callable[[Object], type[Convertible]]:
    return lambda _: model


def _smi(group: str, plural: str) -> str:
    return f"/apis/{group}/{VERSION}/{plural}"


COLLECTIONS: tuple[tuple[str, Callable[[Object], type[Convertible]], str, bool], ...] = (
    ("Namespace", _always(WireNamespace), "/api/v1/namespaces", False),
    ("Service", _always(WireService), "/api/v1/services", False),
    ("TrafficSplit", split_model, _smi(SPLIT, "trafficsplits"), True),
    ("TrafficTarget", _always(Target), _smi(ACCESS, "traffictargets"), True),
    ("IdentityBinding", _always(Binding), _smi(ACCESS, "identitybindings"), True),
    ("HTTPRouteGroup", _always(Group), _smi(SPECS, "httproutegroups"), True),
    ("TCPRoute", _always(TCP), _smi(SPECS, "tcproutes"), True),
    ("UDPRoute", _always(UDP), _smi(SPECS, "udproutes"), True),
)
"""Kind, which model reads an object, where they are, and whether the collection may be missing (its CRD is)."""


def _reader(
    kind: str, model_of: Callable[[Object], type[Convertible]]
) -> Callable[[Object], SmiObject | list[Problem]]:
    def read(thing: Object) -> SmiObject | list[Problem]:
        namespace, name = _key(thing)
        return decode_object(thing, model_of(thing), f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}")

    return read


def _knower(kind: str, collection: str) -> Callable[[Object], Known]:
    root, _, plural = collection.rpartition("/")
    api_version = root.removeprefix("/apis/")

    def know(thing: Object) -> Known:
        namespace, name = _key(thing)
        meta = thing["metadata"]
        return Known(
            api_version=api_version,
            kind=kind,
            namespace=namespace,
            name=name,
            path=f"{root}/namespaces/{namespace}/{plural}/{name}",
            uid=str(meta.get("uid", "")),
            generation=int(meta.get("generation") or 0),
            status=thing.get("status") or {},
        )

    return know


def _key(thing: Object) -> Key:
    meta: Any = thing["metadata"]
    return str(meta.get("namespace", "")), str(meta["name"])
