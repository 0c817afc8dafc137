"""One canonical form of a path, and what cannot have one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.paths import canonical_path


@pytest.mark.parametrize(
    ("sent", "canonical"),
    [
        (b"/", b"/"),
        (b"", b"/"),
        (b"/a/b", b"/a/b"),
        (b"/a/b/", b"/a/b/"),
        (b"//a///b", b"/a/b"),
        (b"/a/./b", b"/a/b"),
        (b"/a/../b", b"/b"),
        (b"/a/..", b"/"),
        (b"/a/.", b"/a/"),
        (b"/../../a", b"/a"),
        (b"/a//../b", b"/b"),
        (b"/%61dmin", b"/admin"),
        (b"/%2e%2e/admin", b"/admin"),
        (b"/a/%2E%2e/b", b"/b"),
        (b"/.hidden/x", b"/.hidden/x"),
        (b"/a/...", b"/a/..."),
        (b"/a%20b", b"/a%20b"),
        (b"/caf%c3%a9", b"/caf%C3%A9"),
        (b"/caf\xc3\xa9", b"/caf%C3%A9"),
        (b"/a%252Fb", b"/a%252Fb"),
        (b"/a%3fb", b"/a%3Fb"),
        (b"/a%3b..", b"/a%3B.."),
        (b"/a..%20/b", b"/a..%20/b"),
        (b"/.%e4%bd%a0", b"/.%E4%BD%A0"),
        (b"/Admin", b"/Admin"),
        (b"*", b"*"),
    ],
)
def test_canonical_form(sent: bytes, canonical: bytes) -> None:
    found = canonical_path(sent)
    assert (found.path, found.ambiguous) == (canonical, "")


@pytest.mark.parametrize(
    "sent",
    [
        b"/a%2fb",
        b"/a%2Fb",
        b"/a%5cb",
        b"/a\\b",
        b"/a;p=1/b",
        b"/a%00",
        b"/a%0ab",
        b"/a%7f",
        b"/a%zz",
        b"/a%",
        b"/a%2",
        b"/%c0%ae%c0%ae/admin",
        b"/%e0%80%af",
        b"/public/..%3b/admin",
        b"/public/%2e%2e%3Bx/admin",
        b"/public/.%3b/",
        b"/public/..%20/admin",
        b"/..%253b/",
        b"/%ff",
        b"/\xff",
    ],
)
def test_what_readers_could_take_for_different_things(sent: bytes) -> None:
    assert canonical_path(sent).ambiguous


@given(st.binary(max_size=40).map(lambda tail: b"/" + tail.replace(b"?", b"")))
def test_the_canonical_form_is_its_own(path: bytes) -> None:
    found = canonical_path(path)
    assert found.path.startswith(b"/")
    if not found.ambiguous:
        assert canonical_path(found.path).path == found.path
        assert not {b".", b".."} & set(found.path.split(b"/"))
