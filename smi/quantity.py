"""Kubernetes' resource.Quantity, read without loss.

TrafficSplit v1alpha1 writes weights so (``900m`` is 9/10). Grammar:
k8s.io/apimachinery/pkg/api/resource, ``Quantity``.
"""

from __future__ import annotations

import re
from fractions import Fraction

from smi.errors import BadQuantity
from smi.names import shown

MAX_QUANTITY = 2**63 - 1
"""The largest amount a Quantity can be; Kubernetes caps there, we refuse."""

MAX_LENGTH = 64
"""Characters of a quantity: more digits than any amount in range has use for, few enough to stay cheap."""

MAX_EXPONENT = 30
"""Decimal exponent in ``1e3``: past 18 digits only zeros can be in range; unbounded, ``1e999999999`` fills memory."""

_SHAPE = re.compile(
    r"(?P<sign>[+-]?)(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
    r"(?:(?P<suffix>[KMGTPE]i|[numkMGTPE])|[eE](?P<exponent>[+-]?[0-9]+))?"
)
_SUFFIXES = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 10**3),
    "k": Fraction(10**3),
    **{letter: Fraction(1000**power) for power, letter in enumerate("MGTPE", start=2)},
    **{f"{letter}i": Fraction(1024**power) for power, letter in enumerate("KMGTPE", start=1)},
}


def quantity_of(value: object) -> Fraction:
    """The amount that a value of a manifest means: text as ``parse_quantity`` takes it, or a number.

    Raises:
        BadQuantity: as ``parse_quantity``, or it is neither.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise BadQuantity(f"must be a quantity such as 900m, 0.5 or 1, not {shown(value)}")
    return parse_quantity(value if isinstance(value, str) else repr(value))


def parse_quantity(text: str) -> Fraction:
    """The exact amount that ``text`` (``900m``, ``0.5``, ``1Ki``, ``2e3``) means, never negative.

    Raises:
        BadQuantity: unreadable, negative, or out of range.
    """
    found = _SHAPE.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if found is None:
        raise BadQuantity(f"{shown(text)} is not a quantity such as 900m, 0.5 or 1")
    amount = Fraction(found["number"].rstrip(".")) * _scale(found["suffix"], found["exponent"])
    if found["sign"] == "-" and amount:
        raise BadQuantity(f"must not be negative, is {text}")
    if amount > MAX_QUANTITY:
        raise BadQuantity(f"{text} is too large, at most {MAX_QUANTITY}")
    return amount


def _scale(suffix: str | None, exponent: str | None) -> Fraction:
    if suffix is not None:
        return _SUFFIXES[suffix]
    if exponent is None:
        return Fraction(1)
    if abs(int(exponent)) > MAX_EXPONENT:
        raise BadQuantity(f"exponent {exponent} is out of range, at most {MAX_EXPONENT}")
    return Fraction(10) ** int(exponent)
