"""Field lines: what is remembered of them, and what is not."""

from __future__ import annotations

import pytest

from proxy.http1 import fields
from proxy.http1.fields import BadField, connection, field


@pytest.mark.parametrize(
    ("line", "goes_out"),
    [
        (b"X:a", b"X: a\r\n"),
        (b"X: \t a \t", b"X: a\r\n"),
        (b"X:", b"X: \r\n"),
        (b"X-\xc3\xa9".replace(b"\xc3\xa9", b"e") + b": \xc3\xa9 : b", b"X-e: \xc3\xa9 : b\r\n"),
    ],
)
def test_a_field_is_written_anew(line: bytes, goes_out: bytes) -> None:
    for _ in range(2):
        assert field(line).line == goes_out


def test_what_is_malformed_stays_so_when_it_is_seen_again() -> None:
    for _ in range(2):
        with pytest.raises(BadField):
            field(b"X : a")


@pytest.mark.parametrize("space", [b" ", b"\t", b" \t"])
def test_a_line_is_read_once_however_many_spaces_it_has(space: bytes) -> None:
    """A pattern that tried every way to divide them between two parts would be at it for minutes."""
    with pytest.raises(BadField):
        field(b"X:" + space * (60_000 // len(space)) + b"\x01")


@pytest.mark.parametrize(
    ("value", "named", "close", "keep_alive"),
    [
        (b"close, X-A", frozenset({b"x-a"}), True, False),
        (b"Keep-Alive,host,cookie,expect,smi-mesh-retry", frozenset(), False, True),
        (b"upgrade", frozenset(), False, False),
        (b", ,", frozenset(), False, False),
    ],
)
def test_what_connection_says(value: bytes, named: frozenset[bytes], close: bool, keep_alive: bool) -> None:
    options = connection(value)
    assert (options.named, options.close, options.keep_alive) == (named, close, keep_alive)


def test_memory_is_bounded_and_holds_no_secret_and_nothing_long() -> None:
    for number in range(fields._SEEN_MAX * 2):
        field(b"x-request-id: %d" % number)
    for name in (b"Cookie", b"Set-Cookie", b"authorization", b"Authorization_", b"X-Api-Key", b"X-Auth-Token"):
        field(name + b": a")
    field(b"X: " + b"a" * fields._SEEN_BYTES)
    field(b"X" * 1000 + b": a")
    connection(b"a" * 1000)
    assert len(fields._SEEN) <= fields._SEEN_MAX
    assert all(line.startswith(b"x-request-id") for line in fields._SEEN)
    assert max(map(len, (*fields._TREATMENTS, *fields._OPTIONS))) <= fields._SEEN_BYTES
