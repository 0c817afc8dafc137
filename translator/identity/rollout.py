"""How a new root or issuer comes into force without a lost request: which step may be taken now. Pure.

An operator says what is wanted: these roots, this issuer. The way there has three steps:

1. the new roots are trusted beside the old ones,
2. when every sidecar trusts them, the new issuer signs, and every sidecar renews its certificate,
3. when every sidecar holds one of the new issuer, the roots that are not wanted are trusted no more.

Both waits are for sidecars as they prove themselves: by the ``Trust`` they
acknowledged, by the certificate they opened their stream with. If the files are
exchanged in these three steps by hand, each is done when it is safe;
if they are exchanged at once, the steps are made here.

Neighbours: ``translator.identity.rotation`` carries it out, ``translator.reconcile`` knows the sidecars.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from cryptography import x509


class Stage(StrEnum):
    """Where a rollout stands; part of the API."""

    SETTLED = "settled"
    TRUSTING = "trusting"
    """Sidecars take up new roots."""
    RENEWING = "renewing"
    """Sidecars get certificates of the new issuer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchors:
    """Trusted roots, and the key identifier (hex) of the issuer beside the issuer's own certificate."""

    roots: tuple[x509.Certificate, ...]
    issuer: str
    certificate: x509.Certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarTrust:
    """What is known of one sidecar: the generation of ``Trust`` it acknowledged, and the issuer of its certificate."""

    pod: str
    generation: int = -1
    issuer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What to do now, if anything: trust exactly ``roots``, let the wanted issuer sign (``switch``).

    ``waiting`` are the pods that keep the next step from being taken. ``lasting``: take this step only when it has
    been due for as long as a handshake may take, since some that are under way still use what was before.
    """

    stage: Stage
    roots: tuple[x509.Certificate, ...] | None = None
    switch: bool = False
    lasting: bool = False
    waiting: tuple[str, ...] = ()


def next_step(now: Anchors, wanted: Anchors, generation: int, sidecars: Iterable[SidecarTrust]) -> Step:
    """From what is in force ``now`` towards ``wanted``; ``generation`` is that of the ``Trust`` in force."""
    missing = tuple(root for root in wanted.roots if root not in now.roots)
    surplus = tuple(root for root in now.roots if root not in wanted.roots)
    exchange = now.certificate != wanted.certificate
    stage = Stage.TRUSTING if exchange else Stage.RENEWING if surplus else Stage.SETTLED
    if missing:
        return Step(stage=stage, roots=now.roots + missing)
    if exchange:
        late = tuple(one.pod for one in sidecars if one.generation < generation)
        return Step(stage=stage, waiting=late) if late else Step(stage=stage, switch=True, lasting=True)
    if surplus:
        late = tuple(one.pod for one in sidecars if one.issuer != now.issuer)
        return Step(stage=stage, waiting=late) if late else Step(stage=stage, roots=wanted.roots, lasting=True)
    return Step(stage=stage)
