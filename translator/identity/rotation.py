"""Who signs and whom to trust, while the mesh runs: follows the operator's files, one safe step at a time.

``authority`` and ``trust`` are what is in force. Each step is written down
first, then served, then told to the sidecars. Decisions are ``rollout``'s,
files ``wanted``'s and ``inforce``'s, TLS is ``serving``'s.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from ssl import SSLContext
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from proxy.contract.config import Trust
from smi.problems import Problem
from translator.identity import inforce
from translator.identity.authority import BUNDLE, Authority, AuthorityError
from translator.identity.rollout import Anchors, SidecarTrust, Stage, Step, next_step
from translator.identity.roots import as_bundle, roots_in
from translator.identity.serving import serving_context
from translator.identity.wanted import IdentityOptions, Wanted

POLL: Final = 1.0
"""Seconds between looks at the files and the clock; one ``stat`` each."""

POLL_ROLLOUT: Final = 0.1
"""Seconds between looks at the sidecars while a step waits for them."""

OVERLAP: Final = 6.0
"""Seconds for which a step has to be due: a sidecar gives a handshake 5, and one that is under way still goes by
what was in force when it began."""

PATIENCE: Final = 10.0
"""Seconds that a stage may take without a word; renewing takes 3."""

NAMED: Final = 10
"""Pods named in one line of the log; the API names all."""

RETRY: Final = 10.0
"""Seconds until a step that failed (a full disk) is tried again."""

log = logging.getLogger("translator.identity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlets:
    """Whom a step concerns: the control port, which serves a new context, and the sidecars.

    ``sidecars`` gives what is known of each, None while that is not known. It is read only while a step waits for them.
    """

    serve: Callable[[SSLContext], Awaitable[None]]
    publish: Callable[[Trust], None]
    sidecars: Callable[[], Iterable[SidecarTrust] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateShown:
    """A certificate as the API shows it; ``fingerprint`` is SHA-256 in hex."""

    subject: str
    fingerprint: str
    expires: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityShown:
    """Identity as the API shows it. ``waiting`` are the pods that keep the next step from being taken."""

    trust_domain: str
    generation: int
    stage: Stage
    waiting: tuple[str, ...]
    roots: tuple[CertificateShown, ...]
    issuer: CertificateShown
    federated: dict[str, tuple[CertificateShown, ...]]


class Rotation:
    """What is in force, and how it changes: ``start`` once, then ``advance`` again and again.

    ``directory`` is the mesh's own. Raises ``AuthorityError`` when there is nothing to begin with, ``OSError`` when it
    cannot be written down. ``clock`` gives monotonic seconds.
    """

    def __init__(
        self,
        directory: Path,
        options: IdentityOptions,
        trust_domain: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if trust_domain in options.federated:
            raise AuthorityError(f"{trust_domain} is this mesh's own trust domain: its roots are in the CA's {BUNDLE}")
        self._directory, self._lifetime, self._clock = directory, options.lifetime, clock
        if options.ca is None and not (directory / "ca").exists():
            Authority.create(directory, trust_domain)
        self._wanted = Wanted(options.ca or directory / "ca", options.federated, trust_domain)
        self._wanted.look()
        self._wanted.look()  # what is wrong at the start is not on its way to become good
        self.authority, self.trust = self._initial(trust_domain)
        self.step = Step(stage=Stage.SETTLED)
        """What was decided last."""
        self._due_since: tuple[Step, float] | None = None
        self._renew_at = self.authority.now()
        self._retry_at = 0.0
        self._say_at = 0.0
        self._outlets: Outlets

    def in_force(self) -> tuple[Authority, Trust]:
        """Who signs now, and what sidecars are told."""
        return self.authority, self.trust

    @property
    def wrong(self) -> tuple[Problem, ...]:
        """What is wrong with the operator's files."""
        return self._wanted.wrong

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with them, and what will soon be."""
        return self._wanted.wrong + self._wanted.ending

    async def start(self, outlets: Outlets) -> None:
        """Serves and tells what is in force. Raises ``AuthorityError`` or ``OSError``."""
        self._outlets = outlets
        if not await self._succeeded():
            await self._serve(self.authority)
            outlets.publish(self.trust)

    async def advance(self) -> float:
        """Looks at the files and does what is due now; returns the seconds until to be called again."""
        self._wanted.look()
        now = self._clock()
        if now >= self._retry_at:
            try:
                await self._advance(now)
            except (AuthorityError, OSError) as error:
                log.error("identity stays as it is error=%s", error)
                self._retry_at = now + RETRY
        return POLL if self.step.stage is Stage.SETTLED else POLL_ROLLOUT

    def shown(self) -> IdentityShown:
        """For the API."""
        return IdentityShown(
            trust_domain=self.authority.trust_domain,
            generation=self.trust.generation,
            stage=self.step.stage,
            waiting=self.step.waiting,
            roots=tuple(_shown(root) for root in self.authority.roots),
            issuer=_shown(self.authority.issuer),
            federated={
                domain: tuple(_shown(root) for root in roots_in(bundle))
                for domain, bundle in sorted(self.trust.federated.items())
            },
        )

    def _initial(self, trust_domain: str) -> tuple[Authority, Trust]:
        held = None
        try:
            held = inforce.load(self._directory, trust_domain)
        except AuthorityError as error:
            log.error("what was in force is lost, the files count error=%s", error)
        if held is not None:
            self._wanted.remember(held[1].federated)
            return held
        wanted = self._wanted.authority
        if wanted is None:
            raise AuthorityError("; ".join(f"{one.file}: {one.message}" for one in self.wrong))
        trust = wanted.trust(_generation(0), self._wanted.federated)
        inforce.store(self._directory, wanted, trust)
        return wanted, trust

    async def _succeeded(self) -> bool:
        """What has ended gives way at once to what is wanted: there is no certificate left that could be lost."""
        wanted = self._wanted.authority
        if wanted is None or self.authority.ends > self.authority.now() or wanted.ends <= wanted.now():
            return False
        roots = dict.fromkeys((*wanted.roots, *self.authority.roots))
        await self._put_in_force(replace(wanted, bundle=as_bundle(roots)))
        return True

    async def _advance(self, now: float) -> None:
        if await self._succeeded():
            return
        if self._wanted.federated != self.trust.federated:
            await self._put_in_force(self.authority)
        sidecars, wanted = self._outlets.sidecars(), self._wanted.authority
        if sidecars is not None and wanted is not None:
            step = next_step(_anchors(self.authority), _anchors(wanted), self.trust.generation, sidecars)
            self._note(step, now)
            if self._is_due(step, now):
                await self._take(step, wanted)
        if self.authority.now() >= self._renew_at:
            await self._serve(self.authority)

    def _note(self, step: Step, now: float) -> None:
        """Says when the stage changes, and now and then who keeps it from doing so."""
        if step.stage is not self.step.stage:
            log.info("rollout stage=%s", step.stage)
            self._say_at = now + PATIENCE
        elif step.waiting and now >= self._say_at:
            some = ",".join(step.waiting[:NAMED])
            log.warning("rollout waits stage=%s pods=%d among=%s", step.stage, len(step.waiting), some)
            self._say_at = now + PATIENCE
        self.step = step

    def _is_due(self, step: Step, now: float) -> bool:
        if step.roots is None and not step.switch:
            self._due_since = None
            return False
        if not step.lasting:
            return True
        if self._due_since is None or self._due_since[0] != step:
            self._due_since = step, now
        return now - self._due_since[1] >= OVERLAP

    async def _take(self, step: Step, wanted: Authority) -> None:
        self._due_since = None
        if step.switch:
            await self._put_in_force(replace(wanted, bundle=self.authority.bundle))
        elif step.roots is not None:
            await self._put_in_force(replace(self.authority, bundle=as_bundle(step.roots)))

    async def _put_in_force(self, authority: Authority) -> None:
        trust = authority.trust(_generation(self.trust.generation), self._wanted.federated)
        context = serving_context(authority, self._lifetime)
        inforce.store(self._directory, authority, trust)
        self.authority, self.trust = authority, trust
        await self._serve(authority, context)
        self._outlets.publish(trust)
        log.info("identity in force generation=%d roots=%d", trust.generation, len(authority.roots))

    async def _serve(self, authority: Authority, context: SSLContext | None = None) -> None:
        await self._outlets.serve(context or serving_context(authority, self._lifetime))
        self._renew_at = authority.now() + self._lifetime / 2


def _anchors(authority: Authority) -> Anchors:
    return Anchors(roots=authority.roots, issuer=authority.key_id, certificate=authority.issuer)


def _generation(last: int) -> int:
    """Higher than the last one, and than any before the mesh's folder was lost: milliseconds since 1970."""
    return max(last + 1, time.time_ns() // 1_000_000)


def _shown(certificate: x509.Certificate) -> CertificateShown:
    return CertificateShown(
        subject=certificate.subject.rfc4514_string(),
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        expires=certificate.not_valid_after_utc,
    )
