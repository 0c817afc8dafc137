"""The world as an API server knows it: every collection the mesh reads, mirrored and decoded.

An object that cannot be read keeps its last good state and is a problem; one that never was good is left out.
Neighbours: ``smi.sources.reflector`` (list and watch), ``smi.decode`` (meaning), ``translator.kube.controller``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, NamedTuple, Protocol

from smi.decode import decode_object
from smi.meta import Meta
from smi.problems import Problem
from smi.sources.apiserver import ApiServer, Object
from smi.sources.reflector import Reflector
from smi.wire.access import Binding, Target
from smi.wire.core import WireNamespace, WireService
from smi.wire.kinds import ACCESS, SMI_KINDS, SPECS, SPLIT, Convertible, SmiObject
from smi.wire.slices import WireEndpointSlice
from smi.wire.specs import TCP, UDP, Group
from smi.wire.split import QuantitySplit, WholeSplit
from smi.workloads import Pod
from translator.dependencies import ObjectKey
from translator.kube.admission.linkerd import Linkerd
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
        self.touched: set[Key] = set()
        """Of what is known beside: whatever may be other than when this was emptied, of what there is."""
        self.fingerprint = 0
        """The same in every controller that knows the same objects at the same generations."""
        self.synced = False
        self._listing: set[Key] = set()
        """What was on the pages of the list so far."""
        self._before: dict[Key, Named | None] = {}
        """Of what has changed and was not given out yet: what it was."""
        self._read, self._told, self._know = read, told, know

    def page(self, objects: list[Object], *, first: bool) -> None:
        """See ``smi.sources.reflector.Sink``."""
        if first:
            self._listing = set()
        for thing in objects:
            self._listing.add(_key(thing))
            self._take(thing)

    def listed(self) -> None:
        """See ``smi.sources.reflector.Sink``."""
        for gone in [key for key in {*self.objects, *self.problems} if key not in self._listing]:
            self._forget(gone)
        self._listing = set()
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

    def news(self) -> Iterator[tuple[Named | None, Named | None]]:
        """What has changed since the last call: as it was then, and as it is."""
        before, self._before = self._before, {}
        return ((was, self.objects.get(key)) for key, was in before.items())

    def _forget(self, key: Key) -> None:
        gone = self.objects.pop(key, None)
        if gone is not None:
            self._before.setdefault(key, gone)
        self.problems.pop(key, None)
        if self._know is not None:
            self._knows(key, None)

    def _knows(self, key: Key, known: Known | None) -> None:
        before = self.known.pop(key, None)
        self.fingerprint ^= _fingerprint(before) ^ _fingerprint(known)
        if known is not None:
            self.known[key] = known
            self.touched.add(key)
        else:
            self.touched.discard(key)  # whoever never asks must not be left with all that ever was

    def _take(self, thing: Object) -> bool:
        """Whether anything is other than before."""
        key = _key(thing)
        before, wrong = self.objects.get(key), self.problems.pop(key, ())
        if self._know is not None:
            self._knows(key, self._know(thing))
        found = self._read(thing)
        if isinstance(found, list):
            self.problems[key] = tuple(found)
            return self.problems[key] != wrong
        if found != before:
            self._before.setdefault(key, before)
        if found is None:
            self.objects.pop(key, None)
        else:
            self.objects[key] = found
        return found != before or bool(wrong)


class KubernetesSource:
    """All collections. ``told`` is called after each change from the moment all have been read once."""

    def __init__(self, api: ApiServer, told: Callable[[], None]) -> None:
        self._changed = told
        self.linkerd = Linkerd(api)
        self._pods = Mirror(running_pod, self._told)
        self._mirrors = [
            Mirror(_reader(one.kind, one.model_of), self._told, _knower(one.kind, one.path) if one.is_smi else None)
            for one in COLLECTIONS
        ]
        self._smi = {one.kind: mirror for mirror, one in zip(self._mirrors, COLLECTIONS, strict=True) if one.is_smi}
        self._reflectors = [Reflector(api, "/api/v1/pods", self._pods)]
        for mirror, one in zip(self._mirrors, COLLECTIONS, strict=True):
            self._reflectors.append(Reflector(api, one.path, mirror, absent=one.is_smi, labels=one.labels))

    @property
    def synced(self) -> bool:
        """Whether everything has been read once."""
        return self._pods.synced and all(mirror.synced for mirror in self._mirrors)

    def news(self) -> tuple[list[Named], list[Named]]:
        """What is new or other since the last call, objects and pods; and what has gone."""
        changes = [change for mirror in (*self._mirrors, self._pods) for change in mirror.news()]
        present = [thing for _, thing in changes if thing is not None]
        return present, [was for was, thing in changes if thing is None and was is not None]

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

    def smi_objects(self) -> Iterator[ObjectKey]:
        """Every SMI object, by kind, namespace and name."""
        return ((kind, *key) for kind, mirror in self._smi.items() for key in mirror.known)

    def smi_objects_touched(self) -> list[ObjectKey]:
        """Those that may be other than at the last call."""
        found: list[ObjectKey] = []
        for kind, mirror in self._smi.items():
            found += ((kind, *key) for key in mirror.touched)
            mirror.touched.clear()
        return found

    @property
    def fingerprint(self) -> str:
        """Of all SMI objects: the same in every controller that knows the same ones at the same generations."""
        return f"{sum(mirror.fingerprint for mirror in self._smi.values()):x}"

    def smi_object(self, key: ObjectKey) -> tuple[Known, Named | None, tuple[str, ...]] | None:
        """An SMI object, what it means as far as that is known, and why it cannot be read; None: it is not there."""
        kind, *name = key
        mirror, place = self._smi.get(kind), (name[0], name[1])
        if mirror is None or place not in mirror.known:
            return None
        problems = tuple(f"{one.field}: {one.message}" for one in mirror.problems.get(place, ()))
        return mirror.known[place], mirror.objects.get(place), problems

    def unreadable(self) -> list[ObjectKey]:
        """The SMI objects that cannot be read."""
        return [(kind, *key) for kind, mirror in self._smi.items() for key in mirror.problems if key in mirror.known]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What cannot be read."""
        return tuple(one for mirror in self._mirrors for wrong in mirror.problems.values() for one in wrong)

    async def run(self) -> None:
        """Follows the API server until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.linkerd.follow(), name="Linkerd")
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


class Collection(NamedTuple):
    """What is mirrored: which model reads an object, where they are, and the label selector of those that count."""

    kind: str
    model_of: Callable[[Object], type[Convertible]]
    path: str
    labels: str = ""

    @property
    def is_smi(self) -> bool:
        """Whether it is of SMI: then its CRD may be missing, and objects have a status."""
        return self.kind in SMI_KINDS


OTHERS_SLICES: Final = "endpointslice.kubernetes.io/managed-by!=endpointslice-controller.k8s.io"
"""Slices that Kubernetes did not make of a selector: of those, which are most, the pods themselves are read."""

COLLECTIONS: Final = (
    Collection("Namespace", _always(WireNamespace), "/api/v1/namespaces"),
    Collection("Service", _always(WireService), "/api/v1/services"),
    Collection(
        "EndpointSlice", _always(WireEndpointSlice), "/apis/discovery.k8s.io/v1/endpointslices", labels=OTHERS_SLICES
    ),
    Collection("TrafficSplit", split_model, _smi(SPLIT, "trafficsplits")),
    Collection("TrafficTarget", _always(Target), _smi(ACCESS, "traffictargets")),
    Collection("IdentityBinding", _always(Binding), _smi(ACCESS, "identitybindings")),
    Collection("HTTPRouteGroup", _always(Group), _smi(SPECS, "httproutegroups")),
    Collection("TCPRoute", _always(TCP), _smi(SPECS, "tcproutes")),
    Collection("UDPRoute", _always(UDP), _smi(SPECS, "udproutes")),
)


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
        meta, status = thing["metadata"], thing.get("status")
        return Known(
            api_version=api_version,
            kind=kind,
            namespace=namespace,
            name=name,
            path=f"{root}/namespaces/{namespace}/{plural}/{name}",
            uid=str(meta.get("uid", "")),
            generation=int(meta.get("generation") or 0),
            status=status if isinstance(status, dict) else {},
        )

    return know


def _fingerprint(known: Known | None) -> int:
    if known is None:
        return 0
    text = "\0".join((known.kind, known.namespace, known.name, known.uid, str(known.generation)))
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=16).digest())


def _key(thing: Object) -> Key:
    meta: Any = thing["metadata"]
    return str(meta.get("namespace", "")), str(meta["name"])
