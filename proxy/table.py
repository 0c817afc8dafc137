"""The routing table: a compiled config made ready to be asked once per request.

Built whole from a ``Config`` and swapped by one assignment; a request keeps the
table it started with. What must outlive a swap lives beside it and is only
referred to here: endpoints (``proxy.endpoints``) and the positions of splits
(``Wheels``). Pure: no I/O, no clock.

From a TrafficSplit's weight to an endpoint: ``Rule.wheel`` (``proxy.split``)
picks the backend, ``proxy.balance.choose`` the endpoint inside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.authorize import Authorizer
from proxy.contract.config import Cluster, Config, Endpoint, Port, Rule
from proxy.endpoints import Endpoints, EndpointState
from proxy.errors import ConfigRejected
from proxy.matching import Matcher, canonical_host, compile_match, split_authority
from proxy.split import Wheel

if TYPE_CHECKING:
    from proxy.http1.head import RequestHead

# Authorities as clients write them, remembered with their route; more and the memory starts anew.
_REMEMBERED = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendRoute:
    """One leaf: the endpoints that are ready."""

    name: str
    weight: int
    endpoints: tuple[EndpointState, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRoute:
    """One split on one port. ``matchers`` None: every request."""

    split: str
    matchers: tuple[Matcher, ...] | None
    backends: tuple[BackendRoute, ...]
    wheel: Wheel
    ready: tuple[int, ...]
    """Indexes of the backends that have a weight and an endpoint: those that take turns."""

    def applies(self, head: RequestHead) -> str | None:
        """The name of the match by which the split speaks of this request (empty: of every request), else None."""
        if self.matchers is None:
            return ""
        for matcher in self.matchers:
            if matcher.accepts(head):
                return matcher.name
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRoute:
    """One port of a Service, or of one pod: the first rule that applies, else ``own``."""

    name: str
    rules: tuple[RuleRoute, ...]
    own: BackendRoute
    looks_at_path: bool
    """Whether a rule has a path condition."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A name of the mesh without that port (``known``), or no name of the mesh."""

    host: str
    port: int
    known: bool


@dataclass(frozen=True, slots=True)
class Unasked:
    """A host this sidecar has never asked the controller for."""

    host: str
    port: int


Route = PortRoute | Missing | Unasked


class Wheels:
    """The positions of all splits, by split and port; a wheel starts anew when its backends or weights change."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._wheels: dict[tuple[str, str], Wheel] = {}

    def get(self, port: str, rule: Rule) -> Wheel:
        """The wheel of ``rule`` at ``port``."""
        names = tuple(backend.cluster for backend in rule.backends)
        weights = tuple(backend.weight for backend in rule.backends)
        wheel = self._wheels.get((port, rule.split))
        if wheel is None or wheel.names != names or wheel.weights != weights:
            wheel = self._wheels[port, rule.split] = Wheel(names, weights, f"{self._seed} {port}")
        return wheel

    def keep(self, used: set[tuple[str, str]]) -> None:
        """Forget all others."""
        self._wheels = {key: wheel for key, wheel in self._wheels.items() if key in used}


class Table:
    """One config in force. Raises ``ConfigRejected`` when it refers to what it does not have."""

    def __init__(self, config: Config, endpoints: Endpoints, wheels: Wheels, own_identity: str) -> None:
        self.config = config
        self.authorizer = Authorizer(config.inbound, own_identity)
        self._endpoints = endpoints
        self._clusters = {key: self._states(cluster) for key, cluster in config.clusters.items()}
        self._ports = {
            (name, number): self._port(f"{name}:{number}", port, wheels)
            for name, service in config.services.items()
            for number, port in service.ports.items()
        }
        self._pods = {
            (host, number): self._pod(host, number, cluster)
            for host, answer in config.hosts.items()
            for number, cluster in answer.pod.items()
        }
        self._by_address = {service.cluster_ip: name for name, service in config.services.items() if service.cluster_ip}
        self._by_authority: dict[tuple[bytes, int], PortRoute] = {}

    def _states(self, cluster: Cluster) -> tuple[EndpointState, ...]:
        return tuple(self._endpoints.get(endpoint) for endpoint in cluster.endpoints)

    def _backend(self, name: str, cluster: str, weight: int = 1) -> BackendRoute:
        endpoints = self._clusters.get(cluster)
        if endpoints is None:
            raise ConfigRejected(f"cluster {cluster} is referred to but missing")
        return BackendRoute(name=name, weight=weight, endpoints=endpoints)

    def _port(self, name: str, port: Port, wheels: Wheels) -> PortRoute:
        rules = tuple(self._rule(rule, wheels.get(name, rule)) for rule in port.rules)
        return PortRoute(
            name=name,
            rules=rules,
            own=self._backend(name.rpartition(":")[0], port.cluster),
            looks_at_path=any(m.looks_at_path for rule in rules for m in rule.matchers or ()),
        )

    def _rule(self, rule: Rule, wheel: Wheel) -> RuleRoute:
        backends = tuple(self._backend(b.service, b.cluster, b.weight) for b in rule.backends)
        return RuleRoute(
            split=rule.split,
            matchers=None if rule.matches is None else tuple(compile_match(match) for match in rule.matches),
            backends=backends,
            wheel=wheel,
            ready=tuple(i for i, backend in enumerate(backends) if backend.weight and backend.endpoints),
        )

    def _pod(self, host: str, number: int, cluster: str) -> PortRoute:
        return PortRoute(name=f"{host}:{number}", rules=(), own=self._backend(host, cluster), looks_at_path=False)

    def route(self, authority: bytes, default_port: int, namespace: str, cluster_domain: str) -> Route:
        """Where ``host[:port]`` leads for a pod in ``namespace``."""
        found = self._by_authority.get((authority, default_port))
        if found is not None:
            return found
        name, port = split_authority(authority)
        route = self._find(canonical_host(name, namespace, cluster_domain), port or default_port)
        if isinstance(route, PortRoute):
            if len(self._by_authority) >= _REMEMBERED:
                self._by_authority.clear()
            self._by_authority[authority, default_port] = route
        return route

    def _find(self, host: str, port: int) -> Route:
        answer = self.config.hosts.get(host)
        if answer is not None and answer.pod:
            return self._pods.get((host, port)) or Missing(host, port, known=True)
        if answer is not None and answer.service:
            service = answer.service
        elif host in self._by_address:
            service = self._by_address[host]
        else:
            name, _, namespace = host.partition(".")
            service = f"{namespace}/{name}"
            if service not in self.config.services:
                return Unasked(host, port) if answer is None else Missing(host, port, known=False)
        return self._ports.get((service, port)) or Missing(host, port, known=True)

    def endpoints(self) -> set[Endpoint]:
        """Every endpoint the table refers to."""
        return {endpoint for cluster in self.config.clusters.values() for endpoint in cluster.endpoints}

    def wheels(self) -> set[tuple[str, str]]:
        """Every wheel the table refers to."""
        return {(port.name, rule.split) for port in self._ports.values() for rule in port.rules}
