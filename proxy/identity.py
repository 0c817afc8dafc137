"""Keeps this sidecar in possession of a valid certificate, for as long as it runs.

One loop, ``run``: first the pair on disk (a restart needs no controller), then
a renewal at half of the certificate's life, and new contexts whenever it
changes whom to trust. Whatever fails, the last good contexts stay in force and
the attempt is repeated, further and further apart, for ever.

A renewal is proved by the certificate in hand; after a failure the next attempt
uses the token, and so on in turn, so that a controller with a new root is
reached too. When the controller says that another issuer signs now, a
certificate of the one before is renewed soon: only then may its root go.

Neighbours: ``proxy.keys`` makes keys, ``proxy.enrolment`` asks, ``proxy.tls`` tries and builds,
``proxy.pairfile`` and ``proxy.trust`` keep. The caller swaps what ``on_rotate`` hands it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from subprocess import Popen
from typing import Final

from proxy.contract.config import Control, Sidecar, TlsFiles, Trust, spiffe_id
from proxy.contract.messages import Issued
from proxy.contract.spiffe import BACKDATE, Peer
from proxy.enrolment import EnrolmentFailed, enrol
from proxy.errors import SettingsError
from proxy.keys import NewKey, NoKey, begin, made
from proxy.pairfile import read_bounded, read_pair, write_pair
from proxy.tls import Contexts, Pair, PairRejected, build_contexts, control_context
from proxy.trust import TrustBundles, state_of

RENEW_AT: Final = 0.5
"""Part of its life after which a certificate is renewed at the latest: of 48 hours never less than 24 are left."""

RENEW_SPREAD: Final = 0.1
"""Part of its life by which renewal may come earlier, so that pods that started together do not ask together."""

RENEW_PAUSE: Final = 1.0
"""Seconds between two renewals at least: a certificate that is past its half when it comes (the controller's clock
is behind) must not be asked for without end."""

ISSUER_SPREAD: Final = 3.0
"""Seconds within which a certificate of an issuer that has been exchanged is renewed: a thousand sidecars then ask
330 times a second, about what a controller can sign."""

FIRST_RETRY: Final = 0.1
"""Seconds until a failed attempt is repeated first: at the start of a mesh the controller is a moment away."""

LAST_RETRY: Final = 10.0
"""Seconds between attempts at most: a thousand sidecars then ask a controller that returns 150 times a second."""

POLL: Final = 1.0
"""Seconds between looks at the files and the clock; one ``stat`` each, and a clock that was set is noticed."""

_log = logging.getLogger("proxy.identity")


class WorkloadIdentity:
    """The identity of this sidecar. ``contexts`` are those in force, None until there are any.

    ``now`` returns an aware time and ``random`` a number from 0 to below 1; ``on_rotate`` gets each new ``Contexts``.
    ``making`` is the child that makes the first key, where one does already.
    """

    def __init__(
        self,
        sidecar: Sidecar,
        *,
        on_rotate: Callable[[Contexts], None],
        now: Callable[[], datetime],
        random: Callable[[], float],
        making: Popen[bytes] | None = None,
    ) -> None:
        if sidecar.tls is None:
            raise SettingsError("an identity needs the paths of TLS files")
        self.contexts: Contexts | None = None
        self.name = spiffe_id(sidecar.trust_domain, sidecar.namespace, sidecar.service_account)
        self._sidecar, self._files, self._control = sidecar, sidecar.tls, sidecar.control
        self._on_rotate, self._now, self._random = on_rotate, now, random
        self._trust = TrustBundles(sidecar.tls, sidecar.state)
        self._first = asyncio.Event()
        self._wake = asyncio.Event()
        self._pair: Pair | None = None
        self._making = making
        self._new: NewKey | None = None
        self._seen: object = None
        self._due = now()
        self._failures = 0
        self._asked_issuer = ""

    async def ready(self) -> Contexts:
        """The contexts in force, as soon as there are any."""
        await self._first.wait()
        assert self.contexts is not None
        return self.contexts

    async def run(self) -> None:
        """Works for ever; returns only by being cancelled."""
        while True:
            delay = await self.step()
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            self._wake.clear()

    async def step(self) -> float:
        """Does what is due now; returns the seconds until to be called again."""
        changed = self._trust.look()
        if changed or self._own_files_changed():
            self._reload()
        if self._control is None:
            return POLL
        if self._failures or self.contexts is None:
            # An attempt is overdue; a clock that was set back does not put it off.
            self._due = min(self._due, self._now() + timedelta(seconds=LAST_RETRY))
        if self._now() >= self._due:
            await self._renew(self._control)
        return min(POLL, max(0.0, (self._due - self._now()).total_seconds()))

    def told(self, trust: Trust) -> None:
        """The controller says whom to trust. On return that is so for every connection from now on.

        Unless our own certificate is none of those any more: then it is renewed at once, and the last good
        contexts stay until it is.
        """
        before = self._trust.current
        if not self._trust.told(trust):
            return
        if (before.bundle, before.federated) != (trust.bundle, trust.federated):
            self._reload()
        elif self.contexts is not None:
            self._schedule(self.contexts.own)
        self._wake.set()

    def _own_files_changed(self) -> bool:
        """The first time, and after that whenever somebody who is not us replaced certificate or key."""
        files = [self._files.certificate, self._files.key] if self._control is None else []
        seen = [state_of(file) for file in files]
        changed = seen != self._seen
        self._seen = seen
        return changed

    def _reload(self) -> None:
        """At the start, and when a file was changed. A pair that the bundle no longer covers is replaced at once."""
        try:
            pair = self._pair if self._control is not None else None
            if pair is None:
                pair = read_pair(self._files)
            self._adopt(pair, self._build(pair, self._trust.current))
        except PairRejected as error:
            self._due = self._now()
            level = logging.INFO if self.contexts is None else logging.WARNING
            _log.log(level, "identity files not used: %s", error)

    async def _renew(self, control: Control) -> None:
        try:
            new, issued = await self._enrol(control)
            pair = Pair(certificate=issued.certificate.encode("ascii", "replace"), key=new.key)
            trust = self._trust.newer(issued.trust)
            contexts = self._build(pair, trust)
        except (NoKey, EnrolmentFailed, PairRejected) as error:
            wait = retry_delay(self._failures, self._random())
            self._failures += 1
            self._due = self._now() + timedelta(seconds=wait)
            _log.warning("no new certificate, next attempt in %.1f s: %s", wait, error)
            return
        self._failures = 0
        try:
            write_pair(self._files, pair)
        except OSError as error:
            _log.warning("the new certificate is in use but not on disk: %s", error.strerror)
        self._asked_issuer = trust.issuer
        self._trust.told(trust)
        self._adopt(pair, contexts)
        self._due = max(self._due, self._now() + timedelta(seconds=RENEW_PAUSE))

    async def _enrol(self, control: Control) -> tuple[NewKey, Issued]:
        contexts, token = self.contexts, _token(self._files)
        by_certificate = contexts is not None and contexts.own.expires > self._now()
        if by_certificate and token and self._failures % 2:
            by_certificate = False
        if by_certificate:
            token = ""
        elif not token:
            raise EnrolmentFailed("no valid certificate and no token to prove our identity with")
        context = control_context(self._pair if by_certificate else None, self._trust.current.bundle)
        new = await self._new_key()
        issued = await enrol(
            control,
            new.request,
            trust_domain=self._sidecar.trust_domain,
            context=context,
            token=token,
            now=self._now,
        )
        self._new = None
        return new, issued

    async def _new_key(self) -> NewKey:
        """One that no certificate was got for is as good as new: to a controller that is away attempts cost no keys."""
        if self._new is None:
            making, self._making = self._making or begin(self.name), None
            self._new = await made(making)
        return self._new

    def _build(self, pair: Pair, trust: Trust) -> Contexts:
        own, now = self._sidecar.trust_domain, self._now()
        return build_contexts(pair, trust.bundle, self.name, own, now, federated=trust.federated)

    def _adopt(self, pair: Pair, contexts: Contexts) -> None:
        self._pair, self.contexts = pair, contexts
        self._schedule(contexts.own)
        _log.info("certificate of %s valid until %s", self.name, contexts.own.expires.isoformat())
        self._on_rotate(contexts)
        self._first.set()

    def _schedule(self, own: Peer) -> None:
        self._due = renewal_time(own, self._random())
        issuer = self._trust.current.issuer
        if issuer not in ("", own.issuer, self._asked_issuer):
            self._due = min(self._due, self._now() + timedelta(seconds=ISSUER_SPREAD * self._random()))


def renewal_time(own: Peer, random: float) -> datetime:
    """When to renew: at 40 to 50 % of the life that began with the issue (which is after ``not_before``)."""
    whole = own.expires - own.not_before
    issued = own.not_before + min(BACKDATE, whole / 2)
    return issued + (own.expires - issued) * (RENEW_AT - RENEW_SPREAD * random)


def retry_delay(failures: int, random: float) -> float:
    """Seconds to wait after the attempt that followed ``failures`` failed ones: doubling, a third of it by chance."""
    return min(LAST_RETRY, FIRST_RETRY * 2.0 ** min(failures, 16)) * (1 - random / 3)


def _token(files: TlsFiles) -> str:
    """The token now on disk: it may be exchanged while we run. Empty if there is none that can be sent."""
    if not files.token:
        return ""
    try:
        token = read_bounded(files.token).decode("ascii").strip()
    except (OSError, ValueError):
        return ""
    return token if token.isprintable() else ""
