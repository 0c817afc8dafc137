"""Durations as Go has them."""

from __future__ import annotations

import pytest

from translator.metricsapi.godurations import seconds_of, text_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30.0), ("1m30s", 90.0), ("1h", 3600.0), ("500ms", 0.5), ("1.5s", 1.5), (".5s", 0.5), ("1.s", 1.0),
        ("100us", 1e-4), ("100µs", 1e-4), ("100μs", 1e-4), ("1ns", 1e-9), ("0", 0.0), ("-3s", -3.0), ("+3s", 3.0),
        ("1s1s", 2.0), ("0.1m", 6.0),
    ],
)  # fmt: skip
def test_what_go_reads(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "30", "s", ".s", "NaN", "nan", "inf", "1e9h", "1e3s", "3０s", "٣s",
     "30 s", " 30s", "30s ", "30S", "1d", "--1s",
     "1,5s", "0x10s", "1_0s", "30s\n", "\x00", "1" * 80 + "s"],
)  # fmt: skip
def test_what_go_does_not_read(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        seconds_of(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"), (30.0, "30s"), (60.0, "1m"), (90.0, "1m30s"), (600.0, "10m"), (3600.0, "1h"),
        (5400.5, "1h30m0.5s"),
        (0.5, "500ms"), (1.5, "1.5s"), (1e-4, "100µs"), (1e-9, "1ns"), (1e-7, "100ns"), (0.0123, "12.3ms"),
        (599.9999999, "9m59.9999999s"), (1.05, "1.05s"),
    ],
)  # fmt: skip
def test_as_go_writes_them_and_reads_them_back(seconds: float, text: str) -> None:
    assert text_of(seconds) == text
    assert seconds_of(text) == seconds
