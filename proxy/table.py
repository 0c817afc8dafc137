"""The routing table: a compiled config made ready to be asked once per request.

Built whole from a ``Config`` and swapped by one assignment; a request keeps the
table it started with. What must outlive a swap lives beside it and is only
referred to here: endpoints (``proxy.endpoints``) and the positions of splits
(``Wheels``). Pure: no I/O, no clock.

From a TrafficSplit's weight to an endpoint: ``Rule.wheel`` (``proxy.split``)
picks the backend, the ``Balancer`` of ``proxy.balance`` the endpoint inside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.authorize import Authorizer
from proxy.balance import Balancer, Balancers
from proxy.breaker import effective
from proxy.budget import Budget, Budgets, Terms, terms_of
from proxy.call import CallPolicy, compile_policy
from proxy.contract.config import Breaker, Cluster, Config, Policy, Port, Rule, Service
from proxy.endpoints import Endpoints, EndpointState
from proxy.errors import ConfigRejected, Reason, Unavailable, no_endpoint
from proxy.matching import Matcher, canonical_host, compile_match, split_authority
from proxy.paths import canonical_path
from proxy.split import Wheel

if TYPE_CHECKING:
    from proxy.http1.head import RequestHead

# Authorities as clients write them, remembered with their route; more and the memory starts anew.
_REMEMBERED: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendRoute:
    """One leaf: the endpoints that are ready, and how one of them is chosen."""

    name: str
    weight: int
    endpoints: tuple[EndpointState, ...]
    balancer: Balancer
    breaker: Breaker | None

    def unready(self) -> Unavailable:
        """What is answered while it has no endpoint: 503."""
        return no_endpoint(f"{self.name} has no ready endpoint")


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

    def unready(self) -> Unavailable:
        """What is answered while no backend takes turns: 503, never the root instead.

        Backends that do not exist or lack the port are none of ours: of those the config does not tell.
        """
        if not self.backends:
            return Unavailable(503, Reason.NO_SERVICE, f"no backend of TrafficSplit {self.split} exists with this port")
        if not any(backend.weight for backend in self.backends):
            detail = f"no backend of TrafficSplit {self.split} that exists with this port has a weight above 0"
            return Unavailable(503, Reason.WEIGHTS_ZERO, detail)
        return no_endpoint(f"no backend of TrafficSplit {self.split} has a ready endpoint")


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRoute:
    """One port of a Service, or of one pod: the first rule that applies, else ``own``."""

    name: str
    rules: tuple[RuleRoute, ...]
    own: BackendRoute
    looks_at_path: bool
    """Whether a rule or the policy has a path condition."""
    policy: CallPolicy | None
    protocol: str
    """What its owner says is spoken there (``Port.protocol``)."""
    headless: dict[str, PortRoute]
    """Of a pod's address: what a request there may name, by the Service's canonical host (``Host.headless``)."""

    def rule_for(self, head: RequestHead) -> tuple[RuleRoute | None, str]:
        """The first split that applies to a request, and the name of the match by which (see ``RuleRoute.applies``).

        Its canonical path is noted where something looks at it.
        """
        if self.looks_at_path:
            head.policy_path = canonical_path(head.path).path.decode("latin-1")
        for rule in self.rules:
            match = rule.applies(head)
            if match is not None:
                return rule, match
        return None, ""


@dataclass(frozen=True, slots=True)
class Missing:
    """A name of the mesh without that port (``known``), or no name of the mesh."""

    host: str
    port: int
    known: bool

    def refusal(self, egress: bool) -> Unavailable | None:
        """What is answered; None where names of another world are let through (``egress``)."""
        if self.known:
            return Unavailable(503, Reason.NO_SERVICE, f"{self.host} has no port {self.port}")
        if not egress:
            return Unavailable(502, Reason.EGRESS, f"{self.host} is not a name of this mesh")
        return None


@dataclass(frozen=True, slots=True)
class Unasked:
    """A host this sidecar has never asked the controller for."""

    host: str
    port: int


Route = PortRoute | Missing | Unasked


class Wheels:
    """The positions of all splits, by split and port; a wheel starts anew when its backends or weights change.

    ``get`` changes nothing, ``keep`` does: a config that is being looked at may be rejected yet.
    """

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._wheels: dict[tuple[str, str], Wheel] = {}

    def get(self, port: str, rule: Rule) -> Wheel:
        """The wheel of ``rule`` at ``port``."""
        names = tuple(backend.cluster for backend in rule.backends)
        weights = tuple(backend.weight for backend in rule.backends)
        wheel = self._wheels.get((port, rule.split))
        if wheel is None or wheel.names != names or wheel.weights != weights:
            wheel = Wheel(names, weights, f"{self._seed} {port}")
        return wheel

    def keep(self, used: dict[tuple[str, str], Wheel]) -> None:
        """These turn from now on; forget all others."""
        self._wheels = used


class Lasting:
    """What outlives tables: endpoints, where splits and balancers stand, budgets. ``seed`` is the pod."""

    def __init__(self, seed: str, now: Callable[[], float]) -> None:
        self.endpoints = Endpoints(now)
        self.wheels = Wheels(seed)
        self.balancers = Balancers(seed)
        self.budgets = Budgets(now)

    def keep(self, table: Table) -> None:
        """``table`` is in force: its terms hold, and what it does not refer to is forgotten."""
        config = table.config
        self.endpoints.keep(endpoint for cluster in config.clusters.values() for endpoint in cluster.endpoints)
        self.wheels.keep(table.wheels())
        self.balancers.keep(config.clusters)
        self.budgets.keep(table.budgets)


class Table:
    """One config in force. Raises ``ConfigRejected`` when it refers to what it does not have."""

    def __init__(self, config: Config, lasting: Lasting, own_identity: str) -> None:
        self.config = config
        self.authorizer = Authorizer(config.inbound, own_identity)
        self._lasting = lasting
        self._states = {key: self._endpoints(cluster) for key, cluster in config.clusters.items()}
        self.budgets: dict[str, tuple[Budget, Terms]] = {}
        self._ports: dict[tuple[str, int], PortRoute] = {}
        for name, service in config.services.items():
            policy = self._policy(name, service)
            for number, port in service.ports.items():
                self._ports[name, number] = self._port(f"{name}:{number}", port, policy)
        self._pods = {
            (host, number): self._pod(host, number, cluster, answer.headless.get(number, ()))
            for host, answer in config.hosts.items()
            for number, cluster in answer.pod.items()
        }
        self._by_address = {service.cluster_ip: name for name, service in config.services.items() if service.cluster_ip}
        self._by_authority: dict[tuple[bytes, int], PortRoute] = {}

    def _endpoints(self, cluster: Cluster) -> tuple[EndpointState, ...]:
        return tuple(self._lasting.endpoints.get(endpoint) for endpoint in cluster.endpoints)

    def _policy(self, name: str, service: Service) -> CallPolicy | None:
        policy: Policy | None = service.policy
        if policy is None:
            return None
        budget: Budget | None = None
        if policy.retry is not None:
            budget = self._lasting.budgets.get(name, policy.retry)
            self.budgets[name] = budget, terms_of(policy.retry)
        return compile_policy(policy, budget)

    def _backend(self, name: str, key: str, root: Cluster, weight: int = 1) -> BackendRoute:
        cluster = self._cluster(key)
        return BackendRoute(
            name=name,
            weight=weight,
            endpoints=self._states[key],
            balancer=self._lasting.balancers.get(key, cluster.balance, root.balance),
            breaker=effective(cluster.breaker, root.breaker),
        )

    def _cluster(self, key: str) -> Cluster:
        cluster = self.config.clusters.get(key)
        if cluster is None:
            raise ConfigRejected(f"cluster {key} is referred to but missing")
        return cluster

    def _port(self, name: str, port: Port, policy: CallPolicy | None) -> PortRoute:
        root = self._cluster(port.cluster)
        rules = tuple(self._rule(rule, root, self._lasting.wheels.get(name, rule)) for rule in port.rules)
        looks = any(m.looks_at_path for rule in rules for m in rule.matchers or ())
        return PortRoute(
            name=name,
            rules=rules,
            own=self._backend(name.rpartition(":")[0], port.cluster, root),
            looks_at_path=looks or (policy is not None and policy.looks_at_path),
            policy=policy,
            protocol=port.protocol,
            headless={},
        )

    def _rule(self, rule: Rule, root: Cluster, wheel: Wheel) -> RuleRoute:
        backends = tuple(self._backend(b.service, b.cluster, root, b.weight) for b in rule.backends)
        return RuleRoute(
            split=rule.split,
            matchers=None if rule.matches is None else tuple(compile_match(match) for match in rule.matches),
            backends=backends,
            wheel=wheel,
            ready=tuple(i for i, backend in enumerate(backends) if backend.weight and backend.endpoints),
        )

    def _pod(self, host: str, number: int, cluster: str, named: tuple[str, ...]) -> PortRoute:
        headless: dict[str, PortRoute] = {}
        for key in named:
            service, _, port = key.rpartition(":")
            namespace, _, name = service.partition("/")
            headless[f"{name}.{namespace}"] = self._named(service, int(port))
        return PortRoute(
            name=f"{host}:{number}",
            rules=(),
            own=self._backend(host, cluster, self._cluster(cluster)),
            looks_at_path=False,
            policy=None,
            protocol="",
            headless=headless,
        )

    def _named(self, service: str, port: int) -> PortRoute:
        found = self._ports.get((service, port))
        if found is None:
            raise ConfigRejected(f"port {port} of service {service} is referred to but missing")
        return found

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

    def meant(self, pod: PortRoute, authority: bytes, namespace: str, cluster_domain: str) -> PortRoute:
        """What a request is for that went to the address of ``pod``, whose Host is ``authority``.

        A client resolves the name of a headless Service to a pod: so a Host that names a Service the pod belongs to, at
        this port or at none, is what it asked for. Any other changes nothing.
        """
        name, port = split_authority(authority)
        if port and port != int(pod.name.rpartition(":")[2]):
            return pod
        return pod.headless.get(canonical_host(name, namespace, cluster_domain), pod)

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

    def wheels(self) -> dict[tuple[str, str], Wheel]:
        """Every wheel the table refers to, by port and split."""
        return {(port.name, rule.split): rule.wheel for port in self._ports.values() for rule in port.rules}
