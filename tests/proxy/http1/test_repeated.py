"""Names veiled from the parser, and unveiled again."""

from __future__ import annotations

import pytest

from proxy.http1.repeated import unveil, veil


@pytest.mark.parametrize("name", [b"User-Agent", b"etag", b"SERVER", b"Content-Type", b"~server", b"~~Max-Forwards"])
def test_a_veiled_name_is_another_and_comes_back(name: bytes) -> None:
    assert veil(b"GET / HTTP/1.1\r\n%b: x\r\n\r\n" % name) == b"GET / HTTP/1.1\r\n~%b: x\r\n\r\n" % name
    assert unveil(((b"~" + name, b"x"),)) == ((name, b"x"),)


@pytest.mark.parametrize("name", [b"Host", b"Content-Length", b"Transfer-Encoding", b"X-Server", b"~host", b"server "])
def test_no_other_name_is_touched(name: bytes) -> None:
    head = b"GET / HTTP/1.1\r\n%b: server: x\r\n\r\n" % name
    assert veil(head) == head
    assert unveil(((name, b"~server"),)) == ((name, b"~server"),)
