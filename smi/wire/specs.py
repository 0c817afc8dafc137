"""HTTPRouteGroup, TCPRoute and UDPRoute.

v1alpha1 and v1alpha2 have an HTTPRouteGroup's ``matches`` at the top, later
versions under ``spec``; some writers keep it at the top at v1alpha4 too. Both
are read at every version, ``spec`` first. Conditions a version does not have
(headers, ports) are honoured, for dropping them would widen a match.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from smi.errors import Invalid
from smi.names import shown
from smi.specs import HTTPMatch, HTTPRouteGroup, TCPRoute, UDPRoute
from smi.wire.base import PortLoose, Regex, Wire, text
from smi.wire.metadata import Object

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def _method(value: str) -> str:
    """RFC 9110 §9.1: a token, and case matters."""
    if not _TOKEN.fullmatch(value):
        raise Invalid(f"{shown(value)} is not an HTTP method")
    return value


def _header_name(value: str) -> str:
    """RFC 9110 §5.1."""
    if not _TOKEN.fullmatch(value):
        raise Invalid(f"{shown(value)} is not the name of a header")
    return value


def _header_value(value: object) -> object:
    """A bare number is taken as its digits: the schema leaves headers untyped, so it gets this far."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _match_name(value: str) -> str:
    if not value:
        raise Invalid("must not be empty")
    return value


Headers = dict[Annotated[str, text(_header_name)], Annotated[Regex, BeforeValidator(_header_value)]]


class Match(Wire):
    """One of ``matches``; ``headers`` is a map, or a list of maps that all must hold."""

    spelling: ClassVar[bool] = True
    name: Annotated[str, text(_match_name)]
    methods: list[Annotated[str, text(_method)]] = Field(default_factory=list)
    path_regex: Regex = ""
    headers: Annotated[list[Headers], BeforeValidator(lambda value: [value] if isinstance(value, dict) else value)] = (
        Field(default_factory=list)
    )

    def to_hub(self) -> HTTPMatch:
        """The hub's object."""
        return HTTPMatch(
            name=self.name,
            methods=() if "*" in self.methods else tuple(self.methods),
            path_regex=self.path_regex,
            headers=tuple(item for mapping in self.headers for item in mapping.items()),
        )


class GroupSpec(Wire):
    """``spec`` of an HTTPRouteGroup."""

    spelling: ClassVar[bool] = True
    matches: list[Match] | None = None


class Group(Object):
    """HTTPRouteGroup at every version."""

    spelling: ClassVar[bool] = True
    spec: GroupSpec = Field(default_factory=GroupSpec)
    matches: list[Match] | None = None

    def to_hub(self) -> HTTPRouteGroup:
        """The hub's object."""
        matches = self.spec.matches if self.spec.matches is not None else self.matches or []
        return HTTPRouteGroup(
            meta=self.metadata.to_meta(),
            api_version=self.api_version,
            matches=tuple(match.to_hub() for match in matches),
        )


class PortMatch(Wire):
    """``matches`` of a TCPRoute or UDPRoute."""

    spelling: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset({"name"})
    ports: list[PortLoose] = Field(default_factory=list)


class PortSpec(Wire):
    """``spec`` of a TCPRoute or UDPRoute."""

    spelling: ClassVar[bool] = True
    matches: PortMatch = Field(default_factory=PortMatch)


class TCP(Object):
    """TCPRoute; before v1alpha4 usually without ``spec``."""

    spelling: ClassVar[bool] = True
    spec: PortSpec = Field(default_factory=PortSpec)

    def to_hub(self) -> TCPRoute:
        """The hub's object."""
        return TCPRoute(
            meta=self.metadata.to_meta(), api_version=self.api_version, ports=tuple(self.spec.matches.ports)
        )


class UDP(Object):
    """UDPRoute."""

    spelling: ClassVar[bool] = True
    spec: PortSpec = Field(default_factory=PortSpec)

    def to_hub(self) -> UDPRoute:
        """The hub's object."""
        return UDPRoute(
            meta=self.metadata.to_meta(), api_version=self.api_version, ports=tuple(self.spec.matches.ports)
        )
