"""Retries, time-outs, breaking and balancing: what the annotations of a Service ask of those who call it.

SMI has no words for these, so they are annotations on the Service, whose owner
decides. A wrong one is a remark and counts as if it were not there; the rest
still holds. Where that would do more than was asked for it does less instead:
conditions that cannot be read are never met, routes that are not there never
match. ``translator.vocabulary`` has the names, ``translator.values`` reads the
texts; ``translator.compiler`` puts the result into the config, ``proxy.retry``,
``proxy.breaker`` and ``proxy.balance`` carry it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeVar

from proxy.contract.check import MAX_FAILURES, MAX_RETRIES
from proxy.contract.config import Balance, Breaker, HttpMatch, Policy, Retry
from smi.meta import Meta
from smi.names import shown
from smi.problems import MAX_KEY, one_line
from smi.workloads import Service
from translator.findings import Finding, Reason
from translator.routes import http_match
from translator.values import (
    Budget,
    Conditions,
    Range,
    Unreadable,
    parse_balance,
    parse_budget,
    parse_conditions,
    parse_count,
    parse_duration,
    parse_range,
)
from translator.vocabulary import (
    ALGORITHM,
    BACKOFF,
    BUDGET,
    FAILURES,
    IDLE_TIMEOUT,
    MAX_PENALTY,
    MIN_PENALTY,
    ON_SERVICES,
    REQUEST_TIMEOUT,
    RESPONSE_TIMEOUT,
    RETRY_LIMIT,
    RETRY_ON,
    ROUTES,
    TRY_TIMEOUT,
    Annotation,
)
from translator.world import World

DEFAULT_ON = Conditions(statuses=((502, 504),), connect_failure=True, reset=True)
"""``gateway-error,connect-failure,reset``: what says that another pod may well do better."""

MAX_REMARKS = 10
"""Remarks on one annotation: they are read by people, and an annotation may hold 256 KiB."""

_DOMAIN = "smi-mesh.io"
_NAMES = tuple(annotation.name for annotation in ON_SERVICES)
_PREFIXES = frozenset(name.partition("/")[0] for name in _NAMES)
# How alike a name must be to be taken for a misspelt one: behind a prefix of ours, and with another prefix.
_NEAR, _VERY_NEAR = 0.75, 0.85
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What is wrong with one annotation of a Service."""

    annotation: str
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """How a Service wants to be called; None: it says nothing."""

    policy: Policy | None = None
    balance: Balance | None = None
    breaker: Breaker | None = None
    remarks: tuple[Remark, ...] = ()

    def findings(self, meta: Meta) -> list[Finding]:
        """The remarks as findings on the Service that ``meta`` names."""
        return [
            Finding.on("Service", meta, remark.reason, f"{one_line(remark.annotation, MAX_KEY)}: {remark.message}")
            for remark in self.remarks
        ]


def speaks(service: Service) -> bool:
    """Whether a Service has any annotation that may be about calls."""
    return any(_DOMAIN in name for name in service.meta.annotations)


def calls(world: World, service: Service) -> Calls:
    """What the annotations of ``service`` say, read one by one."""
    if not speaks(service):
        return Calls()
    own = {name: text for name, text in service.meta.annotations.items() if _DOMAIN in name}
    reader = _Reader(own)
    return Calls(
        policy=_policy(reader, world, service.meta.namespace),
        balance=reader.read(ALGORITHM, parse_balance),
        breaker=_breaker(reader),
        remarks=(*reader.remarks, *_unknown(own)),
    )


def route_groups(service: Service) -> frozenset[str]:
    """Names of the HTTPRouteGroups, there or not, on which it depends whether calls of ``service`` are retried."""
    text = service.meta.annotations.get(ROUTES.name, "")
    return frozenset(name for item in text.split(",") if (name := item.partition("/")[0].strip()))


def is_about_calls(annotation: str) -> bool:
    """Whether an annotation has one of the prefixes that this module reads."""
    return annotation.partition("/")[0] in _PREFIXES


class _Reader:
    """The annotations of one Service, and what turns out to be wrong with them."""

    def __init__(self, annotations: Mapping[str, str]) -> None:
        self.annotations = annotations
        self.remarks: list[Remark] = []

    def text(self, wanted: Annotation) -> str | None:
        """What stands there; None where it is missing."""
        return self.annotations.get(wanted.name)

    def read(self, wanted: Annotation, parse: Callable[[str], _T]) -> _T | None:
        """The value of an annotation; None where it is missing or wrong."""
        text = self.text(wanted)
        if text is None:
            return None
        try:
            return parse(text)
        except Unreadable as error:
            self.remark(wanted, f"{error}; it does not count")
            return None

    def remark(self, about: Annotation, message: str, reason: Reason = Reason.INVALID_ANNOTATION) -> None:
        """Say what is wrong with an annotation, up to ``MAX_REMARKS`` times."""
        if sum(remark.annotation == about.name for remark in self.remarks) < MAX_REMARKS:
            self.remarks.append(Remark(annotation=about.name, reason=reason, message=message))


def _policy(reader: _Reader, world: World, namespace: str) -> Policy | None:
    policy = Policy(
        retry=_retry(reader, world, namespace),
        request_timeout=_timeout(reader, REQUEST_TIMEOUT),
        response_timeout=_timeout(reader, RESPONSE_TIMEOUT),
        idle_timeout=_timeout(reader, IDLE_TIMEOUT),
    )
    return None if policy == Policy() else policy


def _timeout(reader: _Reader, which: Annotation) -> float | None:
    """Seconds; 0 is none, as in the Gateway API."""
    return reader.read(which, parse_duration) or None


def _retry(reader: _Reader, world: World, namespace: str) -> Retry | None:
    """The retry policy: there as soon as one of its annotations can be read, unless ``limit`` is 0."""
    conditions = _conditions(reader)
    limit = reader.read(RETRY_LIMIT, lambda text: parse_count(text, MAX_RETRIES))
    try_timeout = reader.read(TRY_TIMEOUT, parse_duration)
    backoff = reader.read(BACKOFF, parse_range)
    budget = reader.read(BUDGET, parse_budget)
    routes = _routes(reader, world, namespace)
    if limit == 0 or (conditions, limit, try_timeout, backoff, budget, routes) == (None,) * 6:
        return None
    if conditions is None:
        # Less than the default where something narrower may have been meant: this one never repeats anything.
        conditions = Conditions(connect_failure=True) if reader.text(RETRY_ON) is not None else DEFAULT_ON
    default = Retry()
    low, high = backoff or Range(default.backoff_min, default.backoff_max)
    ratio, rate, ttl = budget or Budget(default.budget_ratio, default.budget_min, default.budget_ttl)
    return Retry(
        limit=default.limit if limit is None else limit,
        statuses=conditions.statuses,
        grpc=conditions.grpc,
        connect_failure=conditions.connect_failure,
        reset=conditions.reset,
        try_timeout=try_timeout or None,
        backoff_min=low,
        backoff_max=high,
        budget_ratio=ratio,
        budget_min=rate,
        budget_ttl=ttl,
        routes=routes,
    )


def _conditions(reader: _Reader) -> Conditions | None:
    """What ``on`` says; None where it is missing or says nothing that can be read."""
    text = reader.text(RETRY_ON)
    if text is None:
        return None
    conditions = parse_conditions(text)
    for reason in conditions.unreadable:
        reader.remark(RETRY_ON, f"{reason}; it does not count")
    return None if conditions.nothing else conditions


def _routes(reader: _Reader, world: World, namespace: str) -> tuple[HttpMatch, ...] | None:
    """The matches that ``routes`` names; None where it is missing, empty when none of them is there."""
    text = reader.text(ROUTES)
    if text is None:
        return None
    matches: dict[HttpMatch, None] = {}
    for item in dict.fromkeys(text.split(",")):
        name, slash, match_name = (part.strip() for part in item.partition("/"))
        group = world.objects.groups.get(f"{namespace}/{name}")
        if not name or (slash and not match_name):
            reader.remark(ROUTES, f"{shown(item)} is not written GROUP or GROUP/MATCH; it never matches")
            continue
        if group is None:
            message = f"HTTPRouteGroup {shown(name)} does not exist; it never matches"
            reader.remark(ROUTES, message, Reason.ROUTE_NOT_FOUND)
            continue
        named = [match for match in group.matches if not slash or match.name == match_name]
        if slash and not named:
            message = f"HTTPRouteGroup {shown(name)} has no match {shown(match_name)}; it never matches"
            reader.remark(ROUTES, message, Reason.ROUTE_NOT_FOUND)
        matches.update(dict.fromkeys(http_match(group, match) for match in named))
    return tuple(matches)


def _breaker(reader: _Reader) -> Breaker | None:
    """The breaker: there as soon as one of its annotations can be read."""
    default = Breaker()
    failures = reader.read(FAILURES, lambda text: parse_count(text, MAX_FAILURES))
    low = reader.read(MIN_PENALTY, _penalty)
    high = reader.read(MAX_PENALTY, _penalty)
    if (failures, low, high) == (None, None, None):
        return None
    least = default.min_penalty if low is None else low
    most = max(least, default.max_penalty)
    if high is not None and high < least:
        reader.remark(MAX_PENALTY, f"it is shorter than min-penalty, {least:g}s; {most:g}s is used")
        high = None
    return Breaker(
        consecutive_failures=default.consecutive_failures if failures is None else failures,
        min_penalty=least,
        max_penalty=most if high is None else high,
    )


def _penalty(text: str) -> float:
    seconds = parse_duration(text)
    if not seconds:
        raise Unreadable("a penalty must be longer than 0")
    return seconds


def _unknown(annotations: Mapping[str, str]) -> Iterator[Remark]:
    """Names under our prefixes that mean nothing, and others that look like a misspelt one of ours."""
    for name in sorted(annotations.keys() - set(_NAMES)):
        prefix, _, rest = name.partition("/")
        if is_about_calls(name):
            known = [other.partition("/")[2] for other in _NAMES if other.startswith(f"{prefix}/")]
            alike = [f"{prefix}/{other}" for other in get_close_matches(rest, known, n=1, cutoff=_NEAR)]
            hint = f"there are {', '.join(known)}"
        else:
            alike = get_close_matches(name, _NAMES, n=1, cutoff=_VERY_NEAR)
            hint = ""
        if alike:
            hint = f"did you mean {alike[0]}?"
        if hint:
            message = f"there is no such annotation; {hint}"
            yield Remark(annotation=name, reason=Reason.UNKNOWN_ANNOTATION, message=message)
