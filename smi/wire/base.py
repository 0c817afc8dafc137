"""What all manifests share: strictness, forgiveness, typos, and the types of single values.

Kubernetes objects carry more fields than the mesh reads, so unknown ones are
dropped, unless they look like a known one misspelled: then they are reported.
``null`` is the same as absent, as it is to Kubernetes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, ClassVar, Final, NoReturn

import re2
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainValidator,
    ValidationInfo,
    model_validator,
)
from pydantic.alias_generators import to_camel

from smi.errors import Invalid
from smi.names import check_label, check_name, check_service_reference, shown
from smi.problems import Step

MAX_REGEX = 4096
"""Characters of a regular expression; RE2's own memory bound (8 MiB) refuses what is short but large."""

MAX_PORT = 65535
"""RFC 9293 §3.1."""

NEAR = 0.75
"""difflib ratio from which a key counts as a misspelling: ``sevice``, ``weigth``, ``path_regex``, not ``status``."""

BY_HAND: Final = object()
"""The context in which models read what stands in a file."""

_REGEX_OPTIONS = re2.Options()
_REGEX_OPTIONS.log_errors = False


class WireError(Exception):
    """Fields that are fine one by one but wrong together. ``faults`` are (steps from the object's root, message)."""

    def __init__(self, *faults: tuple[tuple[Step, ...], str]) -> None:
        super().__init__(*faults)
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Misspelled:
    """Stands in for the value of a key that no model knows; its text is the message."""

    message: str


class Wire(BaseModel):
    """A mapping in a manifest.

    ``also_known`` are keys that are right here but not read: no one can mean
    another by them. ``spelling`` says whether every near miss is reported, or
    only when a required field is missing. ``spelling_by_hand``: every near miss
    in what people write (``BY_HAND``), as ``kubectl apply`` does, but not in what
    an API server sends, which may know more fields than this version.
    """

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, alias_generator=to_camel, arbitrary_types_allowed=True
    )
    also_known: ClassVar[frozenset[str]] = frozenset()
    spelling: ClassVar[bool] = False
    spelling_by_hand: ClassVar[bool] = False

    @model_validator(mode="before")
    @classmethod
    def _forgive(cls, data: object, info: ValidationInfo) -> object:
        if not isinstance(data, dict):
            return data
        fields = {field.alias or name: field for name, field in cls.model_fields.items()}
        given = {key: value for key, value in data.items() if value is not None}
        incomplete = any(field.is_required() and name not in given for name, field in fields.items())
        spelling = cls.spelling or (cls.spelling_by_hand and info.context is BY_HAND)
        for key in [key for key in given if key not in fields]:
            misspelled = None
            if (spelling or incomplete) and key not in cls.also_known:
                misspelled = _misspelled(key, fields, sorted(cls.also_known), always=incomplete and cls.spelling)
            if misspelled is None:
                del given[key]
            else:
                given[key] = misspelled
        return given


def _misspelled(key: str, fields: Iterable[str], also_known: list[str], always: bool) -> Misspelled | None:
    spelled = {name.lower(): name for name in [*fields, *also_known]}
    near = get_close_matches(key.lower(), spelled, n=1, cutoff=NEAR)
    if near:
        return Misspelled(f"unknown field, did you mean `{spelled[near[0]]}`?")
    return Misspelled(f"unknown field; known here: {', '.join(fields)}") if always else None


def text(check: Callable[[str], str]) -> object:
    """Annotation metadata: a string that ``check`` accepts."""
    return AfterValidator(check)


Label = Annotated[str, text(check_label)]
Name = Annotated[str, text(check_name)]
ServiceReference = Annotated[str, text(check_service_reference)]


def one_of(*choices: str) -> object:
    """Annotation metadata: one of a few words."""

    def check(value: str) -> str:
        if value not in choices:
            near = get_close_matches(value, choices, n=1)
            hint = f", did you mean `{near[0]}`?" if near else f"; known: {', '.join(choices)}"
            raise Invalid(f"{shown(value)} is not known here{hint}")
        return value

    return AfterValidator(check)


def check_regex(pattern: str) -> str:
    """``pattern`` if RE2 accepts it (https://github.com/google/re2/wiki/Syntax).

    Raises:
        Invalid: it does not compile.
    """
    if len(pattern) > MAX_REGEX:
        raise Invalid(f"is longer than {MAX_REGEX} characters")
    try:
        re2.compile(pattern, _REGEX_OPTIONS)
    except re2.error as error:
        reason = error.args[0] if error.args else b""
        reason = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise Invalid(f"is not a regular expression of RE2: {reason}") from error
    return pattern


Regex = Annotated[str, AfterValidator(check_regex)]


def _port(value: object) -> int:
    number = int(value) if isinstance(value, str) and is_digits(value) else value
    if not isinstance(number, int) or isinstance(number, bool):
        raise Invalid(f"must be a port, 1 to {MAX_PORT}, not {shown(value)}")
    if not 1 <= number <= MAX_PORT:
        raise Invalid(f"must be a port, 1 to {MAX_PORT}, is {number}")
    return number


def is_digits(value: str) -> bool:
    """Whether ``value`` is a whole number short enough to be one of 64 bits."""
    return value.isascii() and value.isdigit() and len(value) < len("18446744073709551616")


def _port_or_name(value: object) -> int | str:
    if isinstance(value, str) and not is_digits(value):
        return check_label(value)
    return _port(value)


def _whole_port(value: object) -> object:
    if isinstance(value, str):
        raise Invalid(f"must be a number, not text {shown(value)}")
    return value


PortLoose = Annotated[int, PlainValidator(_port)]
"""A port as a number or as text."""

Port = Annotated[int, PlainValidator(_port), BeforeValidator(_whole_port)]
"""A port as a number."""

PortOrName = Annotated[int | str, PlainValidator(_port_or_name)]
"""A port by number or by the name of a container port."""


def refuse(*steps: Step, message: str) -> NoReturn:
    """Report one field of an otherwise well-formed object.

    Raises:
        WireError: always.
    """
    raise WireError((steps, message))
