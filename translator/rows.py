"""What the API answers about traffic, and the commands show: rows of numbers. Pure.

Made by ``translator.views``, served as JSON by ``translator.api``, read back by
``translator.cli``. There is no NaN: a rate or a time of no requests is null.
"""

from __future__ import annotations

from msgspec import Struct


class Stats(Struct, frozen=True, kw_only=True, rename="camel"):
    """Requests that ended within the window. A success has a status below 500. Times are in milliseconds."""

    requests: int
    success: int
    failure: int
    success_rate: float | None
    rps: float
    best_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    worst_ms: float | None


class StatRow(Struct, frozen=True, kw_only=True, rename="camel"):
    """One resource. ``pods``: how many run, ``meshed``: how many of them with a sidecar; null where it has none."""

    kind: str
    namespace: str
    name: str
    meshed: int | None
    pods: int | None
    denied: int
    stats: Stats


class SplitRow(Struct, frozen=True, kw_only=True, rename="camel"):
    """One backend of a TrafficSplit: its weight as written (empty: it was one lately) and the share it really had."""

    namespace: str
    name: str
    apex: str
    leaf: str
    weight: str
    share: float | None
    stats: Stats


class RouteRow(Struct, frozen=True, kw_only=True, rename="camel"):
    """One match of an HTTPRouteGroup, ``group/match``; empty: requests that met none.

    ``effective`` is what callers' sidecars counted, ``actual`` what the servers' did.
    """

    route: str
    effective: Stats
    actual: Stats


class EdgeRow(Struct, frozen=True, kw_only=True, rename="camel"):
    """Who calls whom. An empty name: nobody in the mesh. Identities are SPIFFE IDs; ``secured``: there are both."""

    source: str
    source_namespace: str
    destination: str
    destination_namespace: str
    client_id: str
    server_id: str
    secured: bool
    stats: Stats


class TopRow(Struct, frozen=True, kw_only=True, rename="camel"):
    """Requests of one caller to one destination by one route. Names are ``namespace/name``."""

    source: str
    destination: str
    route: str
    stats: Stats


class StatAnswer(Struct, frozen=True, kw_only=True):
    """``window`` was asked for, ``seconds`` is what the numbers are of."""

    window: float
    seconds: float
    rows: list[StatRow]


class SplitAnswer(Struct, frozen=True, kw_only=True):
    """As ``StatAnswer``."""

    window: float
    seconds: float
    rows: list[SplitRow]


class RouteAnswer(Struct, frozen=True, kw_only=True):
    """As ``StatAnswer``."""

    window: float
    seconds: float
    rows: list[RouteRow]


class EdgeAnswer(Struct, frozen=True, kw_only=True):
    """As ``StatAnswer``."""

    window: float
    seconds: float
    rows: list[EdgeRow]


class TopAnswer(Struct, frozen=True, kw_only=True):
    """As ``StatAnswer``."""

    window: float
    seconds: float
    rows: list[TopRow]


Answer = StatAnswer | SplitAnswer | RouteAnswer | EdgeAnswer | TopAnswer


def short(identity: str) -> str:
    """A SPIFFE ID as ``namespace/serviceaccount``; other text as it is."""
    parts = identity.split("/")
    return f"{parts[4]}/{parts[6]}" if len(parts) == 7 else identity
