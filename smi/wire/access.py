"""TrafficTarget and IdentityBinding.

v1alpha1 has ``destination``, ``sources`` and ``specs`` at the top, later
versions have them under ``spec`` with ``specs`` named ``rules``. Custom
resources are not converted, so an object written at one version can be read at
another: both places are read at every version, ``spec`` first. A field that a
version does not have (``port``) is honoured too, for dropping it would widen a grant.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, TypeVar

from pydantic import BeforeValidator, Field

from smi.access import IdentityBinding, Subject, TargetRule, TrafficTarget
from smi.errors import Invalid
from smi.names import check_label, check_name, shown
from smi.wire.base import Name, PortLoose, Wire, one_of, refuse, text
from smi.wire.metadata import Object
from smi.wire.split import ROUTE_KINDS

SUBJECT_KINDS = ("ServiceAccount", "IdentityBinding")

MAX_SPIFFE = 2048
"""Bytes of a SPIFFE ID (SPIFFE-ID §2.3)."""

T = TypeVar("T")

_SPIFFE = re.compile(r"(?:spiffe://)?[a-z0-9._-]+(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+)*")


def _namespace(value: str) -> str:
    return check_label(value) if value else value


def _account(value: str) -> str:
    return check_name(value) if value else value


def _spiffe_identity(value: str) -> str:
    """SPIFFE-ID §2: trust domain and path, here with or without the scheme."""
    if len(value) > MAX_SPIFFE or not _SPIFFE.fullmatch(value):
        raise Invalid(f"{shown(value)} is not a SPIFFE ID such as spiffe://cluster.local/ns/default/sa/web")
    return value


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


class Source(Wire):
    """One of ``sources``. v1alpha1 and v1alpha2 allow a ``port`` here that means nothing."""

    spelling: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset({"group", "apiGroup", "port"})
    kind: Annotated[str, one_of(*SUBJECT_KINDS)]
    name: Name
    namespace: Annotated[str, text(_namespace)] = ""

    def to_hub(self) -> Subject:
        """The hub's object."""
        return Subject(kind=self.kind, name=self.name, namespace=self.namespace)


class Destination(Source):
    """``destination``. The port is a string at v1alpha1, a number later; empty is none."""

    also_known: ClassVar[frozenset[str]] = frozenset({"group", "apiGroup"})
    port: Annotated[PortLoose | None, BeforeValidator(_empty_is_none)] = None


class Rule(Wire):
    """One of ``rules``."""

    spelling: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset({"group", "apiGroup"})
    kind: Annotated[str, one_of(*ROUTE_KINDS)]
    name: Name
    matches: list[str] | None = None

    def to_hub(self) -> TargetRule:
        """The hub's object."""
        return TargetRule(kind=self.kind, name=self.name, matches=tuple(self.matches) if self.matches else None)


class TargetFields(Wire):
    """What stands under ``spec``, or at the top."""

    spelling: ClassVar[bool] = True
    destination: Destination | None = None
    sources: list[Source] | None = None
    rules: list[Rule] | None = None
    specs: list[Rule] | None = None


class Target(Object):
    """TrafficTarget at every version; ``flat`` says where a missing field is missed."""

    spelling: ClassVar[bool] = True
    flat: ClassVar[bool] = False
    spec: TargetFields = Field(default_factory=TargetFields)
    destination: Destination | None = None
    sources: list[Source] | None = None
    rules: list[Rule] | None = None
    specs: list[Rule] | None = None

    def to_hub(self) -> TrafficTarget:
        """The hub's object.

        Raises:
            WireError: no destination.
        """
        spec = self.spec
        destination = spec.destination or self.destination
        if destination is None:
            refuse(*(() if self.flat else ("spec",)), "destination", message="required")
        sources = _first(spec.sources, self.sources)
        rules = _first(spec.rules, spec.specs, self.specs, self.rules)
        return TrafficTarget(
            meta=self.metadata.to_meta(),
            api_version=self.api_version,
            destination=destination.to_hub(),
            sources=tuple(source.to_hub() for source in sources),
            rules=tuple(rule.to_hub() for rule in rules),
            port=destination.port,
        )


class FlatTarget(Target):
    """TrafficTarget at v1alpha1."""

    flat: ClassVar[bool] = True


class Selector(Wire):
    """``podLabelSelector``. Other ways to select are refused, for leaving one out would select more."""

    spelling: ClassVar[bool] = True
    match_labels: dict[str, str] = Field(default_factory=dict)
    match_expressions: list[object] = Field(default_factory=list)
    name: str = ""


class Schemes(Wire):
    """``schemes``. SMI's text also shows ``podLabelSelectors``, a list; one entry means the same."""

    spelling: ClassVar[bool] = True
    pod_label_selector: Selector = Field(default_factory=Selector)
    pod_label_selectors: list[Selector] = Field(default_factory=list)
    spiffe_identities: list[Annotated[str, text(_spiffe_identity)]] = Field(default_factory=list)
    service_account: Annotated[str, text(_account)] = ""


class BindingSpec(Wire):
    """``spec``."""

    spelling: ClassVar[bool] = True
    schemes: Schemes


class Binding(Object):
    """IdentityBinding."""

    spelling: ClassVar[bool] = True
    spec: BindingSpec

    def to_hub(self) -> IdentityBinding:
        """The hub's object.

        Raises:
            WireError: a selector beside a service account, or one that cannot be said by labels alone.
        """
        schemes = self.spec.schemes
        labels = self._labels()
        if labels and schemes.service_account:
            message = "excludes podLabelSelector: only one of the two may be there"
            refuse("spec", "schemes", "serviceAccount", message=message)
        return IdentityBinding(
            meta=self.metadata.to_meta(),
            api_version=self.api_version,
            pod_labels=labels,
            spiffe_identities=tuple(schemes.spiffe_identities),
            service_account=schemes.service_account,
        )

    def _labels(self) -> dict[str, str]:
        schemes = self.spec.schemes
        selectors: list[tuple[tuple[str | int, ...], Selector]] = [(("podLabelSelector",), schemes.pod_label_selector)]
        selectors += [(("podLabelSelectors", index), item) for index, item in enumerate(schemes.pod_label_selectors)]
        for steps, selector in selectors:
            if selector.match_expressions:
                refuse("spec", "schemes", *steps, "matchExpressions", message="is not supported, use matchLabels")
        used = [(steps, selector) for steps, selector in selectors if selector.match_labels]
        if len(used) > 1:
            refuse("spec", "schemes", *used[1][0], message="only one selector is supported")
        return used[0][1].match_labels if used else {}


def _first(*candidates: list[T] | None) -> list[T]:
    return next((found for found in candidates if found is not None), [])
