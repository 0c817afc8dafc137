"""The world: everything the compiler may look at, at one moment, and never changed.

A source's objects and the running pods go in; indexes are made beside, so that compiling one sidecar costs in
proportion to what it needs and not to the cluster. The next moment is made of this one and of what has changed
(``World.updated``), and costs in proportion to that. Neighbours: ``translator.table`` (what moments share),
``translator.derived`` (who has read what of it). Next: ``translator.compiler``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar

from smi.access import IdentityBinding, TrafficTarget
from smi.meta import Meta
from smi.specs import HTTPRouteGroup, TCPRoute, UDPRoute
from smi.split import TrafficSplit
from smi.workloads import EndpointSlice, Namespace, Pod, Service
from translator.names import service_key
from translator.settings import Settings
from translator.table import Table


class Named(Protocol):
    """Any hub object."""

    @property
    def meta(self) -> Meta:
        """Its name."""


_T = TypeVar("_T")
_K = TypeVar("_K", bound=Hashable)

API_SERVER = "default/kubernetes"
"""The API server's own Service. It writes this name's slices itself, and nobody stands between it and its clients."""

FQDN = "FQDN"
"""The ``addressType`` whose addresses are names; the API itself has no semantics for it."""

_LATEST = datetime.max.replace(tzinfo=UTC)

Read = tuple[str, Hashable]
"""One entry of one table, there or not: the table's name in ``Objects`` or ``Index``, and the key."""


def _empty() -> Mapping[str, _T]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Objects:
    """The objects the compiler reads, by ``namespace/name`` (namespaces by name)."""

    splits: Mapping[str, TrafficSplit] = field(default_factory=_empty)
    targets: Mapping[str, TrafficTarget] = field(default_factory=_empty)
    bindings: Mapping[str, IdentityBinding] = field(default_factory=_empty)
    groups: Mapping[str, HTTPRouteGroup] = field(default_factory=_empty)
    tcp_routes: Mapping[str, TCPRoute] = field(default_factory=_empty)
    udp_routes: Mapping[str, UDPRoute] = field(default_factory=_empty)
    services: Mapping[str, Service] = field(default_factory=_empty)
    slices: Mapping[str, EndpointSlice] = field(default_factory=_empty)
    namespaces: Mapping[str, Namespace] = field(default_factory=_empty)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Index:
    """What follows from objects and pods; made by ``World`` alone.

    ``splits_by_root`` holds the splits of a Service key in the order in which
    they are asked. Accounts and labels are keyed within their namespace:
    ``(namespace, account)`` and ``(namespace, label, value)``; a Service stands
    under one of its selector's labels only. ``targets_by_destination`` and ``targets_by_source`` are about
    ServiceAccounts, the other two about IdentityBindings, which bind nobody outside their namespace; a destination
    counts only in its target's own. ``slices_by_service`` has the EndpointSlices that name a Service, whether or not it
    is there and they count (``World.slices_of``), ``slices_by_ip`` those that have an address.
    """

    pods: Mapping[str, Pod]
    pods_by_ip: Mapping[str, Pod]
    pods_by_account: Mapping[tuple[str, str], tuple[Pod, ...]]
    pods_by_label: Mapping[tuple[str, str, str], tuple[Pod, ...]]
    unmeshed_by_namespace: Mapping[str, tuple[Pod, ...]]
    services_by_ip: Mapping[str, Service]
    services_by_label: Mapping[tuple[str, str, str], tuple[Service, ...]]
    slices_by_service: Mapping[str, tuple[EndpointSlice, ...]]
    slices_by_ip: Mapping[str, tuple[EndpointSlice, ...]]
    splits_by_root: Mapping[str, tuple[TrafficSplit, ...]]
    targets_by_destination: Mapping[tuple[str, str], tuple[TrafficTarget, ...]]
    targets_by_destination_binding: Mapping[str, tuple[TrafficTarget, ...]]
    targets_by_source: Mapping[tuple[str, str], tuple[TrafficTarget, ...]]
    targets_by_binding_namespace: Mapping[str, tuple[TrafficTarget, ...]]


Tables = Mapping[str, Table[Any, Any]]
"""All tables by the names they have in ``Objects`` and ``Index``."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class World:
    """One moment. Build it with ``World.of``; two moments are compared by identity."""

    objects: Objects
    settings: Settings
    index: Index
    tables: Tables
    """What ``objects`` and ``index`` show; for making another moment."""

    @classmethod
    def of(cls, objects: Iterable[Named] = (), pods: Iterable[Pod] = (), settings: Settings | None = None) -> World:
        """The world of hub objects in any order (kinds the compiler does not read are skipped) and running pods.

        Of several objects of one kind and name the first counts, of pods the last.
        """
        chosen = settings if settings is not None else Settings()
        plain: dict[str, dict[str, Named]] = {name: {} for name in (*KINDS.values(), "pods")}
        for thing in objects:
            name = KINDS.get(type(thing))
            if name is not None:
                plain[name].setdefault(_name_of(thing), thing)
        plain["pods"] = {pod.meta.key: pod for pod in pods}
        tables: dict[str, Table[Any, Any]] = {name: Table(found) for name, found in plain.items()}
        for by in _GROUPS:
            things = sorted(plain[by.table].values(), key=by.order)
            groups = _grouped((key, thing) for thing in things for key in by.keys(thing, chosen))
            tables[by.name] = Table(groups)
        return _world(tables, chosen)

    def updated(self, present: Iterable[Named] = (), gone: Iterable[Named] = ()) -> tuple[World, frozenset[Read]]:
        """The next moment, and all that reads differently in it.

        ``present`` are objects and pods that are new or may be other than before, ``gone`` those that are no more
        (their kinds and names count). Nothing that is the same costs anything.
        """
        changes: dict[str, dict[str, Named | None]] = {}
        for things, is_there in ((gone, False), (present, True)):
            for thing in things:
                name = _table_of(thing)
                if name is not None:
                    changes.setdefault(name, {})[_name_of(thing)] = thing if is_there else None
        tables = dict(self.tables)
        read: set[Read] = set()
        for name, wanted in changes.items():
            before = self.tables[name]
            real = {key: thing for key, thing in wanted.items() if before.get(key) != thing}
            if real:
                tables[name] = before.changed(real)
                read.update((name, key) for key in real)
                for by in _GROUPS:
                    if by.table == name:
                        groups = _regrouped(by, before, real, self.tables[by.name], self.settings)
                        tables[by.name] = self.tables[by.name].changed(groups)
                        read.update((by.name, key) for key in groups)
        return (_world(tables, self.settings), frozenset(read)) if read else (self, frozenset())

    def become(self, objects: Iterable[Named], pods: Iterable[Pod]) -> tuple[World, frozenset[Read]]:
        """As ``updated``, to the moment at which these are all there are."""
        there: dict[Read, Named] = {}
        for thing in (*objects, *pods):
            name = _table_of(thing)
            if name is not None:
                there.setdefault((name, _name_of(thing)), thing)
        before = ((name, key, thing) for name in (*KINDS.values(), "pods") for key, thing in self.tables[name].items())
        return self.updated(there.values(), [thing for name, key, thing in before if (name, key) not in there])

    @property
    def pods(self) -> tuple[Pod, ...]:
        """All that run, in the order of their coming."""
        return tuple(self.index.pods.values())

    def derived(self, function: Callable[[World, _K], _T], key: _K) -> _T:
        """``function`` of this world and ``key``: a piece that several ask for.

        A world of ``translator.derived`` keeps it as long as nothing has changed of what the function reads.
        """
        return function(self, key)

    def selected(self, namespace: str, labels: Mapping[str, str]) -> tuple[Pod, ...]:
        """The pods of a namespace that carry all of ``labels``; no labels select nothing."""
        by_label = self.index.pods_by_label
        columns = [by_label.get((namespace, name, value), ()) for name, value in labels.items()]
        if not columns:
            return ()
        return tuple(pod for pod in min(columns, key=len) if carries(pod, labels))

    def pods_of(self, service: Service) -> tuple[Pod, ...]:
        """The pods that a Service selects, ready or not."""
        return self.selected(service.meta.namespace, service.selector)

    def services_of(self, pod: Pod) -> tuple[Service, ...]:
        """The Services that select a pod."""
        by_label = self.index.services_by_label
        return tuple(
            service
            for name, value in pod.meta.labels.items()
            for service in by_label.get((pod.meta.namespace, name, value), ())
            if carries(pod, service.selector)
        )

    def slices_of(self, service: Service) -> tuple[EndpointSlice, ...]:
        """The EndpointSlices of a Service without selector, in the order of their names.

        One with a selector has its pods instead, an ExternalName or the API server's own is not carried at all.
        """
        if service.selector or not is_carried(service):
            return ()
        return self.index.slices_by_service.get(service.meta.key, ())

    def pods_as(self, namespace: str, account: str) -> tuple[Pod, ...]:
        """The pods that run as a ServiceAccount."""
        return self.index.pods_by_account.get((namespace, account), ())


def carries(pod: Pod, labels: Mapping[str, str]) -> bool:
    """Whether a pod has all of ``labels``; no labels match nothing, as in a Service without selector."""
    own = pod.meta.labels
    return bool(labels) and all(own.get(name) == value for name, value in labels.items())


def is_carried(service: Service) -> bool:
    """Whether the mesh carries calls to a Service: an ExternalName is another world's, the API server nobody's."""
    return service.type != "ExternalName" and (service.meta.key != API_SERVER or bool(service.selector))


def own_address(service: Service) -> str:
    """The cluster IP of a Service, empty where it has none (or one that no address can be)."""
    try:
        address = str(ip_address(service.cluster_ip))
    except ValueError:
        return ""
    return service.cluster_ip if address == service.cluster_ip else address


KINDS: Final[Mapping[type[object], str]] = {
    TrafficSplit: "splits",
    TrafficTarget: "targets",
    IdentityBinding: "bindings",
    HTTPRouteGroup: "groups",
    TCPRoute: "tcp_routes",
    UDPRoute: "udp_routes",
    Service: "services",
    EndpointSlice: "slices",
    Namespace: "namespaces",
}
"""The table of each kind that is read, beside ``pods``."""


def _table_of(thing: Named) -> str | None:
    return "pods" if isinstance(thing, Pod) else KINDS.get(type(thing))


def _name_of(thing: Named) -> str:
    return thing.meta.name if isinstance(thing, Namespace) else thing.meta.key


def view_of(tables: Mapping[str, Mapping[Any, Any]]) -> tuple[Objects, Index]:
    """Tables by their names, as the compiler knows them. Of several at one address the last by name counts."""
    objects = Objects(**{name: tables[name] for name in KINDS.values()})
    names = ("pods", *(by.name for by in _GROUPS))
    return objects, Index(**{name: Lasts(tables[name]) if name in _SINGLE else tables[name] for name in names})


class Lasts(Mapping[_K, _T]):
    """The last of each group."""

    __slots__ = ("_groups",)

    def __init__(self, groups: Mapping[_K, tuple[_T, ...]]) -> None:
        self._groups = groups

    def __getitem__(self, key: _K) -> _T:
        return self._groups[key][-1]

    def get(self, key: _K, default: Any = None) -> Any:
        """As of any mapping."""
        group = self._groups.get(key)
        return default if group is None else group[-1]

    def __contains__(self, key: object) -> bool:
        return key in self._groups

    def __iter__(self) -> Iterator[_K]:
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)


def _world(tables: Tables, settings: Settings) -> World:
    objects, index = view_of(tables)
    return World(objects=objects, settings=settings, index=index, tables=tables)


@dataclass(frozen=True, slots=True, kw_only=True)
class _By:
    """How the things of one table are grouped in another: under which keys each stands, in which order."""

    name: str
    table: str
    keys: Callable[[Any, Settings], Iterable[Hashable]]
    order: Callable[[Any], Any] = lambda thing: thing.meta.key


def _ip_of_service(service: Service, _: Settings) -> Iterator[str]:
    address = own_address(service)
    if address:
        yield address


def _label_of_service(service: Service, _: Settings) -> Iterator[tuple[str, str, str]]:
    if service.selector:
        yield (service.meta.namespace, *min(service.selector.items()))


def _service_of_slice(written: EndpointSlice, _: Settings) -> Iterator[str]:
    if written.address_type != FQDN:
        yield f"{written.meta.namespace}/{written.service}"


def _ips_of_slice(written: EndpointSlice, _: Settings) -> Iterator[str]:
    if written.address_type != FQDN:
        yield from (endpoint.address for endpoint in written.endpoints)


def _root_of_split(split: TrafficSplit, settings: Settings) -> Iterator[str]:
    root = service_key(split.service, split.meta.namespace, settings.cluster_domain)
    if root is not None:
        yield root


def _destination_account(target: TrafficTarget, _: Settings) -> Iterator[tuple[str, str]]:
    if target.destination is not None and target.destination.kind == "ServiceAccount":
        yield target.meta.namespace, target.destination.name


def _destination_binding(target: TrafficTarget, _: Settings) -> Iterator[str]:
    if target.destination is not None and target.destination.kind == "IdentityBinding":
        yield target.meta.namespace


def _source_accounts(target: TrafficTarget, _: Settings) -> Iterator[tuple[str, str]]:
    for source in target.sources:
        if source.kind == "ServiceAccount":
            yield source.namespace or target.meta.namespace, source.name


def _source_bindings(target: TrafficTarget, _: Settings) -> Iterator[str]:
    for source in target.sources:
        if source.kind == "IdentityBinding":
            yield source.namespace or target.meta.namespace


def _precedence(split: TrafficSplit) -> tuple[bool, datetime, str]:
    """Splits with ``matches`` first, then the oldest, then by name; one of unknown age comes last."""
    created = split.meta.created or _LATEST
    aware = created if created.tzinfo is not None else created.replace(tzinfo=UTC)
    return (not split.matches, aware, split.meta.name)


_GROUPS: Final = (
    _By(name="pods_by_ip", table="pods", keys=lambda pod, _: (pod.ip,) if pod.ip else ()),
    _By(name="pods_by_account", table="pods", keys=lambda pod, _: ((pod.meta.namespace, pod.service_account),)),
    _By(
        name="pods_by_label",
        table="pods",
        keys=lambda pod, _: ((pod.meta.namespace, *label) for label in pod.meta.labels.items()),
    ),
    _By(
        name="unmeshed_by_namespace",
        table="pods",
        keys=lambda pod, _: () if pod.meshed else (pod.meta.namespace,),
    ),
    _By(name="services_by_ip", table="services", keys=_ip_of_service),
    _By(name="services_by_label", table="services", keys=_label_of_service),
    _By(name="slices_by_service", table="slices", keys=_service_of_slice),
    _By(name="slices_by_ip", table="slices", keys=_ips_of_slice),
    _By(name="splits_by_root", table="splits", keys=_root_of_split, order=_precedence),
    _By(name="targets_by_destination", table="targets", keys=_destination_account),
    _By(name="targets_by_destination_binding", table="targets", keys=_destination_binding),
    _By(name="targets_by_source", table="targets", keys=_source_accounts),
    _By(name="targets_by_binding_namespace", table="targets", keys=_source_bindings),
)

_SINGLE: Final = frozenset({"pods_by_ip", "services_by_ip"})
"""Of which one is asked for: an address is one pod's or Service's."""


def _grouped(pairs: Iterable[tuple[Hashable, _T]]) -> dict[Hashable, tuple[_T, ...]]:
    """The things of each key, each once."""
    groups: dict[Hashable, list[_T]] = {}
    for key, value in pairs:
        group = groups.setdefault(key, [])
        if not group or group[-1] is not value:
            group.append(value)
    return {key: tuple(values) for key, values in groups.items()}


def _regrouped(
    by: _By, before: Table[Any, Any], changes: Mapping[str, Any], groups: Table[Any, Any], settings: Settings
) -> dict[Hashable, tuple[Any, ...] | None]:
    """The groups that are other after ``changes`` of a table that was ``before``; None for one that is empty."""
    found: dict[Hashable, tuple[Any, ...]] = {}
    for name, thing in changes.items():
        old = before.get(name)
        for key in dict.fromkeys(by.keys(old, settings)) if old is not None else ():
            group = found[key] if key in found else groups[key]
            at = bisect_left(group, by.order(old), key=by.order)
            found[key] = group[:at] + group[at + 1 :]
        for key in dict.fromkeys(by.keys(thing, settings)) if thing is not None else ():
            group = found[key] if key in found else groups.get(key, ())
            at = bisect_left(group, by.order(thing), key=by.order)
            found[key] = (*group[:at], thing, *group[at:])
    return {key: group or None for key, group in found.items()}
