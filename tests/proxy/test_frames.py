"""Bytes in frames: put together again however they were cut, and bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.frames import END, MAX_FRAME, BadFrames, Frames, frame


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.data())
def test_any_cut_gives_the_same_bytes(pieces: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(frame, pieces)) + END
    frames, got = Frames(), b""
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        assert not frames.ended
        got += frames.feed(stream[:size])
        stream = stream[size:]
    assert got == b"".join(pieces)
    assert frames.ended


def test_nothing_follows_the_end() -> None:
    with pytest.raises(BadFrames, match="behind the end"):
        Frames().feed(END + b"x")
    frames = Frames()
    frames.feed(END)
    with pytest.raises(BadFrames, match="behind the end"):
        frames.feed(b"x")


def test_a_frame_is_bounded_before_it_is_kept() -> None:
    with pytest.raises(BadFrames, match=f"{MAX_FRAME + 1} bytes"):
        Frames().feed((MAX_FRAME + 1).to_bytes(4, "big"))
