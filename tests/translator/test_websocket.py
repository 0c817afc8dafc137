"""Frames as RFC 6455 has them: however they are cut, the same messages; and what no client may send is refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translator.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    TOO_BIG,
    BadFrame,
    Incoming,
    Message,
    frame,
)
from translator.websocket import closing as closing_frame

MOST = 1 << 17


def sent(opcode: int, payload: bytes, mask: bytes = b"\x01\xfe\x80\x7f", *, last: bool = True, bits: int = 0) -> bytes:
    """A client's frame, written as the RFC has it: byte by byte."""
    size = len(payload)
    length = (
        bytes((0x80 | size,))
        if size < 126
        else bytes((0xFE,)) + size.to_bytes(2, "big")
        if size < 1 << 16
        else bytes((0xFF,)) + size.to_bytes(8, "big")
    )
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes(((0x80 if last else 0) | bits | opcode,)) + length + mask + masked


_mask = st.binary(min_size=4, max_size=4)
_data = st.tuples(st.just(BINARY), st.lists(st.binary(max_size=300), min_size=1, max_size=3))
_control = st.tuples(st.sampled_from((PING, PONG, CLOSE)), st.lists(st.binary(max_size=125), min_size=1, max_size=1))


@given(
    messages=st.lists(_data | _control, max_size=6),
    mask=_mask,
    cuts=st.lists(st.integers(0, 3000), max_size=20),
    between=st.booleans(),
)
def test_however_they_are_cut(
    messages: list[tuple[int, list[bytes]]], mask: bytes, cuts: list[int], between: bool
) -> None:
    wire, expected = b"", []
    for opcode, parts in messages:
        for number, part in enumerate(parts):
            wire += sent(CONTINUATION if number else opcode, part, mask, last=number == len(parts) - 1)
            if between and number < len(parts) - 1:
                wire += sent(PING, b"now", mask)
                expected.append(Message(PING, b"now"))
        expected.append(Message(opcode, b"".join(parts)))
    incoming, ends = Incoming(MOST), sorted({0, len(wire), *(min(cut, len(wire)) for cut in cuts)})
    found = [one for begin, end in pairwise(ends) for one in incoming.feed(wire[begin:end])]
    assert found == expected
    assert incoming._rest is None, "nothing is kept of what was read"


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, MOST])
def test_every_length(size: int) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    assert Incoming(MOST).feed(sent(BINARY, payload[:size])) == [Message(BINARY, payload[:size])]
    written = frame(BINARY, payload[:size])
    head = len(written) - size
    assert (written[0], written[head:]) == (0x82, payload[:size])
    assert head == (2 if size < 126 else 4 if size < 65536 else 10)
    said = written[1] if size < 126 else int.from_bytes(written[2:head], "big")
    assert said == size


def test_byte_by_byte() -> None:
    incoming, wire = Incoming(MOST), sent(BINARY, b"x" * 70_000) + sent(TEXT, b"y")
    found = [one for byte in wire for one in incoming.feed(bytes((byte,)))]
    assert found == [Message(BINARY, b"x" * 70_000), Message(TEXT, b"y")]


BAD = {
    "not masked": bytes((0x82, 1)) + b"x",
    "a reserved bit": sent(BINARY, b"x", bits=0x40),
    "an unknown opcode": sent(3, b"x"),
    "an unknown control": sent(11, b"x"),
    "a long control frame": sent(PING, b"x" * 126),
    "a control frame in pieces": sent(PING, b"x", last=False),
    "the rest of nothing": sent(CONTINUATION, b"x"),
    "one message inside another": sent(BINARY, b"x", last=False) + sent(BINARY, b"y"),
}


@pytest.mark.parametrize("wire", BAD.values(), ids=BAD.keys())
def test_what_no_client_may_send(wire: bytes) -> None:
    with pytest.raises(BadFrame) as caught:
        Incoming(MOST).feed(wire)
    assert caught.value.code == 1002


@pytest.mark.parametrize(
    "wire",
    [
        sent(BINARY, b"x" * 11)[:6],
        bytes((0x82, 0xFF)) + b"\xff" * 8,
        sent(BINARY, b"x" * 6, last=False) + sent(CONTINUATION, b"x" * 5)[:6],
        b"".join(sent(CONTINUATION if number else BINARY, b"xx", last=False) for number in range(6)),
    ],
)
def test_too_much_is_refused_before_it_has_come(wire: bytes) -> None:
    with pytest.raises(BadFrame) as caught:
        Incoming(10).feed(wire)
    assert caught.value.code == TOO_BIG


def test_how_a_stream_is_closed() -> None:
    assert closing_frame(1001) == bytes((0x88, 2)) + b"\x03\xe9"
    assert len(closing_frame(1002, "x" * 500)) == 2 + 125
