"""TrafficMetrics of resources, of the backends of a TrafficSplit, and of the edges of a resource. Pure.

What has no peer counts requests *received*: by the sidecars of the workload itself (``side: server``), for a Service or
a TrafficSplit by its callers' (``client``), since only they know which name was asked for. An edge says which side
counted: what X sent (``to``) its own sidecars did, what X received (``from``) as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from smi.split import TrafficSplit
from smi.workloads import Pod
from translator.metricsapi.asked import Asked
from translator.metricsapi.kinds import BY_MEASURED, GROUP, RESOURCES, Kind
from translator.metricsapi.status import Refused
from translator.names import service_key
from translator.observed import Observed, inbound, outbound, totals
from translator.resources import (
    NAMESPACE,
    NODE,
    POD,
    SERVICE,
    TEMPLATE_HASH,
    TRAFFIC_SPLIT,
    Resource,
    covers,
    of_pod,
)
from translator.traffic import Entry, Totals
from translator.views import existing, weight_text

ACCOUNT = "ServiceAccount"
"""What a caller is where its certificate alone is known, and several workloads run under it."""

SILENT = Totals()
"""What was counted of whom nothing was: of most, where clusters are large. Not to be added to."""

Labels = Mapping[str, str]


_NOBODY = Resource("", "", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One leaf of a TrafficSplit. ``weight`` is as written, empty for one that was a backend lately."""

    apex: str
    name: str
    weight: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One row. ``peer``: of an edge; None: of all, or of one that is not known."""

    name: str
    resource: Resource
    direction: str
    side: str
    counted: Totals
    labels: Labels = field(default_factory=dict)
    peer: Resource | None = None
    backend: Backend | None = None


def items(observed: Observed, asked: Asked) -> list[Item]:
    """What is asked, in order of name; a list's labels, fields and page are not looked at yet. Raises ``Refused``."""
    kind, name = asked.kind, asked.name
    if not kind.measured:
        kind, name = kind_and_name(name) if name else (kind, "")
    if asked.edges:
        found = [Resource(kind.measured, asked.namespace, name)]
        if not _there(observed, found[0]):
            raise _not_found(asked)
        return sorted(_edges(observed, found[0]), key=order)
    if name:
        one = _one(observed, kind, asked.namespace, name)
        if one is None:
            raise _not_found(asked)
        return [one if asked.kind.measured else _renamed(one)]
    if kind.measured:
        return sorted(_of_kind(observed, kind.measured, asked.namespace), key=order)
    kinds = (one for one in BY_MEASURED if one not in (NAMESPACE, NODE) and one != "ReplicaSet")
    everything = (_renamed(item) for one in kinds for item in _of_kind(observed, one, asked.namespace))
    return sorted(everything, key=order)


def of_servers(asked: Asked) -> bool:
    """Whether it is enough to know what each pod received (``Observed.received``)."""
    return not asked.edges and asked.kind.measured not in ("", SERVICE, TRAFFIC_SPLIT)


def chosen(found: Iterable[Item], asked: Asked) -> list[Item]:
    """Those that the selectors want."""
    return [item for item in found if asked.labels(item.labels) and (not asked.fields or _has_fields(item, asked))]


def _has_fields(item: Item, asked: Asked) -> bool:
    values = {
        "resource.kind": item.resource.kind,
        "edge.direction": item.direction,
        "edge.side": item.side,
        "metadata.name": item.name,
        "metadata.namespace": item.resource.namespace,
    }
    return all((values[name] == value) is equal for name, equal, value in asked.fields)


def _not_found(asked: Asked) -> Refused:
    details = {"name": asked.name, "group": GROUP, "kind": asked.kind.plural}
    return Refused(404, f'{asked.kind.plural}.{GROUP} "{asked.name}" not found', details)


def order(item: Item) -> tuple[str, str, str, str, str]:
    """In which items stand."""
    peer = item.peer or _NOBODY
    return item.resource.namespace, item.name, item.direction, peer.namespace, peer.name


def kind_and_name(name: str) -> tuple[Kind, str]:
    """``deployment.web``."""
    word, _, rest = name.partition(".")
    for kind in BY_MEASURED.values():
        if kind.measured.lower() == word and kind.namespaced and rest:
            return kind, rest
    return RESOURCES["trafficmetrics"], name


def _renamed(item: Item) -> Item:
    return replace(item, name=f"{item.resource.kind.lower()}.{item.name}")


def _there(observed: Observed, found: Resource) -> bool:
    if found.kind == TRAFFIC_SPLIT:
        return f"{found.namespace}/{found.name}" in observed.world.objects.splits
    return bool(found.kind) and bool(existing(observed, found))


def _one(observed: Observed, kind: Kind, namespace: str, name: str) -> Item | None:
    if kind.measured == TRAFFIC_SPLIT:
        split = observed.world.objects.splits.get(f"{namespace}/{name}")
        if split is not None:
            return _whole_split(observed, split)
    found = _of_kind(observed, kind.measured, namespace, name if kind.measured != TRAFFIC_SPLIT else "")
    return next((item for item in found if item.name == name), None)


def _of_kind(observed: Observed, kind: str, namespace: str, name: str = "") -> Iterator[Item]:
    if kind == TRAFFIC_SPLIT:
        for split in observed.world.objects.splits.values():
            if namespace in ("", split.meta.namespace):
                yield from _backends(observed, split)
        return
    if not kind:
        return
    asked = Resource(kind, namespace, name)
    groups: dict[Resource, list[Entry]] = {found: [] for found in existing(observed, asked)}
    if kind == SERVICE:
        for entry in outbound(observed.entries):
            for called in observed.called(entry, SERVICE):
                if called in groups:
                    groups[called].append(entry)
    else:
        for entry in observed.servers():
            receiver = observed.own(entry, kind)
            if receiver is not None and covers(asked, receiver) and (receiver in groups or kind != POD):
                groups.setdefault(receiver, []).append(entry)
    labels = _labels(observed, kind)
    side = "client" if kind == SERVICE else "server"
    for found, entries in groups.items():
        yield Item(
            name=found.name,
            resource=found,
            direction="from",
            side=side,
            counted=totals(entries) if entries else SILENT,
            labels=labels(found),
        )


def _labels(observed: Observed, kind: str) -> Callable[[Resource], Labels]:
    """Of a workload: what its pods have in common, since it is not watched itself."""
    objects = observed.world.objects
    if kind == SERVICE:
        return lambda found: objects.services[f"{found.namespace}/{found.name}"].meta.labels
    if kind == NAMESPACE:
        return lambda found: objects.namespaces[found.name].meta.labels if found.name in objects.namespaces else {}
    if kind == NODE:
        return lambda _: {}
    if kind == POD:
        return lambda found: observed.world.index.pods[f"{found.namespace}/{found.name}"].meta.labels
    members: dict[Resource, list[Pod]] = {}
    for pod in observed.pods.values():
        belongs = of_pod(pod, kind)
        if belongs is not None:
            members.setdefault(belongs, []).append(pod)
    return lambda found: _common(members.get(found, ()))


def _common(pods: Iterable[Pod]) -> Labels:
    sets = [frozenset(pod.meta.labels.items()) for pod in pods]
    if not sets:
        return {}
    common = dict(frozenset.intersection(*sets))
    common.pop(TEMPLATE_HASH, None)
    return common


def _whole_split(observed: Observed, split: TrafficSplit) -> Item:
    mine = [entry for entry in outbound(observed.entries) if entry.labels.split == split.meta.key]
    return Item(
        name=split.meta.name,
        resource=Resource(TRAFFIC_SPLIT, split.meta.namespace, split.meta.name),
        direction="from",
        side="client",
        counted=totals(entry for entry in mine if entry.labels.backend),
        labels=split.meta.labels,
    )


def _backends(observed: Observed, split: TrafficSplit) -> Iterator[Item]:
    namespace, domain = split.meta.namespace, observed.world.settings.cluster_domain
    weights = {service_key(one.service, namespace, domain) or one.service: one.weight for one in split.backends}
    counted: dict[str, list[Entry]] = {leaf: [] for leaf in weights}
    for entry in outbound(observed.entries):
        if entry.labels.split == split.meta.key and entry.labels.backend:
            counted.setdefault(entry.labels.backend, []).append(entry)
    for leaf, entries in counted.items():
        short = leaf.removeprefix(f"{namespace}/")
        yield Item(
            name=f"{split.meta.name}.{short}",
            resource=Resource(TRAFFIC_SPLIT, namespace, split.meta.name),
            direction="from",
            side="client",
            counted=totals(entries),
            labels=split.meta.labels,
            backend=Backend(
                apex=split.service, name=short, weight=weight_text(weights[leaf]) if leaf in weights else ""
            ),
        )


def _edges(observed: Observed, found: Resource) -> Iterator[Item]:
    groups: dict[tuple[str, str, Resource | None], list[Entry]] = {}
    for entry in outbound(observed.entries):
        sender = _belongs(observed.own(entry, POD), observed, found.kind)
        if sender == found:
            called = _peer(observed.pods.get(entry.labels.pod), found.kind)
            groups.setdefault(("to", "client", called), []).append(entry)
        if _by_callers(observed, entry, found):
            groups.setdefault(("from", "client", _peer(observed.pods.get(entry.pod), found.kind)), []).append(entry)
    for entry in inbound(observed.entries):
        if observed.own(entry, found.kind) == found:
            groups.setdefault(("from", "server", _caller(observed, entry, found.kind)), []).append(entry)
    for (direction, side, peer), entries in groups.items():
        name = edge_name(found, direction, peer)
        yield Item(name=name, resource=found, direction=direction, side=side, counted=totals(entries), peer=peer)


def edge_name(found: Resource, direction: str, peer: Resource | None) -> str:
    """``web.from.deployment.client``; the peer's namespace is said where it is another: ``….client.other``."""
    if peer is None:
        return f"{found.name}.{direction}.unknown"
    elsewhere = f".{peer.namespace}" if peer.namespace != found.namespace and peer.namespace else ""
    return f"{found.name}.{direction}.{peer.kind.lower()}.{peer.name}{elsewhere}"


def _belongs(pod: Resource | None, observed: Observed, kind: str) -> Resource | None:
    known = observed.pods.get(f"{pod.namespace}/{pod.name}") if pod is not None else None
    return of_pod(known, kind) if known is not None else None


def _by_callers(observed: Observed, entry: Entry, found: Resource) -> bool:
    """Whether callers are the ones who know that ``found`` was meant."""
    if found.kind == SERVICE:
        return found in observed.called(entry, SERVICE)
    return found.kind == TRAFFIC_SPLIT and entry.labels.split == f"{found.namespace}/{found.name}"


def _peer(pod: Pod | None, kind: str) -> Resource | None:
    """The other end: of a pod's edge a pod, of a namespace's or node's the same kind, else the workload."""
    if pod is None:
        return None
    if kind in (POD, NAMESPACE, NODE):
        return of_pod(pod, kind)
    return of_pod(pod, pod.workload_kind)


def _caller(observed: Observed, entry: Entry, kind: str) -> Resource | None:
    """By its identity: the one thing that runs under it, else the account. None: not of this mesh, or without one."""
    account = observed.account(entry.labels.peer)
    if account is None:
        return None
    if kind == NAMESPACE:
        return Resource(NAMESPACE, "", account[0])
    found = {_peer(pod, kind) for pod in observed.world.pods_as(*account)} - {None}
    return found.pop() if len(found) == 1 else Resource(ACCOUNT, *account)
