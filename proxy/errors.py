"""What can go wrong in the sidecar, and what a client is told.

    SidecarError
    ├── SettingsError        we were started wrongly
    ├── ConfigRejected       a pushed config cannot be put in force (answered with a NACK)
    └── Refusal              a request that gets an answer of the sidecar's own
        ├── BadRequest       the client erred: 4xx, the connection ends
        ├── Denied           policy: 403
        └── Unavailable      nowhere to send it: 502, 503, 504

Every answer of the sidecar's own carries ``smi-mesh-reason: <word>; <detail>``;
the words are ``Reason``, here and nowhere else (``translator.reference`` writes them down).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Self

MAX_REASON: Final = 200
"""Characters of what somebody else said that are kept for the log."""


class Reason(StrEnum):
    """The first word of ``smi-mesh-reason``; the HTTP statuses it comes with, and when, in Markdown."""

    _value_: str
    statuses: tuple[int, ...]
    when: str

    def __new__(cls, word: str, statuses: tuple[int, ...], when: str) -> Self:
        reason = str.__new__(cls, word)
        reason._value_ = word
        reason.statuses = statuses
        reason.when = when
        return reason

    NO_ENDPOINT = "no-endpoint", (503,), "The destination exists, but none of its endpoints is ready."
    WEIGHTS_ZERO = (
        "weights-zero",
        (503,),
        (
            "All weights of the TrafficSplit that applies are 0, or those of the backends that exist and have the "
            "port are."
        ),
    )
    NO_SERVICE = (
        "no-service",
        (503,),
        (
            "The Service has no such port, the TrafficSplit that applies no backend that exists and has it, or nobody "
            "can say now what the name means."
        ),
    )
    DENIED = "denied", (403,), "No TrafficTarget allows the request, or the default policy does not."
    NO_IDENTITY = "no-identity", (403,), "The caller showed no identity, and strangers are not let in."
    CONNECT_FAILURE = (
        "connect-failure",
        (502,),
        (
            "No connection could be opened, to the pod or from its sidecar to the application: no byte of the request "
            "was delivered."
        ),
    )
    RESET = "reset", (502,), "The connection broke after the request was written, before its answer was whole."
    TIMEOUT = (
        "timeout",
        (408, 504),
        "504: a time-out of the Service's policy has run out. 408: the client stopped in the middle of its request.",
    )
    RETRIES_SPENT = (
        "retries-spent",
        (502, 504),
        (
            "No connection, a connection that broke, or no answer in the time for one try, and the request's retries "
            "or the Service's budget of them are spent. The detail has which, and the last failure."
        ),
    )
    BREAKER_OPEN = "breaker-open", (503,), "Every endpoint has failed too often and is left alone for now."
    LOOP = (
        "loop",
        (403, 502),
        "The destination is this sidecar itself (502), or a port that is the sidecar's own (403).",
    )
    EGRESS = "egress", (502,), "The name is of no Service or pod of this mesh, and others are not let through."
    BAD_REQUEST = (
        "bad-request",
        (400, 405, 408, 417, 501, 505),
        "The bytes are no request that is forwarded, or one that could be understood in two ways.",
    )
    TOO_LARGE = "too-large", (414, 431), "The request's target or headers are too long."
    BAD_RESPONSE = "bad-response", (502,), "What came from upstream is no answer that is passed on."
    DRAINING = (
        "draining",
        (),
        "Not said by this version. From a peer's sidecar it counts as `connect-failure`: the request moves on.",
    )
    OVERLOAD = "overload", (), "Not said by this version."


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


def printable(said: str) -> str:
    """As much of what somebody else said as a line of the log takes, without signs that would do something there."""
    return "".join(character if character.isprintable() else " " for character in said)[:MAX_REASON]
