"""gRPC's health service as the kubelet asks it: the request, and what its answer means. Pure.

Sources: gRPC over HTTP/2 (PROTOCOL-HTTP2.md), ``grpc/health/v1/health.proto``, the kubelet's ``pkg/probe/grpc``.
"""

from __future__ import annotations

from typing import Final

METHOD: Final = "/grpc.health.v1.Health/Check"

SERVING: Final = 1
STATUSES: Final = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
"""``HealthCheckResponse.ServingStatus``, by number."""

UNIMPLEMENTED: Final = "12"

CONTENT: Final = "application/grpc"

Fields = tuple[tuple[str, str], ...]


def headers(authority: str, agent: str, timeout: float) -> Fields:
    """The call's headers. ``timeout`` is in seconds: the server may stop when nobody waits any longer."""
    return (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", METHOD),
        (":authority", authority),
        ("content-type", CONTENT),
        ("user-agent", agent),
        ("te", "trailers"),
        ("grpc-timeout", f"{min(max(round(timeout * 1000), 1), 99_999_999)}m"),
    )


def request(service: str) -> bytes:
    """``HealthCheckRequest`` as a message of gRPC: not compressed, its length, field 1 where there is a name."""
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    return b"\0" + len(message).to_bytes(4, "big") + message


def unhealthy(head: Fields, trailers: Fields, body: bytes) -> str:
    """Why this answer is no "serving"; empty where it is. ``trailers`` of an answer without body are its ``head``."""
    first, last = dict(head), dict(trailers)
    kind = first.get("content-type", "")
    code = last.get("grpc-status", "")
    if first.get(":status") != "200":
        return f"it answers HTTP {first.get(':status', 'without a status')}"
    if kind.lower() != CONTENT and not kind.lower().startswith((f"{CONTENT}+", f"{CONTENT};")):
        return f"it does not speak gRPC: its answer is {kind or 'of no type'}"
    if code == UNIMPLEMENTED:
        return "it does not implement grpc.health.v1.Health"
    if code != "0":
        return f"it answers grpc-status {code or 'not at all'} {last.get('grpc-message', '')}".rstrip()
    if body[:1] != b"\0" or len(body) < 5 or len(body) != 5 + int.from_bytes(body[1:5], "big"):
        return "its answer is not one message of gRPC, uncompressed"
    status = serving_status(body[5:])
    if status is None:
        return "its answer is no HealthCheckResponse"
    if status == SERVING:
        return ""
    return f"it is {STATUSES[status] if status < len(STATUSES) else status}"


def serving_status(message: bytes) -> int | None:
    """Field 1 of a ``HealthCheckResponse``: its last value, 0 where there is none; None where it is no message.

    Fields that nobody knows are passed over, as protocol buffers ask for.
    """
    status, at = 0, 0
    while at < len(message):
        key, at = _number(message, at)
        start, size = at, 0
        match key & 7:
            case 0:
                value, at = _number(message, at)
                status = value & 0xFFFFFFFF if key == 0x08 else status
            case 1 | 5 as wire:
                size = 8 if wire == 1 else 4
            case 2:
                size, start = _number(message, at)
            case _:
                return None
        at = max(at, start + size)
        if at > len(message) or key < 8:
            return None
    return status


def _number(message: bytes, at: int) -> tuple[int, int]:
    """The varint at ``at`` and where it ends; where it does not, that is past the message's end."""
    number = 0
    for shift, octet in enumerate(message[at : at + 10]):
        number |= (octet & 0x7F) << 7 * shift
        if octet < 0x80:
            return number, at + shift + 1
    return 0, len(message) + 1


def _varint(number: int) -> bytes:
    found = b""
    while number > 0x7F:
        found += bytes((number & 0x7F | 0x80,))
        number >>= 7
    return found + bytes((number,))
