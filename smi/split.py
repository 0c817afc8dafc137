"""TrafficSplit (``split.smi-spec.io``), in the shape of its newest version.

Older versions decode into these classes; see ``smi.decode``.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from smi.meta import Meta


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitBackend:
    """One leaf. ``weight`` is relative to its siblings: exact, never negative (v1alpha1's ``900m`` is 9/10)."""

    service: str
    weight: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRef:
    """A reference from a TrafficSplit's ``matches`` (v1alpha3 and later) to an HTTPRouteGroup by name."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficSplit:
    """``service`` is the apex as written (short name or FQDN); empty ``matches`` means every request."""

    meta: Meta
    api_version: str
    service: str
    backends: tuple[SplitBackend, ...]
    matches: tuple[RouteRef, ...] = ()
