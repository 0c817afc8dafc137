"""Applying a push, and telling two configs apart: the sidecar's half of ``messages.difference``. Pure."""

from __future__ import annotations

from hashlib import sha256
from typing import TypeVar

import msgspec

from proxy.contract.config import Config
from proxy.contract.messages import Push
from proxy.contract.weights import WrongNumber, with_weights

_V = TypeVar("_V")
_canonical = msgspec.msgpack.Encoder(order="deterministic")

DIGEST_BYTES = 16
"""Length of a digest: it tells configs of one sidecar apart, nobody gains by a collision."""


def patched(base: Config, push: Push) -> Config:
    """The config that ``push`` makes of ``base``; the caller has checked that ``base`` is what the push names.

    Raises ``WrongNumber`` where weights are none of a Service that is there.
    """
    services = _merged(base.services, push.services)
    for key, weights in push.weights.items():
        if key not in services:
            raise WrongNumber(f"service {key}: {len(weights)} weights, and it is not there")
        services = {**services, key: with_weights(services[key], weights)}
    return Config(
        version=push.version,
        services=services,
        clusters=_merged(base.clusters, push.clusters),
        hosts=_merged(base.hosts, push.hosts),
        inbound=base.inbound if push.inbound is None else push.inbound,
        trust=base.trust if push.trust is None else push.trust,
    )


def digest(config: Config) -> str:
    """A fingerprint of everything but the version, the same whatever the order of the entries (hex)."""
    # Field by field: a whole Config leaves out an ``inbound`` that is its very default object, not one that equals it.
    content: tuple[object, ...] = (config.services, config.clusters, config.hosts, config.inbound)
    if config.trust is not None:
        content = (*content, config.trust)
    plain = msgspec.to_builtins(content, str_keys=True)
    return sha256(_canonical.encode(plain)).digest()[:DIGEST_BYTES].hex()


def _merged(before: dict[str, _V], change: dict[str, _V | None]) -> dict[str, _V]:
    if not change:
        return before
    after = dict(before)
    for key, value in change.items():
        if value is None:
            after.pop(key, None)
        else:
            after[key] = value
    return after
