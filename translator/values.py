"""How the values of a Service's annotations are written: durations, ranges, budgets, conditions, algorithms.

Text in, value or ``Unreadable`` out; which annotation a value belongs to, and
what becomes of the Service when it cannot be read, is ``translator.retries``' business. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from proxy.contract.check import MAX_BUDGET_RATE, MAX_BUDGET_RATIO, MAX_SECONDS, STATUSES, is_header
from proxy.contract.config import Algorithm, Balance, Retry
from smi.names import shown

MAX_LENGTH = 64
"""Characters of a number or duration: more digits than any value in range has use for."""

GRPC_NAMES = {
    "cancelled": 1,
    "unknown": 2,
    "invalid-argument": 3,
    "deadline-exceeded": 4,
    "not-found": 5,
    "already-exists": 6,
    "permission-denied": 7,
    "resource-exhausted": 8,
    "failed-precondition": 9,
    "aborted": 10,
    "out-of-range": 11,
    "unimplemented": 12,
    "internal": 13,
    "unavailable": 14,
    "data-loss": 15,
    "unauthenticated": 16,
}
"""gRPC's names for its codes (https://grpc.io/docs/guides/status-codes/), in lower case with hyphens."""

_ALGORITHMS: tuple[Algorithm, ...] = ("ewma", "least-request", "round-robin")
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:h|ms|m|s|us))+")
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(h|ms|m|s|us)")
_UNITS = {"h": Fraction(3600), "m": Fraction(60), "s": Fraction(1), "ms": Fraction(1, 1000), "us": Fraction(1, 10**6)}
_DECIMAL = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_WHOLE = re.compile(r"[0-9]{1,9}")
_CODES = re.compile(r"([0-9]{3})(?:-([0-9]{3}))?")
_HUNDREDS = re.compile(r"([2-5])xx")


class Unreadable(ValueError):
    """A value that does not mean what its place demands; the message is the reason, in the operator's terms."""


class Range(NamedTuple):
    """Two durations in seconds, the first not longer than the second."""

    low: float
    high: float


class Budget(NamedTuple):
    """How many retries there may be: ``ratio`` per request and ``rate`` per second, over ``ttl`` seconds."""

    ratio: float
    rate: float
    ttl: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """After what a request is retried, in the contract's terms; ``unreadable`` has the reasons for the rest."""

    statuses: tuple[tuple[int, int], ...] = ()
    grpc: tuple[int, ...] = ()
    connect_failure: bool = False
    reset: bool = False
    unreadable: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        """Whether no condition could be read."""
        return not (self.statuses or self.grpc or self.connect_failure or self.reset)


def parse_duration(text: str) -> float:
    """Seconds, written ``250ms``, ``1.5s``, ``2m`` or ``1m30s``; ``0`` needs no unit. At most ``MAX_SECONDS``."""
    text = text.strip()
    if text == "0":
        return 0.0
    if len(text) > MAX_LENGTH or _DURATION.fullmatch(text) is None:
        raise Unreadable(f"{shown(text)} is no duration such as 250ms, 1.5s or 2m")
    seconds = sum(Fraction(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if seconds > MAX_SECONDS:
        raise Unreadable(f"{shown(text)} is too long, at most {MAX_SECONDS / 3600:g}h")
    return float(seconds)


def parse_range(text: str) -> Range:
    """Two durations, ``25ms..250ms``; one alone is both."""
    first, dots, second = text.partition("..")
    low = parse_duration(first)
    high = parse_duration(second) if dots else low
    if low > high:
        raise Unreadable(f"{shown(text)} runs backwards")
    return Range(low, high)


def parse_count(text: str, most: int) -> int:
    """A whole number from 0 to ``most``."""
    text = text.strip()
    if _WHOLE.fullmatch(text) is None:
        raise Unreadable(f"{shown(text)} is no whole number from 0 to {most}")
    if int(text) > most:
        raise Unreadable(f"{text} is too many, at most {most}")
    return int(text)


def parse_budget(text: str) -> Budget:
    """``ratio=0.2,min=10/s,ttl=10s`` in any order; what is left out keeps its default (those of the example)."""
    given: dict[str, float] = {}
    for item in text.split(","):
        name, sign, value = (part.strip() for part in item.partition("="))
        if name not in ("ratio", "min", "ttl") or not sign:
            raise Unreadable(f"{shown(item)} is none of ratio=0.2, min=10/s, ttl=10s")
        if name in given:
            raise Unreadable(f"{name} stands there twice")
        match name:
            case "ratio":
                given[name] = _decimal(name, value, MAX_BUDGET_RATIO)
            case "min":
                given[name] = _decimal(name, value.removesuffix("/s"), MAX_BUDGET_RATE)
            case _:
                given[name] = parse_duration(value)
    default = Retry()
    ttl = given.get("ttl", default.budget_ttl)
    if not ttl:
        raise Unreadable("ttl must be longer than 0")
    return Budget(given.get("ratio", default.budget_ratio), given.get("min", default.budget_min), ttl)


def parse_conditions(text: str) -> Conditions:
    """A comma list of ``5xx``, ``gateway-error``, ``connect-failure``, ``reset``, ``503``, ``500-504`` and gRPC names.

    Never raises: each item is read by itself.
    """
    names: set[str] = set()
    grpc: set[int] = set()
    statuses: list[tuple[int, int]] = []
    unreadable: list[str] = []
    for item in text.split(","):
        name = item.strip().lower().replace("_", "-")
        if name in ("connect-failure", "reset"):
            names.add(name)
        elif name in GRPC_NAMES or name == "canceled":
            grpc.add(GRPC_NAMES.get(name, GRPC_NAMES["cancelled"]))
        else:
            try:
                statuses.append(_statuses(name))
            except Unreadable as error:
                unreadable.append(str(error))
    return Conditions(
        statuses=_merged(statuses),
        grpc=tuple(sorted(grpc)),
        connect_failure="connect-failure" in names,
        reset="reset" in names,
        unreadable=tuple(dict.fromkeys(unreadable)),
    )


def parse_balance(text: str) -> Balance:
    """``ewma``, ``least-request``, ``round-robin`` or ``hash:<header>``, in any case."""
    name, colon, header = (part.strip().lower() for part in text.partition(":"))
    if name == "hash":
        if not is_header(header):
            raise Unreadable(f"{shown(text)} names no header: write hash:x-user")
        return Balance(algorithm="hash", header=header)
    for algorithm in _ALGORITHMS:
        if name == algorithm and not colon:
            return Balance(algorithm=algorithm)
    raise Unreadable(f"{shown(text)} is none of {', '.join(_ALGORITHMS)}, hash:<header>")


def _statuses(name: str) -> tuple[int, int]:
    if not name:
        raise Unreadable("an item is empty")
    if name == "gateway-error":
        return 502, 504
    hundreds = _HUNDREDS.fullmatch(name)
    if hundreds is not None:
        return int(hundreds[1]) * 100, int(hundreds[1]) * 100 + 99
    codes = _CODES.fullmatch(name)
    if codes is None:
        raise Unreadable(
            f"{shown(name)} is none of 5xx, gateway-error, connect-failure, reset, a status code, a range of codes, "
            f"a gRPC status"
        )
    first, last = int(codes[1]), int(codes[2] or codes[1])
    if first not in STATUSES or last not in STATUSES:
        raise Unreadable(f"{shown(name)} is out of range: status codes are {STATUSES[0]} to {STATUSES[-1]}")
    if first > last:
        raise Unreadable(f"{shown(name)} runs backwards")
    return first, last


def _merged(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The same codes in as few ranges as possible, so that equal meanings are equal configs."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return tuple(merged)


def _decimal(name: str, text: str, most: float) -> float:
    text = text.strip()
    if len(text) > MAX_LENGTH or _DECIMAL.fullmatch(text) is None:
        raise Unreadable(
            f"{name}={text[:MAX_LENGTH]} is no number from 0 on" if text.isprintable() else f"{name} is no number"
        )
    number = float(text)
    if number > most:
        raise Unreadable(f"{name}={text} is too much, at most {most:g}")
    return number
