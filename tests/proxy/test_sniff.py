"""What a connection's first bytes are taken for."""

from __future__ import annotations

import pytest

from proxy.sniff import declared, spoken

HTTP = (
    b"GET / HTTP/1.1\r\n",
    b"POST /",
    b"OPTIONS * HTTP/1.1",
    b"\r\nGET /",
    b"UPDATEREDIRECTREF /x",
    b"M-SEARCH * HTTP/1.1",
)
RAW = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00",
    b"get / HTTP/1.1",
    b" GET /",
    b"*1\r\n$4\r\nPING\r\n",
    b"SSH-2.0-OpenSSH",
    b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
    b"A" * 25,
    b"EHLO:",
)
UNDECIDED = (b"", b"G", b"GET", b"\r\n", b"PRI ", b"PRI * HTTP/", b"A" * 24)


@pytest.mark.parametrize("first", HTTP)
def test_a_method_and_a_space_is_http(first: bytes) -> None:
    assert spoken(first) == "http"


@pytest.mark.parametrize("first", RAW)
def test_everything_else_is_not(first: bytes) -> None:
    assert spoken(first) == "raw"


@pytest.mark.parametrize("first", UNDECIDED)
def test_too_few_bytes_decide_nothing(first: bytes) -> None:
    assert spoken(first) is None


@pytest.mark.parametrize("first", [*HTTP, *RAW])
def test_byte_by_byte_it_is_never_taken_for_something_else_first(first: bytes) -> None:
    verdicts = {spoken(first[:end]) for end in range(len(first) + 1)} - {None}
    assert len(verdicts) == 1


def test_what_the_ports_owner_says_decides() -> None:
    assert [declared(word) for word in ("http", "ws", "grpc", "http2", "tcp", "opaque", "mysql", "")] == [
        "http",
        "http",
        "raw",
        "raw",
        "raw",
        "raw",
        "raw",
        None,
    ]
