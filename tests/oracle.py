"""An independent reading of the rules for TrafficTargets and TrafficSplits, as naive as can be.

Written from the prose of the specification and not from the compiler: it looks
at the objects as they are, one question at a time, searches lists, keeps no
index and shares no code with the product beyond the object classes. Slow and plain on purpose.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from proxy.contract.config import DefaultPolicy
from smi.access import IdentityBinding, Subject, TargetRule, TrafficTarget
from smi.specs import HTTPMatch, HTTPRouteGroup, TCPRoute
from smi.split import TrafficSplit
from smi.workloads import Namespace, Pod, Service
from translator.world import Named


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Everything there is."""

    objects: tuple[Named, ...]
    pods: tuple[Pod, ...]
    trust_domain: str = "cluster.local"
    default_policy: DefaultPolicy = "same-identity"


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request; ``path`` is canonical and without query, header names are in lower case."""

    method: str = "GET"
    path: str = "/"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Route:
    """Where a request goes: shares of the ready backends' pods, or a failure."""

    shares: Mapping[str, Fraction] = field(default_factory=dict)
    failure: str = ""


# --- access ---------------------------------------------------------------------------------------------------------


def allowed(scene: Scene, caller: Pod | None, destination: Pod, port: int, request: Request | None) -> bool:
    """May ``caller`` (None: no identity) reach container port ``port``? ``request`` None: not HTTP."""
    if annotation(scene, destination, "policy-mode", {"enforce", "audit"}, "enforce") == "audit":
        return True
    if caller is None and annotation(scene, destination, "unmeshed", {"allow", "deny"}, "deny") == "allow":
        return True
    naming = [t for t in scene.objects if isinstance(t, TrafficTarget) and names(scene, t, destination)]
    if naming:
        return caller is not None and any(lets_in(scene, t, caller, port, request) for t in naming)
    policies = {"same-identity", "deny", "allow"}
    policy = annotation(scene, destination, "default-policy", policies, scene.default_policy)
    if policy == "allow":
        return True
    if policy == "deny" or caller is None:
        return False
    return spiffe(scene, caller) == spiffe(scene, destination)


def annotation(scene: Scene, pod: Pod, name: str, values: set[str], mesh: str) -> str:
    """Pod wins over namespace, namespace over the mesh; values that are none do not count."""
    for thing in scene.objects:
        if isinstance(thing, Namespace) and thing.meta.name == pod.meta.namespace:
            value = thing.meta.annotations.get(f"smi-mesh.io/{name}", mesh)
            mesh = value if value in values else mesh
    value = pod.meta.annotations.get(f"smi-mesh.io/{name}", mesh)
    return value if value in values else mesh


def spiffe(scene: Scene, pod: Pod) -> str:
    return f"spiffe://{scene.trust_domain}/ns/{pod.meta.namespace}/sa/{pod.service_account}"


def names(scene: Scene, target: TrafficTarget, pod: Pod) -> bool:
    """Does the target name the pod as its destination?"""
    if target.destination is None:
        return False
    home = target.meta.namespace
    if (target.destination.namespace or home) != home or pod.meta.namespace != home:
        return False
    return is_subject(scene, target.destination, home, pod)


def is_subject(scene: Scene, subject: Subject, home: str, pod: Pod) -> bool:
    """Is the pod one of those that the subject means?"""
    namespace = subject.namespace or home
    if subject.kind == "ServiceAccount":
        return (pod.meta.namespace, pod.service_account) == (namespace, subject.name)
    if subject.kind != "IdentityBinding":
        return False
    return any(
        isinstance(binding, IdentityBinding)
        and (binding.meta.namespace, binding.meta.name) == (namespace, subject.name)
        and is_bound(scene, binding, pod)
        for binding in scene.objects
    )


def is_bound(scene: Scene, binding: IdentityBinding, pod: Pod) -> bool:
    if pod.meta.namespace != binding.meta.namespace:
        return False
    if binding.service_account and pod.service_account == binding.service_account:
        return True
    if binding.pod_labels and set(binding.pod_labels.items()) <= set(pod.meta.labels.items()):
        return True
    mine = spiffe(scene, pod)
    return any(text in (mine, mine[len("spiffe://") :]) for text in binding.spiffe_identities)


def lets_in(scene: Scene, target: TrafficTarget, caller: Pod, port: int, request: Request | None) -> bool:
    """One target as a unit: source ∧ L4 ∧ L7."""
    if not any(is_subject(scene, source, target.meta.namespace, caller) for source in target.sources):
        return False
    if target.port is not None and target.port != port:
        return False
    tcp = [rule for rule in target.rules if rule.kind == "TCPRoute"]
    http = [rule for rule in target.rules if rule.kind == "HTTPRouteGroup"]
    known = {"TCPRoute", "HTTPRouteGroup", "UDPRoute"}
    if any(rule.kind not in known for rule in target.rules):
        return False
    if not tcp and not http:
        return False
    if tcp and not any(port_fits(scene, target, rule, port) for rule in tcp):
        return False
    return not http or any(request is not None and request_fits(scene, target, rule, request) for rule in http)


def port_fits(scene: Scene, target: TrafficTarget, rule: TargetRule, port: int) -> bool:
    return any(
        isinstance(route, TCPRoute)
        and (route.meta.namespace, route.meta.name) == (target.meta.namespace, rule.name)
        and (not route.ports or port in route.ports)
        for route in scene.objects
    )


def request_fits(scene: Scene, target: TrafficTarget, rule: TargetRule, request: Request) -> bool:
    for group in groups_named(scene, target.meta.namespace, rule.name):
        for match in group.matches:
            if (rule.matches is None or match.name in rule.matches) and meets(match, request):
                return True
    return False


def groups_named(scene: Scene, namespace: str, name: str) -> list[HTTPRouteGroup]:
    groups = [thing for thing in scene.objects if isinstance(thing, HTTPRouteGroup)]
    return [group for group in groups if (group.meta.namespace, group.meta.name) == (namespace, name)]


def meets(match: HTTPMatch, request: Request) -> bool:
    """All conditions of one match; absent ones hold."""
    if match.methods and "*" not in match.methods and request.method not in match.methods:
        return False
    if match.path_regex and re.match(match.path_regex, request.path) is None:
        return False
    for name, pattern in match.headers:
        value = request.headers.get(name.lower())
        if value is None or re.fullmatch(pattern, value) is None:
            return False
    return True


# --- splits ---------------------------------------------------------------------------------------------------------


def expected_route(scene: Scene, namespace: str, service: str, port: int, request: Request) -> Route:
    """Where a request to a Service's port goes: the weights of the ready pods' Services, or why it fails."""
    splits = [s for s in scene.objects if isinstance(s, TrafficSplit) and root_of(s) == (namespace, service)]
    splits.sort(key=lambda s: s.meta.name)
    splits.sort(key=lambda s: (s.meta.created is None, s.meta.created and s.meta.created.timestamp()))
    for split in splits:
        if split.matches and split_meets(scene, split, request):
            return shares_of(scene, split, port)
    for split in splits:
        if not split.matches:
            return shares_of(scene, split, port)
    key = f"{namespace}/{service}"
    return Route(shares={key: Fraction(1)}) if pods_behind(scene, key, port) else Route(failure="no-endpoint")


def root_of(split: TrafficSplit) -> tuple[str, str] | None:
    return own_service(split.service, split.meta.namespace)


def own_service(text: str, namespace: str) -> tuple[str, str] | None:
    """A short name, or a longer one that stays in the namespace."""
    tails = ("", f".{namespace}", f".{namespace}.svc", f".{namespace}.svc.cluster.local")
    for tail in tails:
        short = text.rstrip(".").lower()
        if short.endswith(tail) and "." not in short[: len(short) - len(tail)]:
            return namespace, short[: len(short) - len(tail)]
    return None


def split_meets(scene: Scene, split: TrafficSplit, request: Request) -> bool:
    return any(
        meets(match, request)
        for reference in split.matches
        if reference.kind == "HTTPRouteGroup"
        for group in groups_named(scene, split.meta.namespace, reference.name)
        for match in group.matches
    )


def shares_of(scene: Scene, split: TrafficSplit, port: int) -> Route:
    """Weights among the backends that exist, have the port, and are ready."""
    weights: dict[str, Fraction] = {}
    for backend in split.backends:
        place = own_service(backend.service, split.meta.namespace)
        if place is None:
            continue
        for service in scene.objects:
            if not isinstance(service, Service) or (service.meta.namespace, service.meta.name) != place:
                continue
            if service.type != "ExternalName" and any(p.port == port and p.protocol == "TCP" for p in service.ports):
                weights[service.meta.key] = weights.get(service.meta.key, Fraction(0)) + backend.weight
    if not weights:
        return Route(failure="no-service")
    if not sum(weights.values()):
        return Route(failure="weights-zero")
    ready = {key: weight for key, weight in weights.items() if weight and pods_behind(scene, key, port)}
    total = sum(ready.values())
    if not total:
        return Route(failure="no-endpoint")
    return Route(shares={key: weight / total for key, weight in ready.items()})


def pods_behind(scene: Scene, key: str, port: int) -> set[tuple[str, int]]:
    """Addresses and container ports of the ready pods behind a Service's port."""
    found = set()
    for service in scene.objects:
        if not isinstance(service, Service) or service.meta.key != key or not service.selector:
            continue
        for pod in scene.pods:
            chosen = set(service.selector.items()) <= set(pod.meta.labels.items())
            if not (pod.ready and chosen and pod.meta.namespace == service.meta.namespace):
                continue
            for number in container_ports(service, pod, port):
                found.add((pod.ip, number))
    return found


def container_ports(service: Service, pod: Pod, port: int) -> Sequence[int]:
    for entry in service.ports:
        if entry.port == port and entry.protocol == "TCP":
            if isinstance(entry.target_port, str):
                return [pod.ports[entry.target_port]] if entry.target_port in pod.ports else []
            return [entry.target_port or entry.port]
    return []
