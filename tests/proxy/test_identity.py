"""A sidecar's certificate through its life, against a real controller over real TLS."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import forge
import msgspec
import pytest
from enrolling import LIFETIME, NOBODY, WEB, Clock, Pod, controller, identity_of, run, wait
from eventually import eventually
from hypothesis import given
from hypothesis import strategies as st
from ports import free_port

from proxy.contract.spiffe import Peer
from proxy.errors import SettingsError
from proxy.identity import (
    FIRST_RETRY,
    LAST_RETRY,
    POLL,
    WorkloadIdentity,
    renewal_time,
    retry_delay,
)
from translator.identity.authority import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path)


@pytest.fixture
def pod(tmp_path: Path, authority: Authority) -> Pod:
    return Pod(tmp_path / "pod", authority)


def test_the_first_certificate_is_got_with_the_token(pod: Pod, authority: Authority) -> None:
    async def main() -> None:
        clock = Clock()
        async with controller(authority, clock) as running:
            identity = identity_of(pod, running.control, clock)
            await identity.step()

            assert running.asked == [("token", 200)]
            assert pod.rotated == [identity.contexts]
            own = (await identity.ready()).own
            assert (own.identity, own.pods) == (WEB.spiffe_id("cluster.local"), ("web-0.shop.pod",))
            assert stat.S_IMODE(os.stat(pod.files.key).st_mode) == 0o600

    run(main)


def test_a_restarted_sidecar_needs_no_controller(pod: Pod, authority: Authority) -> None:
    async def main() -> None:
        clock = Clock()
        async with controller(authority, clock) as running:
            first = identity_of(pod, running.control, clock)
            await first.step()
        again = identity_of(pod, NOBODY, clock)
        await again.step()

        assert again.contexts is not None
        assert first.contexts is not None
        assert again.contexts.own == first.contexts.own

    run(main)


def test_renewal_is_due_at_half_of_life_and_proved_by_the_certificate(pod: Pod, authority: Authority) -> None:
    async def main() -> None:
        clock = Clock()
        async with controller(authority, clock) as running:
            identity = identity_of(pod, running.control, clock)
            await identity.step()
            os.unlink(pod.files.token)
            key = pod.key()

            clock.pass_(LIFETIME.total_seconds() / 2 - 5)
            await identity.step()
            assert running.asked == [("token", 200)]

            clock.pass_(5)
            await identity.step()
            assert running.asked == [("token", 200), ("certificate", 200)]
            assert len(pod.rotated) == 2
            assert pod.rotated[1].own.expires - pod.rotated[0].own.expires >= timedelta(seconds=49)
            assert pod.key() != key

    run(main)


def test_while_the_controller_is_away_the_last_good_stays_and_attempts_go_on(pod: Pod, authority: Authority) -> None:
    async def main() -> None:
        clock = Clock()
        async with controller(authority, clock) as running:
            identity = identity_of(pod, running.control, clock)
            await identity.step()
            control = running.control
        before = identity.contexts
        clock.pass_(LIFETIME.total_seconds() / 2)
        delays = []
        for _ in range(8):
            delays.append(await identity.step())
            clock.pass_(delays[-1] if delays[-1] < POLL else LAST_RETRY)
        assert identity.contexts is before
        assert delays[0] == pytest.approx(FIRST_RETRY, abs=0.05)
        assert delays[2] > delays[1] > delays[0]

        clock.ahead = timedelta(seconds=30)  # set back; what is overdue stays so
        async with controller(authority, clock, control.port) as running:
            clock.pass_(LAST_RETRY)
            await wait(identity, clock, lambda: len(pod.rotated) == 2)
        assert identity.contexts is not before

    run(main)


def test_a_sidecar_that_starts_first_waits_for_its_controller(pod: Pod, authority: Authority) -> None:
    async def main() -> None:
        port, clock = free_port(), Clock()
        identity = identity_of(pod, msgspec.structs.replace(NOBODY, port=port), clock)
        running = asyncio.create_task(identity.run())
        try:
            await asyncio.wait([asyncio.create_task(identity.ready())], timeout=0.3)
            assert identity.contexts is None
            async with controller(authority, clock, port):
                await eventually(lambda: identity.contexts)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    run(main)


def test_an_impostor_is_not_told_the_token(pod: Pod, authority: Authority) -> None:
    """A sidecar of the mesh listens at the controller's address: its chain is good, its identity is not."""
    heard = bytearray()

    async def main() -> None:
        clock = Clock()
        async with controller(authority, clock) as running:
            thief = WorkloadIdentity(
                Pod(pod.folder.parent / "thief", authority).sidecar(running.control),
                on_rotate=lambda _: None, now=clock.now, random=lambda: 0.0,
            )  # fmt: skip
            await thief.step()
            assert thief.contexts is not None
            server_context = thief.contexts.server
        server_context.set_alpn_protocols(["http/1.1"])
        server_context.verify_mode = 0  # type: ignore[assignment]

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.extend(await reader.read())
            writer.close()

        server = await asyncio.start_server(listen, "127.0.0.1", 0, ssl=server_context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            identity = identity_of(pod, msgspec.structs.replace(running.control, port=port), clock)
            for _ in range(4):
                clock.pass_(await identity.step())
            assert identity.contexts is None

    run(main)
    assert not heard


def test_a_controller_of_another_root_is_not_told_the_token(pod: Pod, authority: Authority, tmp_path: Path) -> None:
    async def main() -> None:
        clock = Clock()
        async with controller(Authority.create(tmp_path / "other"), clock) as running:
            identity = identity_of(pod, running.control, clock)
            await identity.step()
            assert identity.contexts is None
            assert running.asked == []

    run(main)


@pytest.mark.parametrize("token", ["", "x", "a.b", "line\nbreak", "é", "\x00"])
def test_a_wrong_token_gets_no_certificate_and_is_tried_again(pod: Pod, authority: Authority, token: str) -> None:
    async def main() -> None:
        clock = Clock()
        async with controller(authority, clock) as running:
            identity = identity_of(pod, running.control, clock)
            good = pod.token()
            pod.give(token)
            for _ in range(3):
                clock.pass_(await identity.step())
            assert identity.contexts is None
            assert all(status == 401 for _, status in running.asked)

            pod.give(good)
            await wait(identity, clock, lambda: identity.contexts)

    run(main)


def test_a_new_root_is_taken_up_without_a_restart(pod: Pod, authority: Authority, tmp_path: Path) -> None:
    """Both roots are trusted first, then leaves come from the new one, then the old one leaves the bundle."""
    successor = Authority.create(tmp_path / "next")
    both = authority.bundle + successor.bundle

    async def main() -> None:
        clock = Clock()
        async with controller(authority, clock) as running:
            identity = identity_of(pod, running.control, clock)
            await identity.step()
            pod.trust(both)
            await identity.step()
            assert len(pod.rotated) == 2
            assert pod.rotated[1].own == pod.rotated[0].own
            control = running.control
        async with controller(replace(successor, bundle=both), clock, control.port) as running:
            clock.pass_(LIFETIME.total_seconds() / 2)
            await wait(identity, clock, lambda: len(pod.rotated) == 3)
            assert running.asked == [("certificate", 200)]
            pod.trust(successor.bundle)
            await wait(identity, clock, lambda: len(pod.rotated) == 4)
            assert len(running.asked) == 1

    run(main)


def test_a_bundle_that_no_longer_covers_the_certificate_leads_to_a_new_one(
    pod: Pod, authority: Authority, tmp_path: Path
) -> None:  # fmt: skip
    successor = Authority.create(tmp_path / "next")

    async def main() -> None:
        clock = Clock()
        async with controller(authority, clock) as running:
            identity = identity_of(pod, running.control, clock)
            await identity.step()
            control = running.control
        before = identity.contexts
        pod.trust(successor.bundle)
        await identity.step()
        assert identity.contexts is before

        async with controller(successor, clock, control.port) as running:
            clock.pass_(1)
            await wait(identity, clock, lambda: len(pod.rotated) == 2)
            assert running.asked[-1] == ("token", 200)

    run(main)


def test_a_bundle_that_is_gone_changes_nothing(pod: Pod, authority: Authority) -> None:
    async def main() -> None:
        clock = Clock()
        async with controller(authority, clock) as running:
            identity = identity_of(pod, running.control, clock)
            await identity.step()
            before = identity.contexts
            os.unlink(pod.files.bundle)
            clock.pass_(await identity.step())
            pod.trust(authority.bundle)
            clock.pass_(await identity.step())
            assert identity.contexts is before, "the same again is nothing new"
            pod.trust(authority.bundle + forge.Root().pem)
            await wait(identity, clock, lambda: identity.contexts is not before)

    run(main)


def test_without_any_proof_nobody_is_asked(pod: Pod, authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        clock = Clock()
        async with controller(authority, clock) as running:
            os.unlink(pod.files.token)
            identity = identity_of(pod, running.control, clock)
            await identity.step()
            assert running.asked == []

    run(main)
    assert "no valid certificate and no token" in caplog.text


def test_a_damaged_bundle_changes_nothing(pod: Pod, authority: Authority) -> None:
    async def main() -> None:
        clock = Clock()
        async with controller(authority, clock) as running:
            identity = identity_of(pod, running.control, clock)
            await identity.step()
            before = identity.contexts
            pod.trust(authority.bundle[:100])
            for _ in range(3):
                clock.pass_(await identity.step())
            assert identity.contexts is before
            pod.trust(authority.bundle + forge.Root().pem)
            await wait(identity, clock, lambda: identity.contexts is not before)

    run(main)


def test_a_full_disk_does_not_stop_a_renewal(pod: Pod, authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        clock = Clock()
        async with controller(authority, clock) as running:
            pod.fill_disk()
            identity = identity_of(pod, running.control, clock)
            await identity.step()
            assert identity.contexts is not None
            assert "tls.key" not in os.listdir(pod.folder)

    run(main)
    assert "not on disk" in caplog.text


@pytest.mark.parametrize(
    "left", ["key only", "certificate only", "mismatched", "cut short", "expired", "other identity"]
)
def test_what_a_crash_or_time_left_on_disk_is_replaced(pod: Pod, authority: Authority, left: str) -> None:
    async def main() -> None:
        clock = Clock()
        async with controller(authority, clock) as running:
            certificate, key = forge.save(forge.good(), pod.folder)
            match left:
                case "key only":
                    certificate.unlink()
                case "certificate only":
                    key.unlink()
                case "mismatched":
                    key.write_bytes(forge.good().key)
                case "cut short":
                    key.write_bytes(key.read_bytes()[:80])
                case "expired":
                    pod.trust(authority.bundle + forge.trusted().pem)
                    forge.save(forge.BAD["expired"](), pod.folder)
                case "other identity":
                    pod.trust(authority.bundle + forge.trusted().pem)
                    forge.save(forge.good("spiffe://cluster.local/ns/shop/sa/api"), pod.folder)
                case _:
                    raise AssertionError(left)
            identity = identity_of(pod, running.control, clock)
            await identity.step()

            assert running.asked == [("token", 200)]
            assert identity.contexts is not None
        again = identity_of(pod, NOBODY, clock)
        await again.step()
        assert again.contexts is not None

    run(main)


def test_without_a_controller_the_files_are_used_and_followed(pod: Pod) -> None:
    async def main() -> None:
        clock = Clock()
        pod.trust(forge.trusted().pem)
        forge.save(forge.good(), pod.folder)
        identity = identity_of(pod, None, clock)
        assert await identity.step() == POLL
        assert await identity.step() == POLL
        assert len(pod.rotated) == 1

        before = identity.contexts
        forge.save(replace(forge.good(), key=forge.good().key), pod.folder)
        for _ in range(2):
            await identity.step()
        assert identity.contexts is before, "a key that does not fit: the last good pair stays"

        forge.save(forge.good(), pod.folder)
        await identity.step()
        assert len(pod.rotated) == 2

    run(main)


def test_without_tls_files_there_is_no_identity(pod: Pod) -> None:
    sidecar = pod.sidecar(None)
    bare = msgspec.structs.replace(sidecar, tls=None)
    with pytest.raises(SettingsError):
        WorkloadIdentity(bare, on_rotate=pod.rotated.append, now=forge.now, random=lambda: 0.0)


def valid(begin: datetime, end: datetime) -> Peer:
    return Peer(
        identity=forge.WEB,
        trust_domain=forge.TRUST_DOMAIN,
        namespace="shop",
        service_account="web",
        pods=(),
        not_before=begin,
        expires=end,
    )


def test_a_thousand_sidecars_do_not_renew_together() -> None:
    issued = forge.now()
    whole = valid(issued - timedelta(seconds=60), issued + timedelta(hours=48))
    earliest, latest = renewal_time(whole, 0.999999), renewal_time(whole, 0.0)

    assert latest - issued <= timedelta(hours=24)
    assert whole.expires - latest >= timedelta(hours=24)
    assert latest - earliest > timedelta(hours=4)


@given(st.integers(2, 10**7), st.floats(0, 1, exclude_max=True))
def test_renewal_is_within_life_however_short(seconds: int, random: float) -> None:
    begin = forge.now()
    own = valid(begin, begin + timedelta(seconds=seconds))
    assert begin < renewal_time(own, random) < own.expires


@given(st.integers(0, 10**6), st.floats(0, 1, exclude_max=True))
def test_retries_are_neither_hasty_nor_rare(failures: int, random: float) -> None:
    assert FIRST_RETRY / 2 < retry_delay(failures, random) <= LAST_RETRY


def test_no_secret_is_ever_logged(pod: Pod, authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = {pod.token()}

    async def main() -> None:
        asyncio.get_running_loop().set_debug(True)
        clock = Clock()
        await identity_of(pod, NOBODY, clock).step()
        async with controller(authority, clock) as running:
            identity = identity_of(pod, running.control, clock)
            good = pod.token()
            for token in (good[:-2] + "xx", good[::-1], good):
                pod.give(token)
                secrets.add(token)
                await identity.step()
                clock.pass_(POLL)
            assert identity.contexts is not None
            clock.pass_(LIFETIME.total_seconds() / 2)
            await identity.step()
            assert len(pod.rotated) == 2
        clock.pass_(50)
        await identity.step()
        pod.trust("damaged")
        await identity.step()

    run(main)
    secrets |= {line for line in pod.key().decode().split("-----END PRIVATE KEY")[0].splitlines()[1:] if line}
    assert len(caplog.records) > 5
    written = "\n".join(
        caplog.handler.format(record) + repr(record.args) for record in caplog.records
    )  # fmt: skip
    assert not [secret for secret in secrets if secret in written]
