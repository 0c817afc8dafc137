"""Linkerd's ServiceProfile in the terms of this mesh.

Routes become an HTTPRouteGroup, ``dstOverrides`` a TrafficSplit, retries and
time-outs annotations of the Service. Linkerd says some of it for each route that
we say for a Service; what gets lost is told, and nothing is guessed that would
retry or cut short more than Linkerd did. Pure. ``smi.rewrite`` is the caller.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from smi.convert import Doubt
from smi.errors import BadName
from smi.kept import Manifest
from smi.linkerd.routes import Requests, Unsayable, alternatives_of, anchored, may_overlap
from smi.names import ServiceName, check_label, shown
from smi.problems import Step
from smi.wire.base import is_digits
from smi.wire.kinds import ALPHAS, SPECS, SPLIT
from smi.wire.linkerd import Profile, RetryBudget, Route

LIMIT = 10
"""Attempts beyond the first. Linkerd counts none, its budget alone ends them; a budget seldom pays for more."""

MIN_TTL, MAX_TTL = 1, 60
"""Seconds between which Linkerd's proxy takes a budget's ttl."""

MAX_RATIO, MAX_RATE = 10, 1_000_000
"""What our annotation takes at most."""

RETRY, TIMEOUT = "retry.smi-mesh.io/", "timeout.smi-mesh.io/"

_SERVER_ERRORS = frozenset(range(500, 600))


@dataclass(frozen=True, slots=True, kw_only=True)
class Translated:
    """What a profile becomes: ``annotations`` for ``service``, and manifests. Without ``service`` nothing."""

    service: ServiceName | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    manifests: tuple[Manifest, ...] = ()
    doubts: tuple[Doubt, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Match:
    """A match of the group, and the number of the route that it is of."""

    route: int
    name: str
    requests: Requests


def translate(profile: Profile) -> Translated:
    """The HTTPRouteGroup (v1alpha4), the TrafficSplit (v1alpha1, its weights being quantities), the annotations."""
    service = _service(profile.metadata.name)
    if service is None:
        message = f"{shown(profile.metadata.name)} is no Service of a cluster: the profile is left as it is"
        return Translated(doubts=(_doubt("metadata", "name", message=message),))
    doubts: list[Doubt] = []
    if "namespace" in profile.metadata.model_fields_set and profile.metadata.namespace != service.namespace:
        message = f"a profile of clients in this namespace: here it holds for all callers of {'/'.join(service)}"
        doubts.append(_doubt("metadata", "namespace", message=message))
    if profile.spec.opaque_ports:
        message = "is left out: smi-mesh.io/opaque-ports goes on the pods or their namespace"
        doubts.append(_doubt("spec", "opaquePorts", message=message))
    matches = _matches(profile.spec.routes, doubts)
    group = f"{service.name}-routes"
    annotations = _retries(profile, matches, group, doubts) | _timeouts(profile.spec.routes, matches, doubts)
    manifests = [_group(group, service, matches)] if matches else []
    return Translated(
        service=service,
        annotations=annotations,
        manifests=(*manifests, *_split(profile, service, doubts)),
        doubts=tuple(doubts),
    )


def _doubt(*steps: Step, message: str) -> Doubt:
    return Doubt(places=(steps,), message=message)


def _service(authority: str) -> ServiceName | None:
    """The Service of ``svc.ns.svc.<cluster domain>``, with a port or without."""
    host, colon, port = authority.rpartition(":")
    labels = (host if colon and is_digits(port) else authority).rstrip(".").split(".")
    if len(labels) < 3 or labels[2] != "svc":
        return None
    try:
        return ServiceName(check_label(labels[1]), check_label(labels[0]))
    except BadName:
        return None


def _matches(routes: Sequence[Route], doubts: list[Doubt]) -> list[_Match]:
    found: list[_Match] = []
    for index, route in enumerate(routes):
        try:
            alternatives = alternatives_of(route.condition)
        except Unsayable as error:
            message = f"{error}: the route {shown(route.name)} is left out"
            doubts.append(_doubt("spec", "routes", index, "condition", message=message))
            continue
        for requests in alternatives:
            name = _distinct(route.name, {match.name for match in found})
            found.append(_Match(route=index, name=name, requests=requests))
    return found


def _distinct(text: str, taken: set[str]) -> str:
    """A name for a match: of a route's, what can stand in the annotation's comma list, once."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "route"
    number = 1
    while (distinct := name if number == 1 else f"{name}-{number}") in taken:
        number += 1
    return distinct


def _group(name: str, service: ServiceName, matches: Sequence[_Match]) -> Manifest:
    written = []
    for match in matches:
        methods = {} if match.requests.methods is None else {"methods": sorted(match.requests.methods)}
        path = {"pathRegex": anchored(match.requests.path)} if match.requests.path else {}
        written.append({"name": match.name, **methods, **path})
    return {
        "apiVersion": f"{SPECS}/{ALPHAS[-1]}",
        "kind": "HTTPRouteGroup",
        "metadata": {"name": name, "namespace": service.namespace},
        "spec": {"matches": written},
    }


def _retries(profile: Profile, matches: Sequence[_Match], group: str, doubts: list[Doubt]) -> dict[str, str]:
    """Only for retryable routes: any retry annotation would arm retries."""
    routes = profile.spec.routes
    retried = [match for match in matches if routes[match.route].is_retryable]
    for index, route in enumerate(routes):
        if route.response_classes and not route.is_retryable:
            message = "is left out: here the classes of responses only say what is retried"
            doubts.append(_doubt("spec", "routes", index, "responseClasses", message=message))
    if not retried:
        return {}
    doubts += _doubts_of_order(routes, matches, retried)
    named = [group] if len(retried) == len(matches) else [f"{group}/{match.name}" for match in retried]
    annotations = {
        f"{RETRY}on": ",".join([*_statuses(routes, doubts), "connect-failure", "reset"]),
        f"{RETRY}limit": str(LIMIT),
        f"{RETRY}routes": ",".join(named),
    }
    if profile.spec.retry_budget is not None:
        annotations |= _budget(profile.spec.retry_budget, doubts)
    return annotations


def _budget(budget: RetryBudget, doubts: list[Doubt]) -> dict[str, str]:
    if not MIN_TTL <= budget.ttl <= MAX_TTL:
        message = f"Linkerd takes {MIN_TTL} to {MAX_TTL} s, and the default budget otherwise: so it is here"
        doubts.append(_doubt("spec", "retryBudget", "ttl", message=message))
        return {}
    ratio, least = min(budget.retry_ratio, MAX_RATIO), min(budget.min_retries_per_second, MAX_RATE)
    if (ratio, least) != (budget.retry_ratio, budget.min_retries_per_second):
        message = f"here a ratio is at most {MAX_RATIO}, and retries a second {MAX_RATE}"
        doubts.append(_doubt("spec", "retryBudget", message=message))
    decimal = f"{ratio:.9f}".rstrip("0").rstrip(".")
    return {f"{RETRY}budget": f"ratio={decimal},min={least}/s,ttl={_written(budget.ttl)}"}


def _statuses(routes: Sequence[Route], doubts: list[Doubt]) -> list[str]:
    """What is a failure on all retryable routes, as the annotation writes it."""
    failures = {index: route.failures() for index, route in enumerate(routes) if route.is_retryable}
    common = frozenset.intersection(*failures.values())
    for index, statuses in failures.items():
        if statuses != common:
            message = "here all retried routes share one list of statuses: only those that fail on each are retried"
            doubts.append(_doubt("spec", "routes", index, "responseClasses", message=message))
    if common == _SERVER_ERRORS:
        return ["5xx"]
    starts = sorted(status for status in common if status - 1 not in common)
    ends = sorted(status for status in common if status + 1 not in common)
    return [f"{start}" if start == end else f"{start}-{end}" for start, end in zip(starts, ends, strict=True)]


def _doubts_of_order(routes: Sequence[Route], matches: Sequence[_Match], retried: Sequence[_Match]) -> Iterator[Doubt]:
    """Linkerd takes a request to the first route that holds; here one match that holds is enough."""
    for match in retried:
        at = ("spec", "routes", match.route)
        if match.requests.methods is None:
            message = "names no method: here only idempotent requests of it are retried"
            yield _doubt(*at, "condition", message=message)
        earlier = [
            routes[other.route].name
            for other in matches
            if other.route < match.route
            and not routes[other.route].is_retryable
            and may_overlap(other.requests, match.requests)
        ]
        if earlier:
            message = (
                f"requests that {shown(earlier[0])} takes before are retried too, if this condition holds for them"
            )
            yield _doubt(*at, "condition", message=message)


def _timeouts(routes: Sequence[Route], matches: Sequence[_Match], doubts: list[Doubt]) -> dict[str, str]:
    """A time-out that all routes share can be the Service's."""
    timeouts = {route.timeout for route in routes}
    if len(timeouts) == 1 and 0 not in timeouts:
        if not any(match.requests.any for match in matches):
            message = "here it holds for all requests of the Service, also for those of no route"
            doubts.append(_doubt("spec", "routes", 0, "timeout", message=message))
        return {f"{TIMEOUT}request": _written(timeouts.pop())}
    for index, route in enumerate(routes):
        if route.timeout:
            message = f"is left out: {TIMEOUT}request is one for the Service, and the routes differ"
            doubts.append(_doubt("spec", "routes", index, "timeout", message=message))
    return {}


def _written(seconds: Fraction) -> str:
    """Whole seconds or milliseconds, never 0 of them where there is some time."""
    if seconds.denominator == 1:
        return f"{seconds}s"
    return f"{max(1, round(seconds * 1000))}ms"


def _split(profile: Profile, service: ServiceName, doubts: list[Doubt]) -> Iterator[Manifest]:
    overrides = profile.spec.dst_overrides
    leaves = [_service(override.authority) for override in overrides]
    for index, (override, leaf) in enumerate(zip(overrides, leaves, strict=True)):
        at = ("spec", "dstOverrides", index, "authority")
        if leaf is None or leaf.namespace != service.namespace:
            message = (
                f"{shown(override.authority)} is no Service of {service.namespace}: there is no TrafficSplit of it"
            )
            doubts.append(_doubt(*at, message=message))
            return
        if ":" in override.authority:
            message = "a leaf is called at the root's port: the port here is left out"
            doubts.append(_doubt(*at, message=message))
    if overrides:
        backends = [
            {"service": leaf.name, "weight": override.weight}
            for leaf, override in zip(leaves, overrides, strict=True)
            if leaf is not None
        ]
        yield {
            "apiVersion": f"{SPLIT}/{ALPHAS[0]}",
            "kind": "TrafficSplit",
            "metadata": {"name": service.name, "namespace": service.namespace},
            "spec": {"service": service.name, "backends": backends},
        }
