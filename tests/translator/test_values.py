"""How annotation values are written: every spelling, and a reason for everything else."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.contract.config import Balance
from translator.values import (
    GRPC_NAMES,
    Budget,
    Conditions,
    Range,
    Unreadable,
    parse_balance,
    parse_budget,
    parse_conditions,
    parse_count,
    parse_duration,
    parse_range,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("25ms", 0.025),
        ("250ms", 0.25),
        ("1s", 1.0),
        ("1.5s", 1.5),
        ("2m", 120.0),
        ("1m30s", 90.0),
        ("1h", 3600.0),
        ("0.1s", 0.1),
        ("100us", 0.0001),
        ("0", 0.0),
        ("0s", 0.0),
        (" 10s ", 10.0),
        ("168h", 604800.0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "10", "1.5", "s", "-1s", "+1s", "1 s", "1S", "1d", ".5s", "1.s", "1e3s", "inf", "nan", "٣s", "1s,"]
)
def test_no_durations(text: str) -> None:
    with pytest.raises(Unreadable, match="is no duration such as"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["169h", "604801s", "999999999999999h"])
def test_durations_have_an_end(text: str) -> None:
    with pytest.raises(Unreadable, match="is too long, at most 168h"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("25ms..250ms", Range(0.025, 0.25)),
        ("25ms .. 1s", Range(0.025, 1.0)),
        ("100ms", Range(0.1, 0.1)),
        ("0..1s", Range(0.0, 1.0)),
        ("1s..1s", Range(1.0, 1.0)),
    ],
)
def test_ranges(text: str, expected: Range) -> None:
    assert parse_range(text) == expected


@pytest.mark.parametrize("text", ["", "..", "1s..", "..1s", "1s...2s", "2s..1s", "1s-2s", "25..250"])
def test_no_ranges(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_range(text)


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("3", 3), ("007", 7), (" 100 ", 100)])
def test_counts(text: str, number: int) -> None:
    assert parse_count(text, 100) == number


@pytest.mark.parametrize("text", ["", "101", "-1", "+1", "1.0", "ten", "1e1", "0x1", "٣", "9" * 5000])
def test_no_counts(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_count(text, 100)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ratio=0.2,min=10/s,ttl=10s", Budget(0.2, 10.0, 10.0)),
        ("ttl=30s, min=2.5, ratio=1", Budget(1.0, 2.5, 30.0)),
        ("ratio = 0.5", Budget(0.5, 10.0, 10.0)),
        ("min=0/s", Budget(0.2, 0.0, 10.0)),
        ("ttl=1m", Budget(0.2, 10.0, 60.0)),
    ],
)
def test_budgets(text: str, expected: Budget) -> None:
    assert parse_budget(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is none of ratio=0.2, min=10/s, ttl=10s"),
        ("0.2", "`0.2` is none of"),
        ("ratio=0.2,", "`` is none of"),
        ("ratio", "`ratio` is none of"),
        ("retryRatio=0.2", "`retryRatio=0.2` is none of"),
        ("ratio=0.2,ratio=0.3", "ratio stands there twice"),
        ("ratio=-1", "ratio=-1 is no number from 0 on"),
        ("ratio=20%", "ratio=20% is no number from 0 on"),
        ("ratio=nan", "ratio=nan is no number from 0 on"),
        ("ratio=", "ratio= is no number from 0 on"),
        ("ratio=11", "ratio=11 is too much, at most 10"),
        ("min=10/m", "min=10/m is no number from 0 on"),
        ("min=2000000", "min=2000000 is too much, at most 1e"),
        ("ttl=10", "`10` is no duration"),
        ("ttl=0s", "ttl must be longer than 0"),
    ],
)
def test_no_budgets(text: str, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        parse_budget(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5xx", Conditions(statuses=((500, 599),))),
        ("4xx,5XX", Conditions(statuses=((400, 599),))),
        ("gateway-error", Conditions(statuses=((502, 504),))),
        ("503", Conditions(statuses=((503, 503),))),
        ("503, 500-502 ,504", Conditions(statuses=((500, 504),))),
        ("429,503,429", Conditions(statuses=((429, 429), (503, 503)))),
        ("connect-failure", Conditions(connect_failure=True)),
        ("reset", Conditions(reset=True)),
        ("connect-failure,reset", Conditions(connect_failure=True, reset=True)),
        ("unavailable", Conditions(grpc=(14,))),
        ("UNAVAILABLE,deadline_exceeded,canceled,cancelled", Conditions(grpc=(1, 4, 14))),
    ],
)
def test_conditions(text: str, expected: Conditions) -> None:
    assert parse_conditions(text) == expected


def test_every_grpc_status_but_ok_has_its_name() -> None:
    assert parse_conditions(",".join(GRPC_NAMES)).grpc == tuple(range(1, 17))
    assert parse_conditions("ok").nothing


@pytest.mark.parametrize(
    "text", ["", "5x", "xxx", "1xx", "6xx", "199", "600", "50", "5000", "504-500", "500-", "-1", "a"]
)
def test_no_conditions(text: str) -> None:
    found = parse_conditions(text)

    assert found.nothing
    assert len(found.unreadable) == 1


def test_a_wrong_condition_leaves_the_others() -> None:
    found = parse_conditions("503,bogus,,reset,bogus")

    assert (found.statuses, found.reset) == (((503, 503),), True)
    assert [reason.partition(" is ")[0] for reason in found.unreadable] == ["`bogus`", "an item"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ewma", Balance(algorithm="ewma")),
        ("Least-Request", Balance(algorithm="least-request")),
        (" round-robin ", Balance(algorithm="round-robin")),
        ("hash:x-user", Balance(algorithm="hash", header="x-user")),
        ("hash: X-User", Balance(algorithm="hash", header="x-user")),
        ("hash:host", Balance(algorithm="hash", header="host")),
    ],
)
def test_algorithms(text: str, expected: Balance) -> None:
    assert parse_balance(text) == expected


@pytest.mark.parametrize("text", ["", "random", "ewma:", "ewma:x", "hash", "hash:", "hash:a b", "hash:é", "hash:a:b"])
def test_no_algorithms(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_balance(text)


PARSERS: list[Callable[[str], object]] = [
    parse_duration,
    parse_range,
    lambda text: parse_count(text, 100),
    parse_budget,
    parse_conditions,
    parse_balance,
]
pieces = st.sampled_from(
    [
        "ratio",
        "min",
        "ttl",
        "=",
        ",",
        "..",
        "-",
        "/s",
        "ms",
        "s",
        "m",
        "h",
        "5xx",
        "503",
        "hash:",
        "0",
        "1",
        "9",
        ".",
        " ",
    ]
)
texts = st.one_of(st.text(), st.lists(pieces, max_size=12).map("".join))


def refusal(parse: Callable[[str], object], text: str) -> str:
    try:
        parse(text)
    except Unreadable as error:
        return str(error)
    return ""


@given(texts)
@example("1" * 5000)
@example("1s" * 5000)
@example("ratio=" + "1" * 5000)
@example("\ud800")
def test_any_text_is_a_value_or_has_a_short_printable_reason(text: str) -> None:
    reasons = [reason for parse in PARSERS if (reason := refusal(parse, text))]

    assert all(reason.isprintable() and len(reason) < 300 for reason in reasons)


whole = st.integers(0, 99)


@given(hours=whole, minutes=whole, seconds=whole, milliseconds=st.integers(0, 999))
def test_durations_add_up(hours: int, minutes: int, seconds: int, milliseconds: int) -> None:
    text = f"{hours}h{minutes}m{seconds}s{milliseconds}ms"

    assert parse_duration(text) == (hours * 3600_000 + minutes * 60_000 + seconds * 1000 + milliseconds) / 1000


@given(st.lists(st.tuples(st.integers(200, 599), st.integers(200, 599)), min_size=1, max_size=8))
def test_ranges_of_codes_mean_the_codes_between_and_are_written_in_one_way(pairs: list[tuple[int, int]]) -> None:
    sound = [(min(pair), max(pair)) for pair in pairs]
    merged = parse_conditions(",".join(f"{first}-{last}" for first, last in sound)).statuses
    codes = {code for first, last in sound for code in range(first, last + 1)}

    assert {code for first, last in merged for code in range(first, last + 1)} == codes
    assert all(one[1] + 1 < other[0] for one, other in pairwise(merged))
