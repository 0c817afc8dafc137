"""What can go wrong in the sidecar, and what a client is told.

    SidecarError
    ├── SettingsError        we were started wrongly
    ├── ConfigRejected       a pushed config cannot be put in force (answered with a NACK)
    └── Refusal              a request that gets an answer of the sidecar's own
        ├── BadRequest       the client erred: 4xx, the connection ends
        ├── Denied           policy: 403
        └── Unavailable      nowhere to send it: 502, 503, 504

Every answer of the sidecar's own carries ``smi-mesh-reason: <word>; <detail>``;
the words are ``Reason``, here and nowhere else.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """The first word of ``smi-mesh-reason``."""

    NO_ENDPOINT = "no-endpoint"
    WEIGHTS_ZERO = "weights-zero"
    NO_SERVICE = "no-service"
    DENIED = "denied"
    NO_IDENTITY = "no-identity"
    CONNECT_FAILURE = "connect-failure"
    RESET = "reset"
    TIMEOUT = "timeout"
    RETRIES_SPENT = "retries-spent"
    BREAKER_OPEN = "breaker-open"
    LOOP = "loop"
    EGRESS = "egress"
    BAD_REQUEST = "bad-request"
    TOO_LARGE = "too-large"
    BAD_RESPONSE = "bad-response"
    DRAINING = "draining"
    OVERLOAD = "overload"


class SidecarError(Exception):
    """Base of all errors this package raises."""


class SettingsError(SidecarError):
    """The sidecar was started with settings it cannot work with."""


class ConfigRejected(SidecarError):
    """A config that contradicts itself; the one in force stays."""


class Refusal(SidecarError):
    """An answer of the sidecar's own: HTTP ``status``, a ``reason`` word and a ``detail`` for people."""

    def __init__(self, status: int, reason: Reason, detail: str) -> None:
        super().__init__(f"{status} {reason}: {detail}")
        self.status = status
        self.reason = reason
        self.detail = detail


class BadRequest(Refusal):
    """The client's bytes are not a request we forward; the connection cannot be trusted further."""

    def __init__(self, detail: str, status: int = 400, reason: Reason = Reason.BAD_REQUEST) -> None:
        super().__init__(status, reason, detail)


class BadResponse(Refusal):
    """The upstream's bytes are not a response we pass on."""

    def __init__(self, detail: str) -> None:
        super().__init__(502, Reason.BAD_RESPONSE, detail)


class Denied(Refusal):
    """Policy says no."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(403, reason, detail)


class Unavailable(Refusal):
    """There is nowhere to send the request, or it came to nothing."""


def no_endpoint(detail: str) -> Unavailable:
    """503: the destination exists but none of its endpoints is ready."""
    return Unavailable(503, Reason.NO_ENDPOINT, detail)


def breaker_open(detail: str) -> Unavailable:
    """503: the destination's endpoints are ejected for now."""
    return Unavailable(503, Reason.BREAKER_OPEN, detail)


def connect_failure(detail: str) -> Unavailable:
    """502: no connection could be opened, so no byte of the request was delivered."""
    return Unavailable(502, Reason.CONNECT_FAILURE, detail)


def timeout(detail: str) -> Unavailable:
    """504: a time that the Service's policy sets has run out."""
    return Unavailable(504, Reason.TIMEOUT, detail)


def reset(detail: str) -> Unavailable:
    """502: the upstream broke off after the request was written."""
    return Unavailable(502, Reason.RESET, detail)
