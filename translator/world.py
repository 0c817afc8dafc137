"""The world: everything the compiler may look at, at one moment, and never changed.

A source's objects and the running pods go in; indexes are made once, so that
compiling one sidecar costs in proportion to what it needs and not to the
cluster. Next: ``translator.compiler``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from types import MappingProxyType
from typing import Protocol, TypeVar

from smi.access import IdentityBinding, TrafficTarget
from smi.meta import Meta
from smi.specs import HTTPRouteGroup, TCPRoute, UDPRoute
from smi.split import TrafficSplit
from smi.workloads import Namespace, Pod, Service
from translator.names import service_key
from translator.settings import Settings


class Named(Protocol):
    """Any hub object."""

    @property
    def meta(self) -> Meta:
        """Its name."""


_N = TypeVar("_N", bound=Named)
_T = TypeVar("_T")
_K = TypeVar("_K")
_LATEST = datetime.max.replace(tzinfo=UTC)


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
    namespaces: Mapping[str, Namespace] = field(default_factory=_empty)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Index:
    """What follows from objects and pods; made by ``World.of`` alone.

    ``splits_by_root`` holds the splits of a Service key in the order in which
    they are asked. Accounts and labels are keyed within their namespace:
    ``(namespace, account)`` and ``(namespace, label, value)``; a Service stands
    under one of its selector's labels only. ``targets_by_source`` is about
    sources that are ServiceAccounts, ``targets_by_binding_namespace`` about
    IdentityBindings, which bind nobody outside their namespace.
    """

    pods: Mapping[str, Pod]
    pods_by_ip: Mapping[str, Pod]
    pods_by_account: Mapping[tuple[str, str], tuple[Pod, ...]]
    pods_by_label: Mapping[tuple[str, str, str], tuple[Pod, ...]]
    services_by_ip: Mapping[str, Service]
    services_by_label: Mapping[tuple[str, str, str], tuple[Service, ...]]
    splits_by_root: Mapping[str, tuple[TrafficSplit, ...]]
    targets_by_namespace: Mapping[str, tuple[TrafficTarget, ...]]
    targets_by_source: Mapping[tuple[str, str], tuple[TrafficTarget, ...]]
    targets_by_binding_namespace: Mapping[str, tuple[TrafficTarget, ...]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class World:
    """One moment. Build it with ``World.of``; two moments are compared by identity."""

    objects: Objects
    pods: tuple[Pod, ...]
    settings: Settings
    index: Index

    @classmethod
    def of(cls, objects: Iterable[Named] = (), pods: Iterable[Pod] = (), settings: Settings | None = None) -> World:
        """The world of hub objects in any order (kinds the compiler does not read are skipped) and running pods."""
        running = tuple(pods)
        chosen = settings if settings is not None else Settings()
        tables = _tables(objects)
        return cls(objects=tables, pods=running, settings=chosen, index=_index(tables, running, chosen))

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

    def pods_as(self, namespace: str, account: str) -> tuple[Pod, ...]:
        """The pods that run as a ServiceAccount."""
        return self.index.pods_by_account.get((namespace, account), ())


def carries(pod: Pod, labels: Mapping[str, str]) -> bool:
    """Whether a pod has all of ``labels``; no labels match nothing, as in a Service without selector."""
    own = pod.meta.labels
    return bool(labels) and all(own.get(name) == value for name, value in labels.items())


def own_address(service: Service) -> str:
    """The cluster IP of a Service, empty where it has none (or one that no address can be)."""
    try:
        return str(ip_address(service.cluster_ip))
    except ValueError:
        return ""


def _tables(objects: Iterable[Named]) -> Objects:
    everything = tuple(objects)

    def table(kind: type[_N]) -> Mapping[str, _N]:
        found: dict[str, _N] = {}
        for thing in everything:
            if isinstance(thing, kind):
                found.setdefault(thing.meta.name if kind is Namespace else thing.meta.key, thing)
        return MappingProxyType(found)

    return Objects(
        splits=table(TrafficSplit),
        targets=table(TrafficTarget),
        bindings=table(IdentityBinding),
        groups=table(HTTPRouteGroup),
        tcp_routes=table(TCPRoute),
        udp_routes=table(UDPRoute),
        services=table(Service),
        namespaces=table(Namespace),
    )


def _index(objects: Objects, pods: tuple[Pod, ...], settings: Settings) -> Index:
    ordered_pods = sorted(pods, key=lambda pod: pod.meta.key)
    services = [objects.services[key] for key in sorted(objects.services)]
    targets = [objects.targets[key] for key in sorted(objects.targets)]
    return Index(
        pods={pod.meta.key: pod for pod in ordered_pods},
        pods_by_ip={pod.ip: pod for pod in ordered_pods if pod.ip},
        pods_by_account=_grouped(((pod.meta.namespace, pod.service_account), pod) for pod in ordered_pods),
        pods_by_label=_grouped(
            ((pod.meta.namespace, name, value), pod) for pod in ordered_pods for name, value in pod.meta.labels.items()
        ),
        services_by_ip={address: service for service in services if (address := own_address(service))},
        services_by_label=_grouped(
            ((service.meta.namespace, *min(service.selector.items())), service)
            for service in services
            if service.selector
        ),
        splits_by_root=_splits_by_root(objects.splits.values(), settings.cluster_domain),
        targets_by_namespace=_grouped((target.meta.namespace, target) for target in targets),
        targets_by_source=_grouped(
            ((source.namespace or target.meta.namespace, source.name), target)
            for target in targets
            for source in target.sources
            if source.kind == "ServiceAccount"
        ),
        targets_by_binding_namespace=_grouped(
            (source.namespace or target.meta.namespace, target)
            for target in targets
            for source in target.sources
            if source.kind == "IdentityBinding"
        ),
    )


def _grouped(pairs: Iterable[tuple[_K, _T]]) -> Mapping[_K, tuple[_T, ...]]:
    groups: dict[_K, list[_T]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return {key: tuple(values) for key, values in groups.items()}


def _splits_by_root(splits: Iterable[TrafficSplit], cluster_domain: str) -> Mapping[str, tuple[TrafficSplit, ...]]:
    rooted = ((service_key(split.service, split.meta.namespace, cluster_domain), split) for split in splits)
    groups = _grouped((root, split) for root, split in rooted if root is not None)
    return {root: tuple(sorted(group, key=_precedence)) for root, group in groups.items()}


def _precedence(split: TrafficSplit) -> tuple[bool, datetime, str]:
    """Splits with ``matches`` first, then the oldest, then by name; one of unknown age comes last."""
    created = split.meta.created or _LATEST
    aware = created if created.tzinfo is not None else created.replace(tzinfo=UTC)
    return (not split.matches, aware, split.meta.name)
