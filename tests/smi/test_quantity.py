"""resource.Quantity: what Kubernetes reads, exactly; what it cannot be, with a reason."""

from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smi.errors import BadQuantity
from smi.quantity import parse_quantity


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("900m", Fraction(9, 10)),
        ("1", Fraction(1)),
        ("+1", Fraction(1)),
        ("0", Fraction(0)),
        ("-0", Fraction(0)),
        ("0.5", Fraction(1, 2)),
        (".5", Fraction(1, 2)),
        ("1.", Fraction(1)),
        ("0.1", Fraction(1, 10)),
        ("3n", Fraction(3, 10**9)),
        ("3u", Fraction(3, 10**6)),
        ("2k", Fraction(2000)),
        ("2M", Fraction(2 * 10**6)),
        ("2G", Fraction(2 * 10**9)),
        ("2T", Fraction(2 * 10**12)),
        ("2P", Fraction(2 * 10**15)),
        ("2E", Fraction(2 * 10**18)),
        ("2Ki", Fraction(2048)),
        ("2Mi", Fraction(2 * 1024**2)),
        ("1.5Gi", Fraction(3 * 1024**3, 2)),
        ("1Ti", Fraction(1024**4)),
        ("1Pi", Fraction(1024**5)),
        ("1Ei", Fraction(1024**6)),
        ("1e3", Fraction(1000)),
        ("1E3", Fraction(1000)),
        ("5e-1", Fraction(1, 2)),
        ("9223372036854775807", Fraction(2**63 - 1)),
    ],
)
def test_reads_exactly(text: str, amount: Fraction) -> None:
    assert parse_quantity(text) == amount


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not a quantity"),
        ("m", "is not a quantity"),
        ("1K", "is not a quantity"),
        ("1 m", "is not a quantity"),
        ("50%", "is not a quantity"),
        ("1mi", "is not a quantity"),
        ("0x10", "is not a quantity"),
        ("inf", "is not a quantity"),
        ("nan", "is not a quantity"),
        ("١", "is not a quantity"),
        ("9" * 65, "is not a quantity"),
        ("-1", "must not be negative, is -1"),
        ("-100m", "must not be negative, is -100m"),
        ("9223372036854775808", "too large"),
        ("10E", "too large"),
        ("1e31", "exponent 31 is out of range"),
        ("1e999999999", "exponent 999999999 is out of range"),
        ("1e-999999999", "out of range"),
    ],
)
def test_says_why_not(text: str, reason: str) -> None:
    with pytest.raises(BadQuantity, match=reason):
        parse_quantity(text)


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=2**62))
def test_milli_is_a_thousandth(number: int) -> None:
    assert parse_quantity(f"{number}m") * 1000 == parse_quantity(str(number))


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_an_amount_or_a_reason(text: str) -> None:
    with suppress(BadQuantity):
        assert parse_quantity(text) >= 0
