"""Frames between ends of different age: what one does not know, the other must not send, or must be ignored."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import Struct

from proxy.contract.messages import Ack, Counted, Hello, Observe, Push, decode_down, decode_up, encode
from proxy.contract.report import Labels, Report, Row


class OldHello(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="hello"):
    """As sidecars and controllers knew it that did not count yet."""

    version: int = 0
    digest: str = ""
    hosts: tuple[str, ...] = ()
    build: str = ""


def test_an_old_sidecar_is_not_taken_for_one_that_reports() -> None:
    assert decode_up(encode_old(OldHello(version=3))) == Hello(version=3, reports=False)


def test_an_old_controller_understands_the_hello_of_a_sidecar_that_reports() -> None:
    frame = encode(Hello(version=3, hosts=("web.shop",), reports=True))
    assert msgspec.msgpack.decode(frame, type=OldHello) == OldHello(version=3, hosts=("web.shop",))


@pytest.mark.parametrize("frame", [Observe(seconds=5.0), Counted(sequence=1)])
def test_an_old_sidecar_would_refuse_these_frames(frame: Observe | Counted) -> None:
    """Which is why they are sent to those alone that said they report."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(encode(frame), type=Push)
    assert decode_down(encode(frame)) == frame


def test_an_old_controller_would_refuse_a_report() -> None:
    """Which is why none is sent unasked."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(encode(Report(epoch="e", sequence=1, seconds=1.0)), type=OldHello | Ack)


def test_a_newer_sidecar_may_say_more_of_a_series() -> None:
    labels = {"direction": "outbound", "destination": "shop/web:80", "zone": "a"}
    row = [0, b"", labels, "more"]
    report = {"type": "report", "epoch": "e", "sequence": 1, "seconds": 1.0, "rows": [row], "also": 1}
    assert decode_up(msgspec.msgpack.encode(report)) == Report(
        epoch="e",
        sequence=1,
        seconds=1.0,
        rows=(Row(0, b"", Labels(direction="outbound", destination="shop/web:80")),),
    )


def encode_old(hello: OldHello) -> bytes:
    return msgspec.msgpack.encode(hello)
