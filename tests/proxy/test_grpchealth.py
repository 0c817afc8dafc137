"""The health check's messages byte by byte, and what each answer means to the kubelet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.grpchealth import headers, request, serving_status, unhealthy

HEAD = ((":status", "200"), ("content-type", "application/grpc"))
WELL = (("grpc-status", "0"),)
SERVING = b"\0\0\0\0\x02\x08\x01"


@pytest.mark.parametrize(
    ("service", "message"),
    [
        ("", b"\0\0\0\0\0"),
        ("a", b"\0\0\0\0\x03\x0a\x01a"),
        ("shop.Cart", b"\0\0\0\0\x0b\x0a\x09shop.Cart"),
        ("é", b"\0\0\0\0\x04\x0a\x02\xc3\xa9"),
        ("x" * 300, b"\0\0\0\x01\x2f\x0a\xac\x02" + b"x" * 300),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_the_request(service: str, message: bytes) -> None:
    assert request(service) == message


@pytest.mark.parametrize(
    ("timeout", "text"), [(1.0, "1000m"), (0.25, "250m"), (0.0, "1m"), (3600.0, "3600000m"), (1e9, "99999999m")]
)
def test_the_server_hears_how_long_it_may_take(timeout: float, text: str) -> None:
    assert dict(headers("10.0.0.1:9000", "kube-probe/1.31", timeout)) == {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/grpc.health.v1.Health/Check",
        ":authority": "10.0.0.1:9000",
        "content-type": "application/grpc",
        "user-agent": "kube-probe/1.31",
        "te": "trailers",
        "grpc-timeout": text,
    }


@pytest.mark.parametrize(
    ("head", "trailers", "body", "why"),
    [
        (HEAD, WELL, SERVING, ""),
        ((HEAD[0], ("content-type", "application/grpc+proto")), WELL, SERVING, ""),
        ((HEAD[0], ("content-type", "application/grpc; x=y")), WELL, SERVING, ""),
        (HEAD, WELL, b"\0\0\0\0\x02\x08\x00", "it is UNKNOWN"),
        (HEAD, WELL, b"\0\0\0\0\x00", "it is UNKNOWN"),
        (HEAD, WELL, b"\0\0\0\0\x02\x08\x02", "it is NOT_SERVING"),
        (HEAD, WELL, b"\0\0\0\0\x02\x08\x03", "it is SERVICE_UNKNOWN"),
        (HEAD, WELL, b"\0\0\0\0\x02\x08\x07", "it is 7"),
        (HEAD, (("grpc-status", "12"),), b"", "it does not implement grpc.health.v1.Health"),
        (HEAD, (("grpc-status", "5"), ("grpc-message", "what?")), b"", "it answers grpc-status 5 what?"),
        (HEAD, (("grpc-status", "4"),), b"", "it answers grpc-status 4"),
        # An error counts, whatever came before it.
        (HEAD, (("grpc-status", "14"),), SERVING, "it answers grpc-status 14"),
        (HEAD, (("grpc-status", "00"),), SERVING, "it answers grpc-status 00"),
        (HEAD, (), SERVING, "it answers grpc-status not at all"),
        ((*HEAD, ("grpc-status", "0")), (), SERVING, "it answers grpc-status not at all"),
        (((":status", "404"),), WELL, SERVING, "it answers HTTP 404"),
        ((), WELL, SERVING, "it answers HTTP without a status"),
        (((":status", "200"),), WELL, SERVING, "it does not speak gRPC: its answer is of no type"),
        (
            (HEAD[0], ("content-type", "text/html")),
            WELL,
            SERVING,
            "it does not speak gRPC: its answer is text/html",
        ),
        (HEAD, WELL, b"", "its answer is not one message of gRPC, uncompressed"),
        (HEAD, WELL, SERVING[:-1], "its answer is not one message of gRPC, uncompressed"),
        (HEAD, WELL, SERVING * 2, "its answer is not one message of gRPC, uncompressed"),
        (HEAD, WELL, b"\1" + SERVING[1:], "its answer is not one message of gRPC, uncompressed"),
        (HEAD, WELL, b"\0\0\0\0\x01\x08", "its answer is no HealthCheckResponse"),
    ],
    ids=str,
)
def test_only_serving_is_well(
    head: tuple[tuple[str, str], ...], trailers: tuple[tuple[str, str], ...], body: bytes, why: str
) -> None:
    assert unhealthy(head, trailers, body) == why


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"", 0),
        (b"\x08\x01", 1),
        (b"\x08\x02\x08\x01", 1),
        (b"\x08\x81\x00", 1),
        (b"\x10\x05\x08\x01", 1),
        (b"\x08\x01\x12\x03abc", 1),
        (b"\x08\x01\x19abcdefgh\x25abcd", 1),
        (b"\x0a\x01\x01", 0),
        (b"\x08", None),
        (b"\x08\x80", None),
        (b"\x08" + b"\x80" * 10 + b"\x01", None),
        (b"\x00\x01", None),
        (b"\x08\x01\x12\x04abc", None),
        (b"\x08\x01\x12\xff\xff\xff\xff\x7f", None),
        (b"\x19abc", None),
        (b"\x0b\x0c", None),
    ],
    ids=str,
)
def test_unknown_fields_are_passed_over(message: bytes, status: int | None) -> None:
    assert serving_status(message) == status


@given(st.binary(max_size=60))
def test_any_message_is_read_or_refused(message: bytes) -> None:
    status = serving_status(message)
    assert status is None or status >= 0


@given(st.binary(max_size=30))
def test_any_body_is_judged(body: bytes) -> None:
    assert (unhealthy(HEAD, WELL, body) == "") == (body[:1] == b"\0" and serving_status(body[5:]) == 1 and _whole(body))


def _whole(body: bytes) -> bool:
    return len(body) >= 5 and int.from_bytes(body[1:5], "big") == len(body) - 5
