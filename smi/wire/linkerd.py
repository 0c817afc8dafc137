"""Linkerd's ServiceProfile (``linkerd.io/v1alpha2``), as far as ``smi.linkerd`` translates it."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, PlainValidator, model_validator

from smi.errors import Invalid
from smi.names import shown
from smi.quantity import quantity_of
from smi.wire.base import Regex, Wire
from smi.wire.metadata import Object

API_VERSION, KIND = "linkerd.io/v1alpha2", "ServiceProfile"

MIN_STATUS, MAX_STATUS = 100, 599
"""What Linkerd allows, and what a bound means that is left out."""

MIN_FINAL = 200
"""1xx are no answers (RFC 9110 §15.2)."""

_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")
_SECONDS = {
    "ns": Fraction(1, 10**9),
    **dict.fromkeys(("us", "µs", "μs"), Fraction(1, 10**6)),
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
}


def _duration(value: object) -> Fraction:
    """Seconds of Go's time.ParseDuration; none and 0 are the same to Linkerd."""
    if value in ("", "0"):
        return Fraction(0)
    if not isinstance(value, str) or not _WHOLE.fullmatch(value):
        raise Invalid(f"must be a duration such as 250ms or 1m30s, not {shown(value)}")
    return sum((Fraction(f"0{n}".rstrip(".")) * _SECONDS[unit] for n, unit in _PART.findall(value)), Fraction(0))


def _ratio(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_RATIO:
        raise Invalid(f"must be a number from 0 to {MAX_RATIO}, not {shown(value)}")
    return float(value)


MAX_RATIO = 1000
"""Linkerd's own bound."""

Duration = Annotated[Fraction, PlainValidator(_duration)]
Status = Annotated[int, Field(ge=0, le=MAX_STATUS)]


class _Condition(Wire):
    """At least one field, all that are there must hold."""

    spelling: ClassVar[bool] = True

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if all(value in (None, "") for _, value in self):
            raise Invalid("must have at least one condition")
        return self


class RequestCondition(_Condition):
    """``condition`` of a route. ``pathRegex`` is matched whole."""

    all_of: list[RequestCondition] | None = Field(default=None, alias="all")
    any_of: list[RequestCondition] | None = Field(default=None, alias="any")
    none_of: RequestCondition | None = Field(default=None, alias="not")
    method: str = ""
    path_regex: Regex = ""


class StatusRange(Wire):
    """``status``; 0 is a bound left out."""

    spelling: ClassVar[bool] = True
    min: Status = 0
    max: Status = 0


class ResponseCondition(_Condition):
    """``condition`` of a response class."""

    all_of: list[ResponseCondition] | None = Field(default=None, alias="all")
    any_of: list[ResponseCondition] | None = Field(default=None, alias="any")
    none_of: ResponseCondition | None = Field(default=None, alias="not")
    status: StatusRange | None = None

    def holds(self, status: int) -> bool:
        """Whether a response with ``status`` is meant."""
        if self.status is not None and not (
            (self.status.min or MIN_STATUS) <= status <= (self.status.max or MAX_STATUS)
        ):
            return False
        if self.all_of is not None and not all(one.holds(status) for one in self.all_of):
            return False
        if self.any_of is not None and not any(one.holds(status) for one in self.any_of):
            return False
        return self.none_of is None or not self.none_of.holds(status)


class ResponseClass(Wire):
    """One of ``responseClasses``: the first whose condition holds decides."""

    spelling: ClassVar[bool] = True
    condition: ResponseCondition
    is_failure: bool = False


class Route(Wire):
    """One of ``routes``: the first whose condition holds is the request's."""

    spelling: ClassVar[bool] = True
    name: str
    condition: RequestCondition
    response_classes: list[ResponseClass] = Field(default_factory=list)
    is_retryable: bool = False
    timeout: Duration = Fraction(0)

    def failures(self) -> frozenset[int]:
        """The statuses of answers that are failures here; 5xx are unless a class says otherwise."""
        found = set()
        for status in range(MIN_FINAL, MAX_STATUS + 1):
            classes = (one.is_failure for one in self.response_classes if one.condition.holds(status))
            if next(classes, status >= 500):
                found.add(status)
        return frozenset(found)


class RetryBudget(Wire):
    """``retryBudget``."""

    spelling: ClassVar[bool] = True
    retry_ratio: Annotated[float, PlainValidator(_ratio)]
    min_retries_per_second: Annotated[int, Field(ge=0)]
    ttl: Duration


class Override(Wire):
    """One of ``dstOverrides``; the weight stays as it is written, once it is known to be a quantity."""

    spelling: ClassVar[bool] = True
    authority: str
    weight: Any

    @model_validator(mode="after")
    def _has_weight(self) -> Self:
        quantity_of(self.weight)
        return self


class ProfileSpec(Wire):
    """``spec``."""

    spelling: ClassVar[bool] = True
    routes: list[Route] = Field(default_factory=list)
    retry_budget: RetryBudget | None = None
    dst_overrides: list[Override] = Field(default_factory=list)
    opaque_ports: list[str | int] = Field(default_factory=list)


class Profile(Object):
    """ServiceProfile."""

    spelling: ClassVar[bool] = True
    spec: ProfileSpec = Field(default_factory=ProfileSpec)
