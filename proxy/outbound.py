"""Outbound: from the application's request to an endpoint of the Service it names.

The authority names a Service (or a pod), the first split that applies picks a
backend, the balancer an endpoint. Names never seen are asked of the
controller; names of another world are refused unless egress is allowed.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Collection
from time import monotonic
from typing import TYPE_CHECKING, Final

from proxy.connect import Connect
from proxy.contract.check import is_host
from proxy.contract.config import Endpoint, Sidecar
from proxy.contract.report import Labels
from proxy.counters import Series
from proxy.endpoints import EndpointState
from proxy.errors import BadRequest, Reason, Refusal, Unavailable, breaker_open, no_endpoint
from proxy.forward import Exchange
from proxy.forwarding import Forwarding
from proxy.matching import split_authority
from proxy.original import authority_of
from proxy.relay import Relay
from proxy.retry import left_out
from proxy.sniff import Heard
from proxy.subscribe import Subscription
from proxy.table import BackendRoute, Missing, PortRoute, RuleRoute, Table, Unasked

if TYPE_CHECKING:
    from proxy.http1.server import ServerConnection

log = logging.getLogger("proxy.outbound")

# Seconds to wait for the controller to say what a name means. It answers in milliseconds when it is there.
RESOLVE_TIMEOUT: Final = 2.0
# Requests to names that lead nowhere, and to names of another world: which, a client could choose without end.
_NOWHERE: Final = Labels(direction="outbound")
_EGRESS: Final = Labels(direction="outbound", destination="egress")
# Endpoints outside the mesh remembered at once (only with egress allowed).
MAX_EGRESS: Final = 256


class Chosen:
    """What was decided for one request: the port, the split (if any), the match it applies by, and the backend."""

    __slots__ = ("backend", "match", "port", "rule")

    def __init__(self, port: PortRoute, rule: RuleRoute | None, match: str, backend: BackendRoute) -> None:
        self.port = port
        self.rule = rule
        self.match = match
        self.backend = backend


class Outbound:
    """The router of outbound requests. ``table`` gives the table in force, ``subscription`` who is asked for names."""

    def __init__(
        self, sidecar: Sidecar, table: Callable[[], Table], subscription: Callable[[], Subscription | None]
    ) -> None:
        self._sidecar = sidecar
        self._table = table
        self._subscription = subscription
        self._egress: dict[tuple[str, int], EndpointState] = {}
        self._waiting: set[Exchange] = set()
        self.heard = Heard()
        self.forwarding: Forwarding

    def render(self, exchange: Exchange) -> tuple[bytes, ...]:
        """See ``proxy.forwarding.Router``."""
        head = exchange.head
        return (head.method.encode(), b" ", head.target, b" HTTP/1.1\r\nhost: ", head.authority, b"\r\n")

    def select(self, exchange: Exchange) -> EndpointState | None:
        """See ``proxy.forwarding.Router``."""
        chosen = exchange.route
        if chosen is not None and not exchange.again:
            if isinstance(chosen, Chosen):
                return self._move(exchange, chosen)
            raise no_endpoint("no other endpoint")
        authority = exchange.down.connect_authority or exchange.head.authority
        table, sidecar = self._table(), self._sidecar
        route = table.route(authority, 80, sidecar.namespace, sidecar.cluster_domain)
        if isinstance(route, PortRoute):
            if isinstance(exchange, Connect):
                self._enter(exchange)
                return None
            if route.headless:
                route = table.meant(route, exchange.head.authority, sidecar.namespace, sidecar.cluster_domain)
            return self._through(exchange, route)
        exchange.series = self.forwarding.counters.series(_NOWHERE)
        if not authority:
            raise BadRequest("a request without Host names no destination")
        if isinstance(route, Missing):
            return self._elsewhere(exchange, route)
        subscription = self._subscription()
        if subscription is None or not is_host(route.host):
            return self._elsewhere(exchange, Missing(route.host, route.port, known=False))
        self.forwarding.spawn(self._learn(exchange, route.host, subscription))
        return None

    def given_up(self, exchange: Exchange) -> None:
        """See ``proxy.forwarding.Router``."""
        self._waiting.discard(exchange)

    def table_changed(self) -> None:
        """Another table is in force: whoever waits for an endpoint may have one now."""
        waiting, self._waiting = self._waiting, set()
        for exchange in waiting:
            exchange.attempt()

    def _enter(self, exchange: Connect) -> None:
        if exchange.down.connect_authority:
            raise BadRequest("CONNECT inside CONNECT", 405)
        exchange.enter()

    def _through(self, exchange: Exchange, port: PortRoute) -> EndpointState | None:
        head = exchange.head
        # First: it notes the path that the policy may look at too.
        rule, match = port.rule_for(head)
        if port.policy is not None and exchange.patience is None:
            exchange.begin_policy(port.policy)
        try:
            if rule is not None:
                return self._split(exchange, port, rule, match)
            now = monotonic()
            excluded = _excluded(exchange, (port.own,), now) if exchange.tried else ()
            return self._settle(exchange, Chosen(port, None, "", port.own), now, excluded)
        except Unavailable as refusal:
            split = rule.split if rule is not None else ""
            labels = Labels(direction="outbound", destination=port.name, split=split, match=match)
            exchange.series = self.forwarding.counters.series(labels)
            patience = exchange.patience
            if refusal.reason is not Reason.NO_ENDPOINT or patience is None or not patience.waits():
                raise
            exchange.route = None  # decided anew then
            exchange.waiting = True
            self._waiting.add(exchange)
            return None

    def _split(self, exchange: Exchange, port: PortRoute, rule: RuleRoute, match: str) -> EndpointState:
        """The backend whose turn it is; one that the breaker keeps from serving leaves its turn to the others."""
        ready, now = rule.ready, monotonic()
        excluded = _excluded(exchange, [rule.backends[i] for i in ready], now) if exchange.tried else ()
        while True:
            backend = pick_backend(rule, ready)
            try:
                return self._settle(exchange, Chosen(port, rule, match, backend), now, excluded)
            except Unavailable:
                ready = tuple(i for i in ready if rule.backends[i] is not backend)
                if not ready:
                    raise

    def _settle(
        self, exchange: Exchange, chosen: Chosen, now: float, excluded: Collection[EndpointState]
    ) -> EndpointState:
        """An endpoint of the backend that is chosen. Raises ``Unavailable``."""
        backend = chosen.backend
        exchange.route = chosen
        exchange.breaker = backend.breaker
        key = exchange.head.header(backend.balancer.header) if backend.balancer.header else None
        endpoint = backend.balancer.choose(backend.endpoints, now, random.random, excluded, key, backend.breaker)
        if endpoint is not None:
            exchange.series = self._counted(chosen, endpoint)
            return endpoint
        if not backend.endpoints:
            raise backend.unready()
        if backend.breaker is not None and not any(one.circuit.admits(now) for one in backend.endpoints):
            raise breaker_open(f"{backend.name}: every endpoint has failed too often")
        raise no_endpoint(f"{backend.name}: every endpoint has been tried")

    def _counted(self, chosen: Chosen, endpoint: EndpointState) -> Series:
        rule, backend = chosen.rule, chosen.backend
        key = (chosen.port.name, rule.split if rule is not None else "", chosen.match, backend.name)
        series = endpoint.series.get(key)
        if series is None:
            target = endpoint.endpoint
            labels = Labels(
                direction="outbound",
                destination=key[0],
                split=key[1],
                match=chosen.match,
                backend=backend.name if rule is not None else "",
                pod=endpoint.name,
                workload=target.workload,
                peer=target.identity if target.mesh else "",
                tls="true" if target.mesh else "no_identity",
            )
            series = endpoint.series[key] = self.forwarding.counters.series(labels)
        return series

    def _move(self, exchange: Exchange, chosen: Chosen) -> EndpointState:
        """Another endpoint of the same backend, else of another backend with a weight.

        An old connection that broke says nothing against its backend: a new one is tried before another backend,
        so that a split stays exact.
        """
        now = monotonic()
        candidates = [chosen.backend]
        if chosen.rule is not None and not exchange.stale:
            candidates += [b for b in chosen.rule.backends if b.weight and b is not chosen.backend]
        for backend in candidates:
            try:
                following = Chosen(chosen.port, chosen.rule, chosen.match, backend)
                return self._settle(exchange, following, now, exchange.tried)
            except Unavailable:
                continue
        raise no_endpoint(f"{chosen.port.name}: every endpoint has been tried")

    def _elsewhere(self, exchange: Exchange, missing: Missing) -> EndpointState:
        refusal = missing.refusal(self._sidecar.egress)
        if refusal is not None:
            raise refusal
        host, port = split_authority(exchange.down.connect_authority or exchange.head.authority)
        exchange.route = missing
        exchange.series = self.forwarding.counters.series(_EGRESS)
        return self._beyond(host, port or 80)

    def _beyond(self, host: str, port: int) -> EndpointState:
        """Somebody who is not of this mesh."""
        state = self._egress.get((host, port))
        if state is None:
            if len(self._egress) >= MAX_EGRESS:
                for old in self._egress.values():
                    old.retire(monotonic())
                self._egress.clear()
            endpoint = Endpoint(ip=host.strip("[]"), port=port)
            state = self._egress[host, port] = EndpointState(endpoint, monotonic())
        return state

    async def destination(self, address: str, port: int) -> PortRoute | Missing:
        """What stands at an address that a connection was going to; the controller is asked where nobody knows.

        One that nobody can tell about (no controller, no answer in time) is none of this mesh.
        """
        authority = authority_of(address, port)
        for _ in range(2):
            route = self._table().route(authority, port, self._sidecar.namespace, self._sidecar.cluster_domain)
            if not isinstance(route, Unasked):
                return route
            subscription = self._subscription()
            if subscription is None or not is_host(route.host):
                break
            try:
                await subscription.resolve(route.host, RESOLVE_TIMEOUT)
            except Refusal as refusal:
                log.warning("nothing is known of %s, passed through: %s", authority.decode(), refusal)
                break
        return Missing(address, port, known=False)

    def relay(self, down: ServerConnection, address: str, port: int, route: PortRoute | Missing) -> None:
        """Carry a connection that is not HTTP to where it was going."""

        def select(tried: list[EndpointState]) -> EndpointState:
            if isinstance(route, Missing):
                if tried:
                    raise no_endpoint(f"{address}:{port} does not answer")
                if route.known:
                    raise Unavailable(503, Reason.NO_SERVICE, f"{route.host} has no port {route.port}")
                return self._beyond(address, port)
            own, now = route.own, monotonic()
            found = own.balancer.choose(own.endpoints, now, random.random, tried, None, own.breaker)
            if found is None or found in tried:
                raise own.unready()
            return found

        Relay(down, select, framed=False)

    async def _learn(self, exchange: Exchange, host: str, subscription: Subscription) -> None:
        try:
            await subscription.resolve(host, RESOLVE_TIMEOUT)
        except Refusal as refusal:
            exchange.refuse(refusal)
        else:
            exchange.attempt()


def _excluded(exchange: Exchange, backends: Collection[BackendRoute], now: float) -> Collection[EndpointState]:
    """What a request that is sent again leaves out."""
    may = [
        endpoint
        for backend in backends
        for endpoint in backend.endpoints
        if backend.breaker is None or endpoint.circuit.admits(now)
    ]
    return left_out(exchange.tried, may)


def pick_backend(rule: RuleRoute, ready: tuple[int, ...]) -> BackendRoute:
    """The backend for the next request of a split, among the indexes ``ready``.

    Backends with a weight and a ready endpoint take turns; those without leave
    their share to the others. Raises ``Unavailable``.
    """
    index = rule.wheel.pick(ready)
    if index < 0:
        raise rule.unready()
    return rule.backends[index]
