"""What controller and sidecar say to each other.

The control stream: MessagePack structs over an mTLS WebSocket, one per binary message.
Down: ``Push``, ``Observe``, ``Counted``. Up: ``Hello`` first, then ``Ack``, ``Nack``, ``Ask`` and ``Report`` at
any time. The controller sends a whole config (``base`` 0) after each ``Hello`` unless the
version named there is the current one; then deltas, each upon the last
acknowledged version.

What the other end does not know would break its stream or be passed over, so neither is sent such a thing unasked: a
sidecar that can report says so in its ``Hello``, a controller that counts then
says ``Observe``, and only on a stream where it did does the sidecar send a ``Report``. To one that says ``compact``,
large frames go deflated (RFC 1950), and of a Service of which nothing but weights has changed only these are told.

Enrolment: ``Issued`` is the answer to a certificate request, in JSON.
"""

from __future__ import annotations

import zlib
from collections import deque
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from proxy.contract.config import Cluster, Config, Host, Inbound, Service, Trust
from proxy.contract.report import Report
from proxy.contract.weights import WrongNumber, weights_of, with_weights

MAX_FRAME_BYTES: Final = 32 << 20
"""Largest frame from the controller, as sent and as read: 3 KB a dependency at most, so this is some 10,000 of them."""

_DEFLATED_FROM: Final = 512
"""Bytes from which a frame is deflated: half of it goes, and below that it would save no packet."""

_DEFLATED: Final = zlib.compress(b"", 1)[:1]
"""How a deflated frame begins; MessagePack would say an integer by it, and messages are maps."""


class Push(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="push"):
    """Config ``version`` as a change of ``base`` (0: of the empty config).

    None removes an entry; ``inbound`` and ``trust`` None: as before. ``weights`` has the Services, by key, of which
    only the weights are others, with all of these (``proxy.contract.weights``).
    """

    version: int
    base: int = 0
    services: dict[str, Service | None] = {}
    clusters: dict[str, Cluster | None] = {}
    hosts: dict[str, Host | None] = {}
    inbound: Inbound | None = None
    trust: Trust | None = None
    weights: dict[str, tuple[int, ...]] = {}


class Hello(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="hello"):
    """Opens the stream: the config the sidecar runs on and the hosts it has been asked for so far.

    ``reports``: it understands ``Observe`` and ``Counted``; ``compact``: it understands ``Push.weights`` and deflated
    frames.
    """

    version: int = 0
    digest: str = ""
    hosts: tuple[str, ...] = ()
    build: str = ""
    reports: bool = False
    compact: bool = False


class Ack(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="ack"):
    """``version`` is in force."""

    version: int


class Nack(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="nack"):
    """A push was refused and nothing changed; ``current`` stays in force. ``version`` 0: it could not be read."""

    reason: str
    current: int
    version: int = 0


class Ask(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="ask"):
    """The application wants to reach these hosts; each gets an entry in ``Config.hosts``."""

    hosts: tuple[str, ...]


class Issued(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A certificate (PEM, leaf first, the CAs between it and its root after it), and whom to believe from now on."""

    certificate: str
    trust: Trust


class Observe(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="observe"):
    """Report what is counted, so many seconds after the report before at the latest."""

    seconds: float


class Counted(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="counted"):
    """The report of this number is counted and may be forgotten."""

    sequence: int


Down = Push | Observe | Counted
Up = Hello | Ack | Nack | Ask | Report

_V = TypeVar("_V")
_down: msgspec.msgpack.Decoder[Down] = msgspec.msgpack.Decoder(Down)
_up: msgspec.msgpack.Decoder[Up] = msgspec.msgpack.Decoder(Up)
_encoder = msgspec.msgpack.Encoder()


def encode(message: Up | Down) -> bytes:
    """The frame of one message."""
    return _encoder.encode(message)


def deflated(frame: bytes) -> bytes:
    """A frame from the controller as it goes to a sidecar that says ``compact``."""
    return zlib.compress(frame, 6) if len(frame) >= _DEFLATED_FROM else frame


def decode_down(frame: bytes) -> Down:
    """A frame from the controller, deflated or not. Raises ``msgspec.MsgspecError``."""
    return _down.decode(_inflated(frame) if frame.startswith(_DEFLATED) else frame)


def _inflated(frame: bytes) -> bytes:
    inflating = zlib.decompressobj()
    try:
        inflated = inflating.decompress(frame, MAX_FRAME_BYTES)
    except zlib.error as error:
        raise msgspec.DecodeError(f"cannot be inflated: {error}") from error
    if not inflating.eof or inflating.unused_data:
        raise msgspec.DecodeError("cannot be inflated: too large, or not one whole stream")
    return inflated


def decode_up(frame: bytes) -> Up:
    """A frame from a sidecar. Raises ``msgspec.MsgspecError``."""
    return _up.decode(frame)


def difference(old: Config, new: Config, *, compact: bool = False) -> Push:
    """The smallest push that turns ``old`` into ``new``; ``compact`` as the sidecar's ``Hello`` says."""
    services = _change(old.services, new.services)
    weights = _only_weights(old.services, services) if compact else {}
    return Push(
        version=new.version,
        base=old.version,
        services={key: service for key, service in services.items() if key not in weights},
        clusters=_change(old.clusters, new.clusters),
        hosts=_change(old.hosts, new.hosts),
        inbound=new.inbound if new.inbound != old.inbound else None,
        trust=new.trust if new.trust != old.trust else None,
        weights=weights,
    )


def _only_weights(before: dict[str, Service], after: dict[str, Service | None]) -> dict[str, tuple[int, ...]]:
    """The new weights of the Services of which nothing else is other."""
    found = {}
    for key, service in after.items():
        known = before.get(key)
        if service is not None and known is not None:
            weights = _weights_alone(known, service)
            if weights is not None:
                found[key] = weights
    return found


_asked: deque[tuple[Service, Service, tuple[int, ...] | None]] = deque(maxlen=8)
"""What ``_weights_alone`` said last: one change of one Service goes to thousands, who share its two objects."""


def _weights_alone(known: Service, service: Service) -> tuple[int, ...] | None:
    """The weights of ``service`` if nothing but these makes it another than ``known``."""
    for before, after, said in _asked:
        if before is known and after is service:
            return said
    weights: tuple[int, ...] | None = weights_of(service)
    try:
        if with_weights(known, weights or ()) != service:
            weights = None
    except WrongNumber:
        weights = None
    _asked.append((known, service, weights))
    return weights


def _change(before: dict[str, _V], after: dict[str, _V]) -> dict[str, _V | None]:
    # Most entries are the very same objects, and differences are found by the thousand.
    if before is after or before == after:
        return {}
    changed: dict[str, _V | None] = {
        key: value for key, value in after.items() if (known := before.get(key)) is not value and known != value
    }
    if not before.keys() <= after.keys():
        changed.update((key, None) for key in before if key not in after)
    return changed
