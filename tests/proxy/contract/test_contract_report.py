"""Cells of a report: packed small, added up exactly, never more than 1 % off, refused when they are nonsense."""

from __future__ import annotations

import math
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.contract.report import (
    BUCKETS,
    STATUS_CLASSES,
    Sum,
    bucket_of,
    bucket_value,
    check,
    pack,
    shared_out,
    unpack,
)

histograms = st.dictionaries(st.integers(0, BUCKETS - 1), st.integers(1, 10**6), max_size=40)


@st.composite
def cells(draw: st.DrawFn) -> bytes:
    """A cell as a sidecar makes it: as many requests by class as by time."""
    histogram = draw(histograms)
    left = sum(histogram.values())
    classes = []
    for _ in range(STATUS_CLASSES - 1):
        classes.append(draw(st.integers(0, left)))
        left -= classes[-1]
    return pack([*classes, left], draw(st.integers(0, 10**12)), histogram)


def numbers(*values: int) -> bytes:
    return msgspec.msgpack.encode(values)


@given(st.floats(2e-6, 1e6))
def test_a_time_read_back_is_at_most_one_percent_off(seconds: float) -> None:
    assert bucket_value(bucket_of(seconds)) == pytest.approx(seconds, rel=0.01)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-12, 1e-6])
def test_no_time_at_all_is_the_first_bucket(seconds: float) -> None:
    assert bucket_of(seconds) == 0


def test_the_longest_time_has_a_bucket() -> None:
    assert bucket_of(3600 * 24 * 365 * 1000.0) < BUCKETS


def merged(several: list[bytes]) -> bytes:
    total = Sum()
    for cell in several:
        total.add(cell)
    return total.packed()


@given(cells())
def test_what_was_packed_is_unpacked(cell: bytes) -> None:
    check(cell)
    said = unpack(cell)
    assert pack(said.classes, said.microseconds, dict(zip(said.buckets, said.counts, strict=True))) == cell


def test_an_ordinary_cell_is_small() -> None:
    histogram = dict.fromkeys(range(380, 480), 5)
    assert len(pack([0, 495, 0, 0, 5], 1_234_567, histogram)) < 256


@given(st.lists(cells(), max_size=5))
def test_cells_add_up(several: list[bytes]) -> None:
    said = [unpack(cell) for cell in several]
    together = unpack(merged(several))
    assert list(together.classes) == [sum(cell.classes[index] for cell in said) for index in range(STATUS_CLASSES)]
    assert together.microseconds == sum(cell.microseconds for cell in said)
    counts: Counter[int] = Counter()
    for cell in said:
        counts.update(dict(zip(cell.buckets, cell.counts, strict=True)))
    assert dict(zip(together.buckets, together.counts, strict=True)) == counts


def test_classes_that_were_appended_are_added_too() -> None:
    newer = pack([0, 1, 0, 0, 0, 2], 5, {400: 3})
    assert unpack(merged([newer, pack([0, 1, 0, 0, 0], 5, {400: 1})])).classes == [0, 2, 0, 0, 0, 2]


@given(cells(), st.integers(1, 50))
def test_shared_out_and_put_together_again(cell: bytes, parts: int) -> None:
    shared = shared_out(cell, parts)
    sizes = [sum(unpack(part).classes) for part in shared]

    assert merged(shared) == cell
    assert len(shared) <= parts
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        (b"", "cannot be read"),
        (b"\xc1", "cannot be read"),
        (msgspec.msgpack.encode("cell"), "cannot be read"),
        (msgspec.msgpack.encode([1.5]), "cannot be read"),
        (numbers(), "wrong shape"),
        (numbers(5, 1, 0, 0, 0, 0), "wrong shape"),
        (numbers(4, 1, 0, 0, 0, 10, 400, 1), "wrong shape"),
        (numbers(17, *[0] * 17, 10), "wrong shape"),
        (numbers(5, 1, 0, 0, 0, 0, 10, 400), "wrong shape"),
        (numbers(-1, 0), "wrong shape"),
        (numbers(5, 2, 0, 0, 0, 0, 10, 400, 1), "contradicts itself"),
        (numbers(5, 1, -1, 0, 0, 1, 10, 400, 1), "contradicts itself"),
        (numbers(5, 1, 0, 0, 0, 0, -10, 400, 1), "contradicts itself"),
        (numbers(5, 1, 0, 0, 0, 0, 10, BUCKETS, 1), "contradicts itself"),
        (numbers(5, 2, 0, 0, 0, 0, 10, BUCKETS - 1, 1, 1, 1), "contradicts itself"),
    ],
)
def test_what_is_no_cell(cell: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check(cell)


@given(st.binary(max_size=64))
def test_any_bytes_are_a_cell_or_refused(data: bytes) -> None:
    try:
        check(data)
    except ValueError:
        return
    said = unpack(data)
    assert sum(said.classes) == sum(said.counts)
    assert all(0 <= bucket < BUCKETS for bucket in said.buckets)


def test_the_growth_is_what_is_promised() -> None:
    ratio = bucket_value(500) / bucket_value(499)
    assert math.sqrt(ratio) - 1 < 0.01
