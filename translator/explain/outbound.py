"""The caller's side: which Service is meant, which split applies, whose turn it may be, how it is called. Pure.

What ``proxy.outbound`` decides is asked here of the same table; the world only adds what never came into it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from proxy.balance import Balancer, Ewma, Hash, LeastRequest, RoundRobin
from proxy.call import Call
from proxy.contract.config import Config, Endpoint, Port, Sidecar, dialled, own_addresses
from proxy.contract.config import Retry as RetryTerms
from proxy.errors import Reason, Unavailable, no_endpoint
from proxy.matching import canonical_host, split_authority
from proxy.retry import IDEMPOTENT
from proxy.table import BackendRoute, Missing, PortRoute, RuleRoute, Table
from smi.split import SplitBackend, TrafficSplit
from translator.endpoints import endpoint_of, find_port, is_headless, service_endpoints, tcp_ports
from translator.explain.answer import Answer, Backend, Calls, Destination, Match, Retry, Split
from translator.explain.conditions import explained, failing
from translator.names import service_key
from translator.splits import effective_splits
from translator.values import GRPC_NAMES
from translator.world import World

if TYPE_CHECKING:
    from proxy.http1.head import RequestHead

# When everything has been there for long, so that no endpoint warms up and no circuit is open.
_SETTLED = 1e9
_ALGORITHMS: tuple[tuple[type[Balancer], str], ...] = (
    (Ewma, "ewma"),
    (LeastRequest, "least-request"),
    (RoundRobin, "round-robin"),
    (Hash, "hash"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How far a request gets on the caller's side: to one of ``endpoints``, or to an ``answer`` of its own sidecar."""

    destination: Destination
    answer: Answer | None = None
    splits: tuple[Split, ...] = ()
    backends: tuple[Backend, ...] = ()
    calls: Calls | None = None
    endpoints: tuple[Endpoint, ...] = ()
    notes: tuple[str, ...] = ()


def refused(refusal: Unavailable, after: float = 0.0) -> Answer:
    """The answer of the caller's own sidecar."""
    return Answer(
        allowed=False,
        status=refusal.status,
        reason=refusal.reason.value,
        detail=refusal.detail,
        by="caller",
        after=after,
    )


def host_of(authority: bytes, sidecar: Sidecar) -> str:
    """The canonical host that a request is for: what the sidecar asks the controller about."""
    return canonical_host(split_authority(authority)[0], sidecar.namespace, sidecar.cluster_domain)


def resolved(world: World, sidecar: Sidecar, authority: bytes) -> bytes:
    """Where a client connects to. The name of a headless Service is the address of somebody ready behind it."""
    name, _, namespace = host_of(authority, sidecar).partition(".")
    service = world.objects.services.get(f"{namespace}/{name}")
    if service is None or not is_headless(service):
        return authority
    found = [one.ip for port in tcp_ports(service) for one in service_endpoints(world, service, port)]
    if not found:
        return authority
    address = f"[{found[0]}]" if ":" in found[0] else found[0]
    return f"{address}:{split_authority(authority)[1] or 80}".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """One request on the caller's side. ``table`` knows the host; ``meshed``: the caller has a sidecar.

    ``authority`` is the URL's, ``dialled`` what the sidecar gets to see of it: that, or the address it leads to.
    """

    world: World
    sidecar: Sidecar
    table: Table
    head: RequestHead
    authority: bytes
    dialled: bytes
    meshed: bool

    @property
    def config(self) -> Config:
        """What the table is made of."""
        return self.table.config


def way(asking: Asking) -> Way:
    """Where a request goes."""
    head, sidecar = asking.head, asking.sidecar
    authority = asking.authority.decode("latin-1")
    route = asking.table.route(asking.dialled, 80, sidecar.namespace, sidecar.cluster_domain)
    if isinstance(route, PortRoute):
        if route.headless:
            route = asking.table.meant(route, head.authority, sidecar.namespace, sidecar.cluster_domain)
        return _through(asking, route, _destination(asking, authority, route))
    if not asking.meshed:
        return Way(
            destination=Destination(authority=authority, port=route.port),
            notes=("the caller has no sidecar, and nothing of this mesh is known there",),
        )
    missing = Missing(route.host, route.port, known=isinstance(route, Missing) and route.known)
    destination = Destination(authority=authority, port=missing.port)
    refusal = missing.refusal(sidecar.egress)
    if refusal is not None:
        return Way(destination=destination, answer=refused(refusal))
    return Way(destination=destination, notes=(f"{missing.host} is of another world; egress is allowed there",))


def _destination(asking: Asking, authority: str, route: PortRoute) -> Destination:
    name, _, number = route.name.rpartition(":")
    if name in asking.config.services:
        return Destination(authority=authority, port=int(number), service=name)
    pods = {state.endpoint.pod for state in route.own.endpoints} - {""}
    return Destination(authority=authority, port=int(number), pod=next(iter(pods), name))


def _through(asking: Asking, route: PortRoute, destination: Destination) -> Way:
    """The splits of a port in turn, then the backends of the one that applies, else the Service's own endpoints."""
    if not asking.meshed:
        return _in_the_clear(asking, route, destination)
    rule, _ = route.rule_for(asking.head)
    port = asking.config.services[destination.service].ports[destination.port] if destination.service else None
    call = Call(route.policy, asking.head, 0.0) if route.policy is not None else None
    turns = [rule.backends[index] for index in rule.ready] if rule is not None else [route.own]
    endpoints, loop = _callable(asking.sidecar, turns)
    answer = loop
    if not endpoints and loop is None:
        refusal = rule.unready() if rule is not None else route.own.unready()
        answer = _after_waiting(refusal, call)
    return Way(
        destination=destination,
        answer=answer,
        splits=tuple(_splits(asking, port, route, rule, destination)) if port is not None else (),
        backends=tuple(_backends(asking, rule, route, destination)),
        calls=_calls(asking, destination, call),
        endpoints=endpoints,
    )


def _in_the_clear(asking: Asking, route: PortRoute, destination: Destination) -> Way:
    """A caller without sidecar: nothing of the mesh is on its side, and an address is called whether ready or not."""
    endpoints = tuple(state.endpoint for state in route.own.endpoints)
    backend = _backend(asking, route.own, 1.0 if endpoints else 0.0)
    addressed = asking.world.index.pods_by_ip.get(host_of(asking.dialled, asking.sidecar))
    if addressed is not None:
        endpoints = (endpoint_of(asking.world, addressed, destination.port),)
        backend = replace(backend, share=1.0, endpoints=(addressed.meta.key,), why="")
    return Way(
        destination=destination,
        answer=None if endpoints else refused(route.own.unready()),
        backends=(backend,),
        endpoints=endpoints,
        notes=("the caller has no sidecar: no split, retry or balancing of the mesh applies, and it has no identity",),
    )


def _callable(sidecar: Sidecar, turns: list[BackendRoute]) -> tuple[tuple[Endpoint, ...], Answer | None]:
    """The endpoints that may get the request. The sidecar itself is none; where nobody else is left that is the answer.

    Requests whose turn it is move on to another endpoint, also of another backend.
    """
    every = {state.endpoint: state.name for backend in turns for state in backend.endpoints}
    own = own_addresses(sidecar.listeners)
    others = tuple(endpoint for endpoint in every if dialled(endpoint) not in own)
    if every and not others:
        name = next(iter(every.values()))
        return (), refused(Unavailable(502, Reason.LOOP, f"{name} is this sidecar"))
    return others, None


def _after_waiting(refusal: Unavailable, call: Call | None) -> Answer:
    """With a retry policy a request waits for an endpoint first."""
    if refusal.reason is Reason.NO_ENDPOINT and call is not None and call.waits(0.0):
        return refused(no_endpoint("no endpoint became ready in time"), after=call.waits_until)
    return refused(refusal)


def _splits(
    asking: Asking, port: Port, route: PortRoute, applied: RuleRoute | None, destination: Destination
) -> Iterator[Split]:
    asked = True
    for rule, compiled in zip(port.rules, route.rules, strict=True):
        matches = None if rule.matches is None else tuple(explained(match, asking.head) for match in rule.matches)
        applies = compiled is applied
        yield Split(split=rule.split, asked=asked, applies=applies, why=_why(matches, asked, applies), matches=matches)
        asked = asked and not applies
    service = asking.world.objects.services.get(destination.service)
    for finding in effective_splits(asking.world, service)[1] if service is not None else ():
        name = f"{finding.namespace}/{finding.name}"
        yield Split(split=name, asked=False, applies=False, why=finding.message)


def _why(matches: tuple[Match, ...] | None, asked: bool, applies: bool) -> str:
    if not asked:
        return "not asked: one before it applies"
    if matches is None:
        return "it is for every request"
    if applies:
        return "match " + next(match.name for match in matches if match.accepts)
    if not matches:
        return "none of its HTTPRouteGroups has a match; it never applies"
    return "; ".join(f"{match.name} fails on {failing(match)}" for match in matches)


def _backends(asking: Asking, rule: RuleRoute | None, route: PortRoute, destination: Destination) -> Iterator[Backend]:
    """Those that take turns with their shares, and those that are left out."""
    if rule is None:
        yield _backend(asking, route.own, 1.0 if route.own.endpoints else 0.0)
        return
    turning = sum(rule.backends[index].weight for index in rule.ready)
    for index, backend in enumerate(rule.backends):
        yield _backend(asking, backend, backend.weight / turning if index in rule.ready else 0.0)
    split = asking.world.objects.splits.get(rule.split)
    if split is None:
        return
    known = {backend.name for backend in rule.backends}
    for written in split.backends:
        key = service_key(written.service, split.meta.namespace, asking.sidecar.cluster_domain)
        if key is None or key not in known:
            yield _missing(asking.world, split, written, key, destination.port)


def _missing(world: World, split: TrafficSplit, written: SplitBackend, key: str | None, port: int) -> Backend:
    """A backend of the split that never came into the config."""
    service = world.objects.services.get(key) if key is not None else None
    if key is None:
        why = f"left out: not a Service of namespace {split.meta.namespace}"
    elif service is None:
        why = "left out: the Service does not exist"
    elif service.type == "ExternalName":
        why = "left out: it is an ExternalName"
    elif find_port(service, port) is None:
        why = f"left out: it has no port {port}"
    else:
        why = "left out: its sidecar has not been told of it yet"
    return Backend(service=key or written.service, weight=0, share=0.0, why=why)


def _backend(asking: Asking, backend: BackendRoute, share: float) -> Backend:
    balancer = backend.balancer
    key = asking.head.header(balancer.header) if balancer.header else None
    chosen = balancer.choose(backend.endpoints, _SETTLED, lambda: 0.0, (), key) if key is not None else None
    why = ""
    if not backend.weight:
        why = "weight 0"
    elif not backend.endpoints:
        why = "no ready endpoint"
    algorithm = next(name for kind, name in _ALGORITHMS if isinstance(balancer, kind))
    return Backend(
        service=backend.name,
        weight=backend.weight,
        share=share,
        endpoints=tuple(state.name for state in backend.endpoints),
        algorithm=f"{algorithm}:{balancer.header}" if balancer.header else algorithm,
        chosen=chosen.name if chosen is not None else "",
        ejects_after=backend.breaker.consecutive_failures if backend.breaker is not None else 0,
        why=why,
    )


def _calls(asking: Asking, destination: Destination, call: Call | None) -> Calls | None:
    service = asking.config.services.get(destination.service)
    if service is None or service.policy is None or call is None:
        return None
    policy = service.policy
    return Calls(
        retry=None if policy.retry is None else _retry(policy.retry, call, asking.head),
        request_timeout=policy.request_timeout,
        response_timeout=policy.response_timeout,
        idle_timeout=policy.idle_timeout,
    )


def _retry(terms: RetryTerms, call: Call, head: RequestHead) -> Retry:
    repeats = call.attempts is not None
    return Retry(
        repeats=repeats,
        why=_why_repeated(terms, head, repeats),
        on=tuple(_occasions(terms)),
        limit=terms.limit,
        waits=call.waits_until if call.waits(0.0) else 0.0,
        try_timeout=terms.try_timeout,
        backoff=(terms.backoff_min, terms.backoff_max),
        budget={"ratio": terms.budget_ratio, "min": terms.budget_min, "ttl": terms.budget_ttl},
    )


def _why_repeated(terms: RetryTerms, head: RequestHead, repeats: bool) -> str:
    routes = [match for match in terms.routes or () if explained(match, head).accepts]
    if terms.routes is not None and not routes:
        return "none of the routes that are retried matches"
    idempotent = head.method in IDEMPOTENT
    if repeats:
        return f"{head.method} is idempotent" if idempotent else f"a route names {head.method}"
    return f"{head.method} is not idempotent, and no route that matches names it"


def _occasions(terms: RetryTerms) -> Iterator[str]:
    """The conditions as the annotation has them."""
    for first, last in terms.statuses:
        yield str(first) if first == last else f"{first}-{last}"
    names = {code: name for name, code in GRPC_NAMES.items()}
    yield from (names[code] for code in terms.grpc)
    if terms.connect_failure:
        yield "connect-failure"
    if terms.reset:
        yield "reset"
