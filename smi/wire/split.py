"""TrafficSplit at every version.

v1alpha1 writes weights as quantities, later versions as whole numbers;
``matches`` came with v1alpha3 and is honoured wherever it stands, for leaving
it out would make a split unconditional.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, ClassVar, Generic, TypeVar

from pydantic import Field, PlainValidator

from smi.errors import BadQuantity
from smi.names import shown
from smi.quantity import MAX_QUANTITY, quantity_of
from smi.split import RouteRef, SplitBackend, TrafficSplit
from smi.wire.base import Name, ServiceReference, Wire, is_digits, one_of
from smi.wire.metadata import Object

ROUTE_KINDS = ("HTTPRouteGroup", "TCPRoute", "UDPRoute")


def _whole(value: object) -> Fraction:
    """A whole number; also as text, which means the same."""
    number = int(value) if isinstance(value, str) and is_digits(value) else value
    if isinstance(number, bool) or not isinstance(number, int):
        raise BadQuantity(f"must be a whole number at this version (quantities are v1alpha1's), not {shown(value)}")
    if number < 0:
        raise BadQuantity(f"must not be negative, is {number}")
    if number > MAX_QUANTITY:
        raise BadQuantity(f"is too large, at most {MAX_QUANTITY}")
    return Fraction(number)


class Backend(Wire):
    """A leaf with a whole weight."""

    spelling: ClassVar[bool] = True
    service: ServiceReference
    weight: Annotated[Fraction, PlainValidator(_whole)]


class QuantityBackend(Wire):
    """A leaf whose weight is a quantity."""

    spelling: ClassVar[bool] = True
    service: ServiceReference
    weight: Annotated[Fraction, PlainValidator(quantity_of)]


class Match(Wire):
    """A reference in ``matches``."""

    spelling: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset({"apiGroup"})
    kind: Annotated[str, one_of(*ROUTE_KINDS)] = "HTTPRouteGroup"
    name: Name


B = TypeVar("B", Backend, QuantityBackend)


class Spec(Wire, Generic[B]):
    """``spec``, the same at every version but for the weights."""

    spelling: ClassVar[bool] = True
    service: ServiceReference
    backends: Annotated[list[B], Field(min_length=1)]
    matches: list[Match] = Field(default_factory=list)


class _Split(Object, Generic[B]):
    spelling: ClassVar[bool] = True
    spec: Spec[B]

    def to_hub(self) -> TrafficSplit:
        """The hub's object."""
        return TrafficSplit(
            meta=self.metadata.to_meta(),
            api_version=self.api_version,
            service=self.spec.service,
            backends=tuple(SplitBackend(service=leaf.service, weight=leaf.weight) for leaf in self.spec.backends),
            matches=tuple(RouteRef(kind=match.kind, name=match.name) for match in self.spec.matches),
        )


class QuantitySplit(_Split[QuantityBackend]):
    """``split.smi-spec.io/v1alpha1``."""


class WholeSplit(_Split[Backend]):
    """``split.smi-spec.io/v1alpha2`` and later."""
