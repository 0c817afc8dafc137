"""Outbound: from the application's request to an endpoint of the Service it names.

The authority names a Service (or a pod), the first split that applies picks a
backend, the balancer an endpoint. Names never seen are asked of the
controller; names of another world are refused unless egress is allowed.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from proxy.balance import choose
from proxy.connect import Connect
from proxy.contract.check import is_host
from proxy.contract.config import Endpoint, Sidecar
from proxy.contract.report import Labels
from proxy.counters import Series
from proxy.endpoints import EndpointState
from proxy.errors import BadRequest, Reason, Refusal, Unavailable, no_endpoint
from proxy.forward import Exchange, Forwarding
from proxy.matching import split_authority
from proxy.paths import canonical_path
from proxy.subscribe import Subscription
from proxy.table import BackendRoute, Missing, PortRoute, RuleRoute, Table

# Seconds to wait for the controller to say what a name means. It answers in milliseconds when it is there.
RESOLVE_TIMEOUT = 2.0
# Requests to names that lead nowhere, and to names of another world: which, a client could choose without end.
_NOWHERE = Labels(direction="outbound")
_EGRESS = Labels(direction="outbound", destination="egress")
# Endpoints outside the mesh remembered at once (only with egress allowed).
MAX_EGRESS = 256


class Chosen(NamedTuple):
    """What was decided for one request: the port, the split (if any), the match it applies by, and the backend."""

    port: PortRoute
    rule: RuleRoute | None
    match: str
    backend: BackendRoute


class Outbound:
    """The router of outbound requests. ``table`` gives the table in force."""

    def __init__(self, sidecar: Sidecar, table: Callable[[], Table], subscription: Subscription | None) -> None:
        self._sidecar = sidecar
        self._table = table
        self._subscription = subscription
        self._egress: dict[tuple[str, int], EndpointState] = {}
        self.forwarding: Forwarding

    def render(self, exchange: Exchange) -> tuple[bytes, ...]:
        """See ``proxy.forward.Router``."""
        head = exchange.head
        return (head.method.encode(), b" ", head.target, b" HTTP/1.1\r\nhost: ", head.authority, b"\r\n")

    def select(self, exchange: Exchange) -> EndpointState | None:
        """See ``proxy.forward.Router``."""
        chosen = exchange.route
        if chosen is None:
            authority = exchange.down.connect_authority or exchange.head.authority
            route = self._table().route(authority, 80, self._sidecar.namespace, self._sidecar.cluster_domain)
            if isinstance(route, PortRoute):
                if isinstance(exchange, Connect):
                    self._enter(exchange)
                    return None
                return self._through(exchange, route)
            exchange.series = self.forwarding.counters.series(_NOWHERE)
            if not authority:
                raise BadRequest("a request without Host names no destination")
            if isinstance(route, Missing):
                return self._elsewhere(exchange, route)
            if self._subscription is None or not is_host(route.host):
                return self._elsewhere(exchange, Missing(route.host, route.port, known=False))
            self.forwarding.spawn(self._learn(exchange, route.host, self._subscription))
            return None
        if isinstance(chosen, Chosen):
            return self._again(exchange, chosen)
        raise no_endpoint("no other endpoint")

    def _enter(self, exchange: Connect) -> None:
        if exchange.down.connect_authority:
            raise BadRequest("CONNECT inside CONNECT", 405)
        exchange.enter()

    def _through(self, exchange: Exchange, port: PortRoute) -> EndpointState:
        rule: RuleRoute | None = None
        match: str | None = ""
        if port.rules:
            head = exchange.head
            if port.looks_at_path:
                head.policy_path = canonical_path(head.path).path.decode("latin-1")
            for candidate in port.rules:
                match = candidate.applies(head)
                if match is not None:
                    rule = candidate
                    break
        match = match or ""
        try:
            backend = port.own if rule is None else pick_backend(rule)
            chosen = exchange.route = Chosen(port, rule, match, backend)
            endpoint = choose(backend.endpoints, self.forwarding.loop.time(), random.random)
            if endpoint is None:
                raise no_endpoint(f"{backend.name} has no ready endpoint")
        except Refusal:
            labels = Labels(
                direction="outbound", destination=port.name, split=rule.split if rule is not None else "", match=match
            )
            exchange.series = self.forwarding.counters.series(labels)
            raise
        exchange.series = self._counted(chosen, endpoint)
        return endpoint

    def _counted(self, chosen: Chosen, endpoint: EndpointState) -> Series:
        port, rule, match, backend = chosen
        key = (port.name, rule.split if rule is not None else "", match, backend.name)
        series = endpoint.series.get(key)
        if series is None:
            target = endpoint.endpoint
            labels = Labels(
                direction="outbound",
                destination=key[0],
                split=key[1],
                match=match,
                backend=backend.name if rule is not None else "",
                pod=endpoint.name,
                workload=target.workload,
                peer=target.identity if target.mesh else "",
                tls="true" if target.mesh else "no_identity",
            )
            series = endpoint.series[key] = self.forwarding.counters.series(labels)
        return series

    def _again(self, exchange: Exchange, chosen: Chosen) -> EndpointState:
        """Another endpoint of the same backend, else of another backend with a weight.

        An old connection that broke says nothing against its backend: a new one is tried before another backend,
        so that a split stays exact.
        """
        now = self.forwarding.loop.time()
        candidates = [chosen.backend]
        if chosen.rule is not None and not exchange.stale:
            candidates += [b for b in chosen.rule.backends if b.weight and b is not chosen.backend]
        for backend in candidates:
            endpoint = choose(backend.endpoints, now, random.random, exchange.tried)
            if endpoint is not None:
                exchange.series = self._counted(chosen._replace(backend=backend), endpoint)
                return endpoint
        raise no_endpoint(f"{chosen.port.name}: every endpoint has been tried")

    def _elsewhere(self, exchange: Exchange, missing: Missing) -> EndpointState:
        if missing.known:
            raise Unavailable(503, Reason.NO_SERVICE, f"{missing.host} has no port {missing.port}")
        if not self._sidecar.egress:
            raise Unavailable(502, Reason.EGRESS, f"{missing.host} is not a name of this mesh")
        host, port = split_authority(exchange.head.authority)
        port = port or 80
        exchange.route = missing
        exchange.series = self.forwarding.counters.series(_EGRESS)
        state = self._egress.get((host, port))
        if state is None:
            if len(self._egress) >= MAX_EGRESS:
                for old in self._egress.values():
                    old.retire()
                self._egress.clear()
            endpoint = Endpoint(ip=host.strip("[]"), port=port)
            state = self._egress[host, port] = EndpointState(endpoint, self.forwarding.loop.time())
        return state

    async def _learn(self, exchange: Exchange, host: str, subscription: Subscription) -> None:
        try:
            await subscription.resolve(host, RESOLVE_TIMEOUT)
        except Refusal as refusal:
            exchange.refuse(refusal)
        else:
            exchange.attempt()


def pick_backend(rule: RuleRoute) -> BackendRoute:
    """The backend for the next request of a split.

    Backends with a weight and a ready endpoint take turns; those without leave
    their share to the others. Raises ``Unavailable``: 503, never the root instead.
    """
    backends = rule.backends
    index = rule.wheel.pick(rule.ready)
    if index >= 0:
        return backends[index]
    if not backends:
        raise Unavailable(503, Reason.NO_SERVICE, f"no backend of TrafficSplit {rule.split} exists")
    if not any(backend.weight for backend in backends):
        raise Unavailable(503, Reason.WEIGHTS_ZERO, f"all weights of TrafficSplit {rule.split} are 0")
    raise no_endpoint(f"no backend of TrafficSplit {rule.split} has a ready endpoint")
