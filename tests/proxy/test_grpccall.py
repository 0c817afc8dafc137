"""One call over HTTP/2: golden bytes both ways, each kind of frame, and a server that sends anything at all."""

from __future__ import annotations

import random

import hpack
import pytest
from hostile import ROUNDS, scratched

from proxy.grpccall import MAX_ANSWER, Answer, Broken, Call, frame, opening

SETTINGS = frame(4, 0, 0, b"")
ACK = frame(4, 1, 0, b"")
HEAD = [(":status", "200"), ("content-type", "application/grpc")]
TRAILERS = [("grpc-status", "0"), ("grpc-message", "")]
BODY = b"\0\0\0\0\x02\x08\x01"

RECORDED = bytes.fromhex(
    "000018040000000000000400400000000500400000000600004000fe03000000010000040800000000"
    "00003f000100000004010000000000000408000000000000000005000008060000000000c490ace053"
    "2f688000004e01040000000188400c636f6e74656e742d74797065106170706c69636174696f6e2f67"
    "7270634014677270632d6163636570742d656e636f64696e67176964656e746974792c206465666c61"
    "74652c20677a69700000070000000000010000000002080100001e010500000001400b677270632d73"
    "74617475730130000c677270632d6d65737361676500"
)
"""All that a server of gRPC's C core sent to one call."""

RECORDED_HUFFMAN = bytes.fromhex(
    "0000060400000000000005000040000000000401000000000000040800000000000000000500000806"
    "000000000002041010090e070700000e010400000001885f8b1d75d0620d263d4c4d65640000070000"
    "000000010000000002080100001801050000000140889acac8b21234da8f013040899acac8b5254207"
    "317f00"
)
"""The same of one in Go."""

REFUSED_HUFFMAN = bytes.fromhex(
    "0000060400000000000005000040000000000401000000000000040800000000000000000d00000806"
    "000000000002041010090e0707000031010500000001885f8b1d75d0620d263d4c4d656440889acac8"
    "b21234da8f013540899acac8b5254207317f8bb6aeb51fc54a20b677310b"
)
"""In Go, of a service that it does not know."""


def packed(fields: list[tuple[str, str]], huffman: bool = True) -> bytes:
    return hpack.Encoder().encode(fields, huffman=huffman)


def answered(*pieces: bytes) -> tuple[Answer, bytes]:
    """What the client makes of these pieces, and what it sent meanwhile."""
    call, sent = Call(), b""
    for piece in pieces:
        sent += call.receive(piece)
    return call.answer, sent


HEADED = SETTINGS + frame(1, 4, 1, packed(HEAD))
WHOLE = HEADED + frame(0, 0, 1, BODY) + frame(1, 5, 1, packed(TRAILERS))


def test_what_a_client_says() -> None:
    assert opening([(":path", "/x"), ("te", "é" * 100)], b"body") == (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00"
        b"\x00\x00\xd8\x01\x04\x00\x00\x00\x01\x00\x05:path\x02/x\x00\x02te\x7f\x49" + "é".encode() * 100 + b"\x00"
        b"\x00\x04\x00\x01\x00\x00\x00\x01body"
    )


@pytest.mark.parametrize("length", [0, 1, 126, 127, 128, 254, 255, 256, 5000])
def test_what_a_client_says_is_read_by_others(length: int) -> None:
    fields = [("x", "v" * length), ("y" * (length or 1), "")]
    block = opening(fields, b"")[24 + 15 + 9 : -9]
    assert [*map(tuple, hpack.Decoder().decode(block, raw=True))] == [
        (name.encode(), value.encode()) for name, value in fields
    ]


def test_what_is_too_long_to_say_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        opening([("x", "y")], b"x" * 16385)


@pytest.mark.parametrize(
    ("recorded", "ping"), [(RECORDED, "c490ace0532f6880"), (RECORDED_HUFFMAN, "02041010090e0707")], ids=["C", "Go"]
)
def test_a_recorded_answer(recorded: bytes, ping: str) -> None:
    for size in (1, 7, len(recorded)):
        answer, sent = answered(*(recorded[at : at + size] for at in range(0, len(recorded), size)))
        assert answer.ended
        assert answer.headers[:2] == ((":status", "200"), ("content-type", "application/grpc"))
        assert answer.trailers == (("grpc-status", "0"), ("grpc-message", ""))
        assert answer.body == BODY
        assert sent == ACK + frame(6, 1, 0, bytes.fromhex(ping))


def test_a_recorded_refusal() -> None:
    answer, _ = answered(REFUSED_HUFFMAN)
    assert answer.ended
    assert dict(answer.trailers) == {**dict(HEAD), "grpc-status": "5", "grpc-message": "unknown service"}


def test_an_answer_is_the_same_at_any_boundaries() -> None:
    whole, _ = answered(WHOLE)
    for at in range(len(WHOLE)):
        assert answered(WHOLE[:at], WHOLE[at:])[0] == whole


@pytest.mark.parametrize("huffman", [False, True])
def test_an_answer_without_a_body_has_one_block_for_both(huffman: bool) -> None:
    answer, _ = answered(SETTINGS, frame(1, 5, 1, packed([*HEAD, ("grpc-status", "12")], huffman)))
    assert answer.ended
    assert answer.headers == answer.trailers == (*HEAD, ("grpc-status", "12"))


BLOCK = packed(HEAD)


@pytest.mark.parametrize(
    "before_the_body",
    [
        frame(1, 4 | 8 | 32, 1, b"\x03" + b"\0\0\0\0\x10" + BLOCK + b"\0\0\0"),
        frame(1, 0, 1, BLOCK[:5]) + frame(9, 0, 1, BLOCK[5:9]) + frame(9, 4, 1, BLOCK[9:]),
        frame(1, 0, 1, b"") + frame(9, 4, 1, BLOCK),
        frame(1, 4, 1, packed([(":status", "103")])) + frame(1, 4, 1, BLOCK),
        frame(8, 0, 0, b"\0\0\xff\xff")
        + frame(2, 0, 1, b"\0\0\0\0\0")
        + frame(99, 255, 7, b"?")
        + frame(1, 4, 1, BLOCK),
        frame(4, 0, 0, b"\0\x04\0\0\0\0") + ACK + frame(6, 1, 0, b"pingpong") + frame(1, 4, 1, BLOCK),
        # A farewell: what is under way is answered still.
        frame(7, 0, 0, b"\x7f\xff\xff\xff\0\0\0\0bye") + frame(7, 0, 0, b"\0\0\0\1\0\0\0\0") + frame(1, 4, 1, BLOCK),
    ],
    ids=["padded", "continued", "empty", "informed", "chatty", "settings", "farewell"],
)
def test_what_a_server_may_send_first(before_the_body: bytes) -> None:
    padded = frame(0, 8, 1, b"\x02" + BODY + b"\0\0")
    answer, _ = answered(SETTINGS, before_the_body, padded, frame(1, 5, 1, packed(TRAILERS)))
    assert answer.ended
    assert (dict(answer.headers), answer.body) == (dict(HEAD), BODY)


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it does not speak HTTP/2 in the clear"),
        (b"\x15\x03\x03\x00\x02\x02\x46garbage", "it does not speak HTTP/2 in the clear"),
        (ACK, "it does not speak HTTP/2 in the clear"),
        (frame(1, 5, 1, BLOCK), "it does not speak HTTP/2 in the clear"),
        (SETTINGS + b"\x00\x40\x01\x00\x00\x00\x00\x00\x01", "it sends a frame of 16385 bytes"),
        (SETTINGS + frame(3, 0, 1, b"\0\0\0\7"), "it resets the call, error 7"),
        (SETTINGS + frame(3, 0, 1, b""), "it resets the call, error 0"),
        (HEADED + frame(7, 0, 0, b"\0\0\0\0\0\0\0\0"), "it ends the connection, error 0"),
        (HEADED + frame(7, 0, 0, b"\0\0\0\1\0\0\0\2"), "it ends the connection, error 2"),
        (SETTINGS + frame(5, 4, 1, b"\0\0\0\2"), "it pushes"),
        (SETTINGS + frame(1, 4, 3, BLOCK), "it answers on stream 3, which is not open"),
        (SETTINGS + frame(0, 1, 1, BODY), "it sends a body without headers"),
        (HEADED + frame(1, 4, 1, BLOCK), "it sends headers in the middle of a body"),
        (SETTINGS + frame(1, 0, 1, BLOCK) + frame(0, 0, 1, b""), "it mixes up its headers"),
        (SETTINGS + frame(1, 0, 1, BLOCK) + frame(1, 4, 1, b""), "it mixes up its headers"),
        (HEADED + frame(9, 4, 1, b""), "it mixes up its headers"),
        (HEADED + frame(0, 8, 1, b""), "it pads more than it sends"),
        (HEADED + frame(0, 8, 1, b"\x02x"), "it pads more than it sends"),
        (SETTINGS + frame(1, 4, 1, b"\xff\xff\xff"), "its headers are unreadable"),
        (SETTINGS + frame(1, 4, 1, b"\xbf\xff\xff\xff\xff\x7f"), "its headers are unreadable"),
        (SETTINGS + frame(1, 4, 1, b"\x3f\xff\xff\xff\x7f\x88"), "its headers are unreadable"),
        # One long field, kept in the table and named again and again: small on the wire.
        (
            SETTINGS + frame(1, 4, 1, b"\x40\x01x\x7f\xa0\x0f" + b"y" * 2079 + b"\xbe" * 900),
            "its headers are unreadable",
        ),
        (HEADED + frame(0, 0, 1, b"x" * 16384) * 4, f"it answers more than {MAX_ANSWER} bytes"),
        (SETTINGS + frame(1, 0, 1, b"") + frame(9, 0, 1, b"") * 7000, f"it answers more than {MAX_ANSWER} bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[:12].hex(),
)
def test_anything_else_is_no_answer(sent: bytes, why: str) -> None:
    with pytest.raises(Broken, match=why):
        answered(sent)


def test_a_flood_of_pings_is_answered_no_longer_than_an_answer_may_be() -> None:
    with pytest.raises(Broken, match="more than"):
        answered(SETTINGS, *[frame(6, 0, 0, b"pingpong") * 100] * 40)


def test_nothing_is_read_after_the_end() -> None:
    answer, _ = answered(WHOLE + frame(3, 0, 1, b"\0\0\0\0") + b"whatever")
    assert answer.body == BODY


def test_any_bytes_are_an_answer_or_none() -> None:
    """Nothing but ``Broken`` leaves, whatever comes."""
    for seed in range(ROUNDS * 10):
        dice = random.Random(seed)
        data = dice.choice((RECORDED, RECORDED_HUFFMAN, WHOLE, HEADED + frame(9, 4, 1, BLOCK)))
        for _ in range(dice.choice((1, 2, 5))):
            data = scratched(data, dice)
        if dice.random() < 0.3:
            data = SETTINGS + frame(
                dice.choice((1, 1, 0, 9)), dice.randrange(256), 1, dice.randbytes(dice.randrange(99))
            )
        try:
            answered(data[: len(data) // 2], data[len(data) // 2 :])
        except Broken:
            pass
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
