"""What traffic looks like: per resource, per backend of a split, per route, per edge, busiest first. Pure.

Requests *received* by a workload are those that its own sidecars counted;
requests to a Service are counted by its callers' sidecars, since only they know
which name was asked for. Neighbours: ``translator.observed`` (what belongs to what), ``translator.rows`` (the
answers), ``translator.api`` (who asks).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

from smi.split import TrafficSplit
from smi.workloads import Pod, Service
from translator import policy
from translator.endpoints import target_port, tcp_ports
from translator.names import service_key
from translator.observed import Observed, inbound, outbound, stats, totals
from translator.resources import (
    NAMESPACE,
    POD,
    SERVICE,
    TRAFFIC_SPLIT,
    TRAFFIC_TARGET,
    NoSuchKind,
    Resource,
    covers,
    of_pod,
)
from translator.routes import split_matches
from translator.rows import EdgeRow, RouteRow, SplitRow, StatRow, TopRow
from translator.traffic import Entry
from translator.world import carries


class NotThere(LookupError):
    """There is no such resource."""


def stat(
    observed: Observed, asked: Resource, *, source: Resource | None = None, destination: Resource | None = None
) -> list[StatRow]:
    """One row for each resource that ``asked`` covers: what it received.

    With ``source``: what it received from there, as the callers counted it. With ``destination``: what it sent there.
    Raises ``NoSuchKind`` for a question that has no answer, ``NotThere`` for a name that nothing has.
    """
    _refuse_ends(source, destination)
    groups: dict[Resource, list[Entry]] = {found: [] for found in existing(observed, asked)}
    for entry, found in _counted(observed, asked, source, destination):
        if covers(asked, found) and (found in groups or asked.kind != POD):
            groups.setdefault(found, []).append(entry)
    if not groups:
        _must_exist(observed, asked)
    if not any(groups.values()):
        _must_exist(observed, source)
        _must_exist(observed, destination)
    return [_stat_row(observed, found, groups[found]) for found in sorted(groups)]


def _counted(
    observed: Observed, asked: Resource, source: Resource | None, destination: Resource | None
) -> Iterable[tuple[Entry, Resource]]:
    kind, entries = asked.kind, observed.entries
    if destination is not None:
        _refuse_kind(kind, (SERVICE, TRAFFIC_TARGET), "sends no requests of its own")
        for entry in outbound(entries):
            sender = observed.own(entry, kind)
            if sender is not None and any(covers(destination, one) for one in observed.called(entry, destination.kind)):
                yield entry, sender
    elif source is not None or kind == SERVICE:
        _refuse_kind(kind, (TRAFFIC_TARGET,), "cannot be asked about with --from")
        for entry in outbound(entries):
            if source is None or covers(source, observed.own(entry, source.kind)):
                for one in observed.called(entry, kind):
                    yield entry, one
    else:
        for entry in inbound(entries):  # one by one: how many of them policy refused is asked, too
            receiver = _target(entry) if kind == TRAFFIC_TARGET else observed.own(entry, kind)
            if receiver is not None:
                yield entry, receiver


def _must_exist(observed: Observed, asked: Resource | None) -> None:
    """Of what nothing was counted: a name that nothing has is a mistake, not silence. Raises ``NotThere``."""
    if asked is not None and asked.name and not existing(observed, asked):
        where = f' in namespace "{asked.namespace}"' if asked.namespace else ""
        raise NotThere(f'there is no {asked.kind} "{asked.name}"{where}')


def _refuse_ends(source: Resource | None, destination: Resource | None = None) -> None:
    if source is not None:
        _refuse_kind(source.kind, (SERVICE, TRAFFIC_SPLIT, TRAFFIC_TARGET), "sends no requests of its own")
    if destination is not None:
        _refuse_kind(destination.kind, (TRAFFIC_SPLIT, TRAFFIC_TARGET), "is not what is called: ask for its Service")


def _refuse_kind(kind: str, refused: tuple[str, ...], why: str) -> None:
    if kind in refused:
        raise NoSuchKind(f"a {kind} {why}")


def _target(entry: Entry) -> Resource | None:
    namespace, slash, name = entry.labels.target.partition("/")
    return Resource(TRAFFIC_TARGET, namespace, name) if slash else None


def existing(observed: Observed, asked: Resource) -> set[Resource]:
    """The resources that ``asked`` covers and that are there now."""
    objects = observed.world.objects
    tables: dict[str, Iterable[str]] = {SERVICE: objects.services, TRAFFIC_TARGET: objects.targets}
    if asked.kind in tables:
        found = {Resource(asked.kind, *key.split("/", 1)) for key in tables[asked.kind]}
    else:
        belonging = {of_pod(pod, asked.kind) for pod in observed.world.pods}
        found = {one for one in belonging if one is not None}
        if asked.kind == NAMESPACE:
            found |= {Resource(NAMESPACE, "", name) for name in objects.namespaces}
    return {one for one in found if covers(asked, one)}


def _stat_row(observed: Observed, found: Resource, entries: list[Entry]) -> StatRow:
    members = [pod for pod in observed.world.pods if of_pod(pod, found.kind) == found]
    countable = found.kind not in (SERVICE, TRAFFIC_TARGET)
    return StatRow(
        kind=found.kind,
        namespace=found.namespace,
        name=found.name,
        meshed=sum(pod.meshed for pod in members) if countable else None,
        pods=len(members) if countable else None,
        denied=totals(entry for entry in entries if entry.labels.verdict == "deny").requests,
        stats=stats(totals(entries), observed.seconds),
    )


def splits(observed: Observed, asked: Resource, *, source: Resource | None = None) -> list[SplitRow]:
    """One row for each backend of each TrafficSplit, in the order of its manifest.

    Counted by the callers' sidecars: all, or those that ``source`` covers. Raises ``NoSuchKind`` and ``NotThere``.
    """
    _refuse_ends(source)
    counted: dict[tuple[str, str], list[Entry]] = {}
    for entry in outbound(observed.entries):
        if entry.labels.split and (source is None or covers(source, observed.own(entry, source.kind))):
            counted.setdefault((entry.labels.split, entry.labels.backend), []).append(entry)
    rows: list[SplitRow] = []
    for key, split in sorted(observed.world.objects.splits.items()):
        if covers(asked, Resource(TRAFFIC_SPLIT, split.meta.namespace, split.meta.name)):
            mine = {backend: entries for (name, backend), entries in counted.items() if name == key and backend}
            rows += _split_rows(observed, split, mine)
    if asked.name and not rows:
        where = f' in namespace "{asked.namespace}"' if asked.namespace else ""
        raise NotThere(f'there is no TrafficSplit "{asked.name}"{where}')
    if not counted:
        _must_exist(observed, source)
    return rows


def _split_rows(observed: Observed, split: TrafficSplit, counted: Mapping[str, list[Entry]]) -> list[SplitRow]:
    namespace, domain = split.meta.namespace, observed.world.settings.cluster_domain
    weights = {service_key(one.service, namespace, domain) or one.service: one.weight for one in split.backends}
    every = totals(entry for entries in counted.values() for entry in entries).requests
    rows = []
    for leaf in [*weights, *(backend for backend in sorted(counted) if backend not in weights)]:
        measured = stats(totals(counted.get(leaf, ())), observed.seconds)
        rows.append(
            SplitRow(
                namespace=namespace,
                name=split.meta.name,
                apex=split.service,
                leaf=leaf.removeprefix(f"{namespace}/"),
                weight=weight_text(weights[leaf]) if leaf in weights else "",
                share=measured.requests / every if every else None,
                stats=measured,
            )
        )
    return rows


def weight_text(weight: Fraction) -> str:
    """A weight as it is written: ``90``, ``900m``."""
    return str(weight.numerator) if weight.denominator == 1 else f"{float(weight * 1000):g}m"


def routes(observed: Observed, asked: Resource) -> list[RouteRow]:
    """One row for each match that may apply to ``asked`` or did, and one for requests that met none.

    Raises ``NoSuchKind`` and ``NotThere``.
    """
    if asked.kind in (TRAFFIC_SPLIT, TRAFFIC_TARGET) or not asked.name:
        raise NoSuchKind("name one workload, pod, namespace or Service, KIND/NAME, such as svc/web")
    _must_exist(observed, asked)
    pods = _members(observed, asked)
    names = _possible(observed, asked, pods)
    effective: dict[str, list[Entry]] = {name: [] for name in names}
    actual: dict[str, list[Entry]] = {name: [] for name in names}
    for entry in outbound(observed.entries):
        if any(covers(asked, one) for one in observed.called(entry, asked.kind)):
            effective.setdefault(entry.labels.match, []).append(entry)
    for entry in inbound(observed.entries):
        if entry.pod in pods and entry.labels.destination in (pods[entry.pod] or (entry.labels.destination,)):
            actual.setdefault(entry.labels.match, []).append(entry)
    seconds = observed.seconds
    return [
        RouteRow(
            route=name,
            effective=stats(totals(effective.get(name, ())), seconds),
            actual=stats(totals(actual.get(name, ())), seconds),
        )
        for name in sorted({*effective, *actual, ""}, key=lambda name: (not name, name))
    ]


def _members(observed: Observed, asked: Resource) -> dict[str, frozenset[str]]:
    """The pods that ``asked`` is about, and their container ports that belong to it; empty: all."""
    if asked.kind != SERVICE:
        return {key: frozenset() for key, pod in observed.pods.items() if covers(asked, of_pod(pod, asked.kind))}
    service = observed.world.objects.services[f"{asked.namespace}/{asked.name}"]
    return {key: _targets(pod, service) for key, pod in observed.pods.items() if _selects(service, pod)}


def _selects(service: Service, pod: Pod) -> bool:
    return pod.meta.namespace == service.meta.namespace and carries(pod, service.selector)


def _targets(pod: Pod, service: Service) -> frozenset[str]:
    return frozenset(str(target_port(pod, port)) for port in tcp_ports(service))


def _possible(observed: Observed, asked: Resource, pods: Iterable[str]) -> set[str]:
    """Names of matches that conditions on ``asked`` speak of."""
    world = observed.world
    names: set[str] = set()
    # One pod for all that look alike to a TrafficTarget.
    alike = {
        (pod.service_account, *sorted(pod.meta.labels.items())): pod for pod in map(observed.pods.get, pods) if pod
    }
    for pod in alike.values():
        for grant in policy.inbound(world, pod)[0].grants:
            names.update(match.name for match in grant.http or ())
    if asked.kind == SERVICE:
        for split in world.index.splits_by_root.get(f"{asked.namespace}/{asked.name}", ()):
            names.update(match.name for match in split_matches(world, split)[0] or ())
    return names


Edge = tuple[Resource | None, Resource, str, str]
"""Source (None: not in the mesh), destination, and the identities they showed."""


def edges(observed: Observed, asked: Resource) -> list[EdgeRow]:
    """Who called whom, where ``asked`` covers either end.

    Callers count them, and know both ends. Servers add those that no caller counted: from outside the mesh, where
    there is no sidecar, or from where the identity alone is known. Raises ``NoSuchKind`` and ``NotThere``.
    """
    _refuse_kind(asked.kind, (SERVICE, TRAFFIC_SPLIT, TRAFFIC_TARGET), "has no edges: ask for pods or workloads")
    groups: dict[Edge, list[Entry]] = {}
    for entry in outbound(observed.entries):
        client, server = observed.own(entry, asked.kind), observed.endpoint(entry, asked.kind)
        if client is not None and server is not None:
            edge = (client, server, observed.identity(entry), entry.labels.peer)
            groups.setdefault(edge, []).append(entry)
    reported = {(edge[2], edge[1]) for edge in groups if edge[2]}
    for entry in inbound(observed.entries):
        server, peer = observed.own(entry, asked.kind), entry.labels.peer
        if server is not None and (peer, server) not in reported:
            candidates = observed.callers(peer, asked.kind)
            client = candidates.pop() if len(candidates) == 1 else None
            groups.setdefault((client, server, peer, observed.identity(entry)), []).append(entry)
    concerned = [edge for edge in groups if covers(asked, edge[0]) or covers(asked, edge[1])]
    if not concerned:
        _must_exist(observed, asked)
    return [_edge_row(observed, edge, groups[edge]) for edge in sorted(concerned, key=_edge_order)]


def _edge_order(edge: Edge) -> tuple[Resource, Resource, str, str]:
    client, server, client_id, server_id = edge
    return server, client or Resource("", "", ""), client_id, server_id


def _edge_row(observed: Observed, edge: Edge, entries: list[Entry]) -> EdgeRow:
    client, server, client_id, server_id = edge
    return EdgeRow(
        source=client.name if client is not None else "",
        source_namespace=client.namespace if client is not None else "",
        destination=server.name,
        destination_namespace=server.namespace,
        client_id=client_id,
        server_id=server_id,
        secured=bool(client_id and server_id),
        stats=stats(totals(entries), observed.seconds),
    )


def top(observed: Observed, asked: Resource) -> list[TopRow]:
    """Callers, what they called and by which route, busiest first, where ``asked`` covers either end.

    Raises ``NoSuchKind`` and ``NotThere``.
    """
    _refuse_kind(
        asked.kind,
        (TRAFFIC_SPLIT, TRAFFIC_TARGET),
        "has no callers of its own: ask for Services, pods, workloads or namespaces",
    )
    groups: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in observed.entries:
        ends = _ends(observed, asked.kind, entry)
        if ends is not None and any(covers(asked, one) for one in (ends[0], *ends[1])):
            source = _key(ends[0])
            target = entry.labels.destination.rpartition(":")[0] or _key(min(ends[1], default=None))
            groups.setdefault((source, target, entry.labels.match), []).append(entry)
    if not groups:
        _must_exist(observed, asked)
    rows = [
        TopRow(source=source, destination=target, route=route, stats=stats(totals(entries), observed.seconds))
        for (source, target, route), entries in groups.items()
    ]
    return sorted(rows, key=lambda row: (-row.stats.requests, row.source, row.destination, row.route))


def _ends(observed: Observed, kind: str, entry: Entry) -> tuple[Resource | None, set[Resource]] | None:
    """Caller and called; None for what a caller's sidecar has counted already."""
    if entry.labels.direction == "outbound":
        return observed.own(entry, POD if kind == SERVICE else kind), observed.called(entry, kind)
    if entry.labels.tls == "true":
        return None
    server = observed.own(entry, kind)
    return None, {server} if server is not None else set()


def _key(found: Resource | None) -> str:
    if found is None:
        return ""
    return f"{found.namespace}/{found.name}" if found.namespace else found.name
