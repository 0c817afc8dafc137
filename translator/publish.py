"""What one sidecar is sent next: versions, deltas and pace. Pure; ``translator.push`` does the sending.

A sidecar has one *slot*. The compiler puts the config that the sidecar should
have into it, replacing what was there: a slow sidecar misses steps, never the
last one. One push is on its way at a time, as a difference to what the sidecar
acknowledged. What it refused is not sent again until something else is wanted.
"""

from __future__ import annotations

from typing import Final, TypeVar

from msgspec.structs import replace

from proxy.contract.config import Config
from proxy.contract.messages import Hello, Nack, Push, difference
from proxy.contract.patch import DIGEST_BYTES, digest

_T = TypeVar("_T")

PUSHES_AT_ONCE = 3
"""Changes that go out without delay after a quiet time: one apply often saves two or three files."""

PUSHES_PER_SECOND = 7.0
"""Pace under constant change. With ``PUSHES_AT_ONCE`` no second sees more than ten pushes to a sidecar."""

ANSWER_SPACING = 0.01
"""Seconds between answers to the sidecar's own questions: a request waits for each, so they skip the pace."""


BELIEVED: Final = 1 << 53
"""Highest version that a sidecar may say it runs on: counting does not get there, and what comes after it still has to
fit into 64 bits, also for the next pod of that name."""


class Pace:
    """A token bucket: ``PUSHES_AT_ONCE`` tokens at most, refilled by ``PUSHES_PER_SECOND``."""

    __slots__ = ("_at", "_tokens")

    def __init__(self) -> None:
        self._tokens = float(PUSHES_AT_ONCE)
        self._at = 0.0

    def wait(self, now: float) -> float:
        """Seconds until a push may go out, 0 for at once."""
        self._refill(now)
        return max(0.0, (1.0 - self._tokens) / PUSHES_PER_SECOND)

    def spend(self, now: float) -> None:
        """Counts one push."""
        self._refill(now)
        self._tokens -= 1.0

    def _refill(self, now: float) -> None:
        self._tokens = min(PUSHES_AT_ONCE, self._tokens + max(0.0, now - self._at) * PUSHES_PER_SECOND)
        self._at = now


class Slot:
    """One stream's config: acknowledged, on its way, wanted. Times are seconds of one monotonic clock.

    ``hello`` is how the sidecar opened the stream, ``floor`` the highest
    version that an earlier stream of the same pod was sent.
    """

    __slots__ = (
        "_answered",
        "_known",
        "_pace",
        "_urgent",
        "acknowledged",
        "compact",
        "desired",
        "in_flight",
        "refused",
        "sent_at",
        "version",
    )

    def __init__(self, hello: Hello, floor: int = 0) -> None:
        self.acknowledged: Config | None = None
        """What the sidecar runs on, None while not known: then the next push is whole."""
        self.in_flight: Config | None = None
        self.sent_at = 0.0
        self.desired: Config | None = None
        """What it should run on, None until the world knows its pod."""
        self.refused: Config | None = None
        told = hello.version if 0 < hello.version <= BELIEVED else 0
        self.version = max(told, floor)
        self.compact = hello.compact
        """Whether the sidecar understands what is."""
        # Of the Hello no more than that: the hosts in it are kept elsewhere.
        self._known = told, hello.digest[: 2 * DIGEST_BYTES]
        self._pace = Pace()
        self._urgent = False
        self._answered = 0.0

    @property
    def is_refused(self) -> bool:
        """Whether what the sidecar should run on is what it refused."""
        return self.desired is not None and self.refused is not None and same(self.desired, self.refused)

    def offer(self, config: Config, *, urgent: bool = False) -> None:
        """``config`` (its version does not count) is what the sidecar should have; ``urgent``: it asked for it."""
        version, known = self._known
        if self.desired is None and version and known == digest(config):
            self.acknowledged = self.desired = replace(config, version=version)
        elif self.desired is None or not same(config, self.desired):
            self.desired = self._next(config)
            self._urgent = self._urgent or urgent

    def wait(self, now: float) -> float | None:
        """Seconds until ``take`` may be called, 0 for now; None while there is nothing to send."""
        wanted = self.desired
        if wanted is None or self.in_flight is not None:
            return None
        if self.acknowledged is not None and same(wanted, self.acknowledged):
            return None
        if self.is_refused:
            return None
        if self._urgent:
            return max(0.0, self._answered + ANSWER_SPACING - now)
        return self._pace.wait(now)

    def take(self, now: float) -> Push:
        """The push to send now; call it only when ``wait`` gave 0."""
        if self.desired is None:
            raise ValueError("nothing to push")
        if self._urgent:
            self._answered, self._urgent = now, False
        else:
            self._pace.spend(now)
        self.in_flight, self.sent_at = self.desired, now
        return difference(self.acknowledged or Config(), self.desired, compact=self.compact)

    def ack(self, version: int) -> bool:
        """The sidecar runs on ``version`` now; False if that is not what was sent."""
        if self.in_flight is None or self.in_flight.version != version:
            return False
        self.acknowledged, self.in_flight, self.refused = self.in_flight, None, None
        if self.desired is not None and same(self.desired, self.acknowledged):
            self.desired = self.acknowledged
        return True

    def nack(self, message: Nack) -> bool:
        """The push was refused (``version`` 0: not even read); False if that is not what was sent.

        A sidecar that runs on something else than was thought gets a whole config next.
        """
        sent = self.in_flight
        if sent is None or message.version not in (0, sent.version):
            return False
        self.in_flight = None
        if self.acknowledged is not None and message.current != self.acknowledged.version:
            self.acknowledged = None
        else:
            self.refused = sent
        if self.desired is sent:
            self.desired = self._next(sent)
        return True

    def _next(self, config: Config) -> Config:
        self.version += 1
        before = self.desired
        if before is None:
            return replace(config, version=self.version)
        # What has not changed stays the same object: while all sidecars change at once there are not two of everything.
        return replace(
            config,
            version=self.version,
            services=_kept(before.services, config.services),
            clusters=_kept(before.clusters, config.clusters),
            hosts=_kept(before.hosts, config.hosts),
        )


def _kept(before: _T, after: _T) -> _T:
    return before if before == after else after


def same(one: Config, other: Config) -> bool:
    """Whether two configs differ by nothing but the version."""
    return one is other or (
        one.services == other.services
        and one.clusters == other.clusters
        and one.inbound == other.inbound
        and one.trust == other.trust
        and one.hosts == other.hosts
    )
