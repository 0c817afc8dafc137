"""What the controller tells a sidecar of roots and issuers, and what the sidecar makes of it."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from pathlib import Path

import forge
import pytest
from enrolling import LIFETIME, NOBODY, WEB, Clock, Pod, controller, identity_of, run, wait
from eventually import eventually
from forge import Leaf

from proxy.contract.config import Trust
from proxy.identity import ISSUER_SPREAD, LAST_RETRY, RENEW_PAUSE, WorkloadIdentity
from proxy.tls import Contexts, Pair, mesh_context
from translator.identity.authority import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path)


@pytest.fixture
def pod(tmp_path: Path, authority: Authority) -> Pod:
    return Pod(tmp_path / "pod", authority)


def shake_hands(contexts: Contexts, other: Pair, bundle: str) -> bool:
    """Whether ``contexts`` take the certificate ``other``, as a client and as a server do."""
    server = mesh_context(ssl.PROTOCOL_TLS_SERVER, other, bundle)
    client = mesh_context(ssl.PROTOCOL_TLS_CLIENT, other, bundle)
    server.verify_mode = client.verify_mode = ssl.CERT_NONE
    return all(done(*ends) for ends in ((contexts.client, server), (client, contexts.server)))


def done(client: ssl.SSLContext, server: ssl.SSLContext) -> bool:
    """Whether a handshake in memory succeeds at both ends."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True)
    ready = set()
    for end in ends * 3:
        try:
            end.do_handshake()
            ready.add(end)
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError:
            return False
    return len(ready) == 2


def told(authority: Authority, *others: str, generation: int = 1, issuer: str = "") -> Trust:
    return Trust(
        bundle=authority.bundle + "".join(others), issuer=issuer or authority.key_id, generation=generation
    )  # fmt: skip


def test_a_bundle_that_is_told_is_in_force_at_once_and_after_a_restart(pod: Pod, authority: Authority) -> None:
    next_root = forge.Root()
    successor = next_root.sign(Leaf(uris=(WEB.spiffe_id("cluster.local"),)))

    async def main() -> None:
        clock = Clock()
        async with controller(authority, clock) as running:
            identity = identity_of(pod, running.control, clock)
            await identity.step()
            assert identity.contexts is not None
            assert not shake_hands(identity.contexts, successor, next_root.pem)
            identity.told(told(authority, next_root.pem))
            assert shake_hands(identity.contexts, successor, next_root.pem)
            assert len(running.asked) == 1, "our own certificate is as good as before"
        again = identity_of(pod, NOBODY, clock)
        await again.step()
        assert again.contexts is not None
        assert shake_hands(again.contexts, successor, next_root.pem)

    run(main)


def test_each_certificate_comes_with_the_bundle_of_the_moment(pod: Pod, authority: Authority) -> None:
    """A sidecar that starts in the middle of an exchange knows both roots before it hears of it otherwise."""
    next_root = forge.Root()
    successor = next_root.sign(Leaf(uris=(WEB.spiffe_id("cluster.local"),)))

    async def main() -> None:
        clock = Clock()
        async with controller(authority, clock) as running:
            running.trust = told(authority, next_root.pem)
            identity = identity_of(pod, running.control, clock)
            await identity.step()
            assert identity.contexts is not None
            assert shake_hands(identity.contexts, successor, next_root.pem)

    run(main)


def test_what_is_older_than_what_was_told_last_is_not_taken_up(pod: Pod, authority: Authority) -> None:
    """A push overtakes the answer to an enrolment."""
    next_root = forge.Root()
    successor = next_root.sign(Leaf(uris=(WEB.spiffe_id("cluster.local"),)))

    async def main() -> None:
        clock = Clock()
        async with controller(authority, clock) as running:
            identity = identity_of(pod, running.control, clock)
            identity.told(told(authority, next_root.pem, generation=7))
            running.trust = told(authority, generation=6)
            await identity.step()
            assert identity.contexts is not None
            assert shake_hands(identity.contexts, successor, next_root.pem)
            identity.told(told(authority, generation=6))
            assert shake_hands(identity.contexts, successor, next_root.pem)

    run(main)


def test_a_certificate_of_an_issuer_that_was_exchanged_is_renewed_soon_and_once(
    pod: Pod, authority: Authority, tmp_path: Path
) -> None:  # fmt: skip
    successor = Authority.create(tmp_path / "next")
    both = authority.bundle + successor.bundle

    async def main() -> None:
        clock = Clock()
        async with controller(authority, clock) as running:
            identity = identity_of(pod, running.control, clock)
            await identity.step()
            running.authority = replace(successor, bundle=both)
            running.trust = told(running.authority)
            identity.told(told(authority, successor.bundle))
            clock.pass_(await identity.step())
            assert len(running.asked) == 1, "the roots alone are no reason"

            identity.told(running.trust)
            await wait(identity, clock, lambda: len(running.asked) == 2)
            assert identity.contexts is not None
            assert identity.contexts.own.issuer == successor.key_id
            for _ in range(3):
                clock.pass_(await identity.step())
            assert len(running.asked) == 2

    run(main)


def test_a_thousand_sidecars_do_not_follow_a_new_issuer_together(pod: Pod, authority: Authority) -> None:
    async def main() -> None:
        clock = Clock()
        async with controller(authority, clock) as running:
            identity = WorkloadIdentity(
                pod.sidecar(running.control), on_rotate=pod.rotated.append, now=clock.now, random=lambda: 0.5
            )
            await identity.step()
            identity.told(told(authority, issuer="another"))
            assert len(running.asked) == 1
            clock.pass_(ISSUER_SPREAD / 2 - 0.5)
            await identity.step()
            assert len(running.asked) == 1
            clock.pass_(0.5)
            await identity.step()
            assert len(running.asked) == 2
            await identity.step()
            assert len(running.asked) == 2, "who answers does not have the issuer that was told; asking on is no use"

    run(main)


def test_a_controller_whose_clock_is_behind_is_not_asked_without_end(pod: Pod, authority: Authority) -> None:
    """Its certificates are past their half when they come."""

    async def main() -> None:
        clock, behind = Clock(), Clock(ahead=-LIFETIME * 0.6)
        async with controller(authority, behind) as running:
            identity = identity_of(pod, running.control, clock)
            await identity.step()
            assert await identity.step() == pytest.approx(RENEW_PAUSE, abs=0.2)
            assert len(running.asked) == 1

    run(main)


@pytest.mark.parametrize("wrong", ["damaged", "of others"])
def test_an_answer_that_fits_nothing_changes_nothing(pod: Pod, authority: Authority, wrong: str) -> None:
    async def main() -> None:
        clock = Clock()
        async with controller(authority, clock) as running:
            identity = identity_of(pod, running.control, clock)
            await identity.step()
            before = identity.contexts
            running.trust = Trust(bundle="damaged" if wrong == "damaged" else forge.Root().pem, generation=9)
            clock.pass_(LIFETIME.total_seconds() / 2)
            await identity.step()
            assert identity.contexts is before
            running.trust = told(authority, generation=3)
            clock.pass_(LAST_RETRY)
            await wait(identity, clock, lambda: identity.contexts is not before)

    run(main)


def test_who_waits_for_an_hour_is_woken_by_what_is_told(pod: Pod, authority: Authority) -> None:
    async def main() -> None:
        clock = Clock()
        async with controller(authority, clock) as running:
            identity = identity_of(pod, running.control, clock)
            working = asyncio.create_task(identity.run())
            try:
                await identity.ready()
                identity.told(told(authority, issuer="another"))
                await eventually(lambda: len(running.asked) == 2)
            finally:
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)

    run(main)
