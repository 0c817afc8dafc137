"""Durations as Go's ``time.ParseDuration`` reads and ``Duration.String`` writes them, less empty parts. Pure."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

MAX_LENGTH: Final = 64
"""Characters; whole nanoseconds of ten minutes need far fewer."""

_UNITS: Final = {
    "h": Fraction(3600),
    "m": Fraction(60),
    "s": Fraction(1),
    "ms": Fraction(1, 10**3),
    "us": Fraction(1, 10**6),
    "µs": Fraction(1, 10**6),  # U+00B5
    "μs": Fraction(1, 10**6),  # U+03BC
    "ns": Fraction(1, 10**9),
}
_ONE: Final = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)"
_PART: Final = re.compile(_ONE)
_WHOLE: Final = re.compile(rf"([-+]?)((?:{_ONE})+|0)")


def seconds_of(text: str) -> float:
    """``30s``, ``1h0.5m``, ``.5s``, ``-1ms``, ``0``. Raises ``ValueError`` for what Go does not read, either."""
    shape = _WHOLE.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if shape is None:
        raise ValueError("no duration such as 30s, 1m30s or 500ms")
    total = sum((Fraction(number) * _UNITS[unit] for number, unit in _PART.findall(shape[2])), Fraction(0))
    return float(-total if shape[1] == "-" else total)


def text_of(seconds: float) -> str:
    """``1m30s``, ``500ms``, ``0s``, to a nanosecond. ``seconds`` is not negative."""
    nanoseconds = round(seconds * 10**9)
    if nanoseconds < 10**9:
        for unit, size in (("ms", 10**6), ("µs", 10**3), ("ns", 1)):
            if nanoseconds >= size:
                return f"{_decimal(nanoseconds, size)}{unit}"
        return "0s"
    minutes, rest = divmod(nanoseconds, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    parts = (
        f"{hours}h" if hours else "",
        f"{minutes}m" if minutes else "",
        f"{_decimal(rest, 10**9)}s" if rest else "",
    )
    return "".join(parts)


def _decimal(value: int, size: int) -> str:
    """``value / size``, exact; ``size`` is a power of ten."""
    whole, rest = divmod(value, size)
    digits = str(rest).rjust(len(str(size)) - 1, "0").rstrip("0") if rest else ""
    return f"{whole}.{digits}" if digits else str(whole)
