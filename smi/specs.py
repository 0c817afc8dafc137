"""HTTPRouteGroup, TCPRoute and UDPRoute (``specs.smi-spec.io``), in the shape of v1alpha4."""

from __future__ import annotations

from dataclasses import dataclass

from smi.meta import Meta


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPMatch:
    """Conditions that must all hold; an absent one holds always.

    ``methods`` is empty for any (``["*"]`` decodes to empty). ``path_regex`` is
    RE2, ``""`` for any. ``headers`` are (name as written, RE2 for the whole
    value), from a map or from a list of single-key maps.
    """

    name: str
    methods: tuple[str, ...] = ()
    path_regex: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPRouteGroup:
    """Named HTTP matches, referred to by TrafficTargets and TrafficSplits."""

    meta: Meta
    api_version: str
    matches: tuple[HTTPMatch, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TCPRoute:
    """TCP traffic to some container ports; empty ``ports`` means all of them."""

    meta: Meta
    api_version: str
    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UDPRoute:
    """UDP traffic to some container ports; empty ``ports`` means all of them."""

    meta: Meta
    api_version: str
    ports: tuple[int, ...] = ()
