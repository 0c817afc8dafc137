"""What controller and sidecar say to each other.

The control stream: MessagePack structs over an mTLS WebSocket, one per binary message.
Down: ``Push``, ``Observe``, ``Counted``. Up: ``Hello`` first, then ``Ack``, ``Nack``, ``Ask`` and ``Report`` at
any time. The controller sends a whole config (``base`` 0) after each ``Hello`` unless the
version named there is the current one; then deltas, each upon the last
acknowledged version.

A frame that the other end does not know would break its stream, so neither is sent one unasked: a
sidecar that can report says so in its ``Hello``, a controller that counts then
says ``Observe``, and only on a stream where it did does the sidecar send a ``Report``.

Enrolment: ``Issued`` is the answer to a certificate request, in JSON.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
from msgspec import Struct

from proxy.contract.config import Cluster, Config, Host, Inbound, Service, Trust
from proxy.contract.report import Report


class Push(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="push"):
    """Config ``version`` as a change of ``base`` (0: of the empty config).

    None removes an entry; ``inbound`` and ``trust`` None: as before.
    """

    version: int
    base: int = 0
    services: dict[str, Service | None] = {}
    clusters: dict[str, Cluster | None] = {}
    hosts: dict[str, Host | None] = {}
    inbound: Inbound | None = None
    trust: Trust | None = None


class Hello(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="hello"):
    """Opens the stream: the config the sidecar runs on and the hosts it has been asked for so far.

    ``reports``: it understands ``Observe`` and ``Counted``.
    """

    version: int = 0
    digest: str = ""
    hosts: tuple[str, ...] = ()
    build: str = ""
    reports: bool = False


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


def decode_down(frame: bytes) -> Down:
    """A frame from the controller. Raises ``msgspec.MsgspecError``."""
    return _down.decode(frame)


def decode_up(frame: bytes) -> Up:
    """A frame from a sidecar. Raises ``msgspec.MsgspecError``."""
    return _up.decode(frame)


def difference(old: Config, new: Config) -> Push:
    """The smallest push that turns ``old`` into ``new``."""

    return Push(
        version=new.version,
        base=old.version,
        services=_change(old.services, new.services),
        clusters=_change(old.clusters, new.clusters),
        hosts=_change(old.hosts, new.hosts),
        inbound=new.inbound if new.inbound != old.inbound else None,
        trust=new.trust if new.trust != old.trust else None,
    )


def _change(before: dict[str, _V], after: dict[str, _V]) -> dict[str, _V | None]:
    changed: dict[str, _V | None] = {k: v for k, v in after.items() if before.get(k) != v}
    changed.update((k, None) for k in before if k not in after)
    return changed
