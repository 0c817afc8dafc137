"""Where bodies end: strictly, and the same however the bytes arrive."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http1.body import (
    MAX_CHUNK_LINE,
    MAX_TRAILERS,
    Body,
    ChunkedBody,
    CloseBody,
    LengthBody,
    body_of,
    encode_chunk,
    encode_last_chunk,
)
from proxy.http1.head import CHUNKED, UNTIL_CLOSE


def fed(body: Body, pieces: list[bytes]) -> tuple[bytes, bool, bytes, list[bytes]]:
    """What the pieces make: payload, whether it is whole, what is left, trailers."""
    payload = b""
    for index, piece in enumerate(pieces):
        payload += body.feed(piece)
        if body.done:
            return payload, True, body.rest + b"".join(pieces[index + 1 :]), body.trailers
    return payload, body.done, b"", body.trailers


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(marks) if end > start]


CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
EXTENSIONS = st.sampled_from([b"", b";a", b";a=b", b'; a="b c"', b" ;x", b"\t;\tx=y;z"])
TRAILERS = st.lists(st.sampled_from([b"X-A: 1", b"X-B:2 ", b"X-C:"]), max_size=3)


@st.composite
def messages(draw: st.DrawFn) -> tuple[bytes, bytes, list[bytes]]:
    """A chunked body as written, its payload, its trailers."""
    written = b""
    payload = b""
    for chunk in draw(CHUNKS):
        size = draw(st.sampled_from([b"%x", b"%X", b"0%x", b"000%x"])) % len(chunk)
        written += size + draw(EXTENSIONS) + b"\r\n" + chunk + b"\r\n"
        payload += chunk
    trailers = draw(TRAILERS)
    written += draw(st.sampled_from([b"0", b"00"])) + draw(EXTENSIONS) + b"\r\n"
    written += b"".join(line + b"\r\n" for line in trailers) + b"\r\n"
    kept = [b"%b: %b\r\n" % (name, value.strip()) for name, _, value in (line.partition(b":") for line in trailers)]
    return written, payload, kept


@given(messages(), st.binary(max_size=20), st.lists(st.integers(0, 1000), max_size=20))
def test_a_chunked_body_is_the_same_however_it_arrives(
    message: tuple[bytes, bytes, list[bytes]], rest: bytes, places: list[int]
) -> None:
    written, payload, trailers = message
    expected = (payload, True, rest, trailers)

    assert fed(ChunkedBody(), [written + rest]) == expected
    assert fed(ChunkedBody(), cut(written + rest, places)) == expected
    assert fed(ChunkedBody(), [bytes((octet,)) for octet in written + rest]) == expected


@given(st.binary(max_size=60), st.integers(0, 59), st.lists(st.integers(0, 1000), max_size=10))
def test_a_body_with_length_is_the_same_however_it_arrives(data: bytes, length: int, places: list[int]) -> None:
    whole = fed(LengthBody(length), [data]) if data else (b"", length == 0, b"", [])

    if length:
        assert fed(LengthBody(length), cut(data, places)) == whole
    assert whole[0] == data[:length]
    assert whole[1] == (len(data) >= length)


@given(st.binary(max_size=80), st.lists(st.integers(0, 1000), max_size=10))
def test_whatever_arrives_is_judged_the_same_however_it_arrives(data: bytes, places: list[int]) -> None:
    """Garbage: an error in one cut is an error in every other, unless it is only not complete yet."""
    outcomes = {outcome(pieces) for pieces in ([data], cut(data, places), [bytes((o,)) for o in data]) if pieces}

    assert len(outcomes) <= 1


@given(
    st.lists(
        st.sampled_from([b"0", b"1", b"5", b"f", b"\r\n", b"\n", b"\r", b";", b"a", b" ", b":", b"X: y"]), max_size=14
    ),
    st.lists(st.integers(0, 1000), max_size=10),
)
def test_near_misses_are_judged_the_same_however_they_arrive(tokens: list[bytes], places: list[int]) -> None:
    data = b"".join(tokens)
    outcomes = {outcome(pieces) for pieces in ([data], cut(data, places), [bytes((o,)) for o in data]) if pieces}

    assert len(outcomes) <= 1


def outcome(pieces: list[bytes]) -> object:
    try:
        payload, done, rest, trailers = fed(ChunkedBody(), pieces)
    except ValueError:
        return "refused"
    return payload, done, rest, tuple(trailers)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5))
def test_what_we_write_we_read(chunks: list[bytes]) -> None:
    written = b"".join(map(encode_chunk, chunks)) + encode_last_chunk([b"X: y\r\n"])

    assert fed(ChunkedBody(), [written]) == (b"".join(chunks), True, b"", [b"X: y\r\n"])


@pytest.mark.parametrize(
    "written",
    [
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"0_5\r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
        b"5\t\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"5\rhello\r\n0\r\n\r\n",
        b"5\r\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\r0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhello!\r\n0\r\n\r\n",
        b"5\r\nhell\r\n0\r\n\r\n",
        b"5;\r\nhello\r\n0\r\n\r\n",
        b"5;a\nb\r\nhello\r\n0\r\n\r\n",
        b"5;a\rb\r\nhello\r\n0\r\n\r\n",
        b"5;a\x00b\r\nhello\r\n0\r\n\r\n",
        b"5;a\x7fb\r\nhello\r\n0\r\n\r\n",
        b"5;=b\r\nhello\r\n0\r\n\r\n",
        b"5;;a\r\nhello\r\n0\r\n\r\n",
        b"5,a\r\nhello\r\n0\r\n\r\n",
        b"\r\nhello\r\n0\r\n\r\n",
        b";a\r\nhello\r\n0\r\n\r\n",
        b"g\r\nhello\r\n0\r\n\r\n",
        "٥\r\nhello\r\n0\r\n\r\n".encode(),
        b"10000000000000005\r\nhello\r\n0\r\n\r\n",
        b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        b"8000000000000000\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\nX\r\n\r\n",
        b"5\r\nhello\r\n0\r\nX : y\r\n\r\n",
        b"5\r\nhello\r\n0\r\n X: y\r\n\r\n",
        b"5\r\nhello\r\n0\r\nX: y\n\r\n\r\n",
        b"5\r\nhello\r\n0\r\nX: \x00\r\n\r\n",
        b"5\r\nhello\r\n0\n\r\n",
        b"5;" + b"a" * 65536 + b"\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n" + b"X: y\r\n" * MAX_TRAILERS + b"\r\n",
        b"1" + b"0" * 20,
    ],
    ids=lambda written: repr(written[:40]),
)
def test_what_two_readers_could_read_in_two_ways_is_an_error(written: bytes) -> None:
    body = ChunkedBody()
    with pytest.raises(ValueError):  # noqa: PT011 - any of them
        fed(body, [written + b"\r\n" * (written[-1:] == b"0")])
    with pytest.raises(ValueError):  # noqa: PT011
        fed(ChunkedBody(), [bytes((octet,)) for octet in written + b"\r\n" * (written[-1:] == b"0")])


def test_an_extension_is_read_once() -> None:
    """A pattern that tried every way to divide it into name and value would be at it for long."""
    with pytest.raises(ValueError, match="malformed chunk size"):
        fed(ChunkedBody(), [b"1;" + b"a" * (MAX_CHUNK_LINE - 10) + b"\x01\r\n"])


def test_lines_without_end_are_bounded() -> None:
    with pytest.raises(ValueError, match="chunk line"):
        fed(ChunkedBody(), [b"5;" + b"a" * MAX_CHUNK_LINE])
    with pytest.raises(ValueError, match="trailers"):
        fed(ChunkedBody(), [b"0\r\n", b"X: " + b"a" * MAX_TRAILERS])


def test_an_end_of_the_connection_ends_only_what_has_no_other() -> None:
    unfinished = LengthBody(3)
    unfinished.feed(b"ab")
    chunked = ChunkedBody()
    chunked.feed(b"2\r\nab\r\n")
    until_close = CloseBody()

    assert until_close.feed(b"ab") == b"ab"
    assert (unfinished.feed_eof(), chunked.feed_eof(), until_close.feed_eof()) == (False, False, True)


def test_the_body_for_a_length() -> None:
    assert isinstance(body_of(CHUNKED), ChunkedBody)
    assert isinstance(body_of(UNTIL_CLOSE), CloseBody)
    assert isinstance(body_of(5), LengthBody)
    assert body_of(0).done
