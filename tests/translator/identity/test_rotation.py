"""From files that are exchanged to what is served and told, step by step, with a clock and sidecars of our own."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import ssl
import stat
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import forge
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.contract.config import Trust
from translator.identity import inforce
from translator.identity.authority import Authority, AuthorityError, write_ca
from translator.identity.rollout import SidecarTrust, Stage
from translator.identity.roots import as_bundle, new_root, private_pem
from translator.identity.rotation import OVERLAP, PATIENCE, POLL, POLL_ROLLOUT, RETRY, Outlets, Rotation
from translator.identity.wanted import IdentityOptions

PARTNER = forge.Root().pem


class Mesh:
    """A mesh's folder, its CA's folder, and what its sidecars have done so far."""

    def __init__(self, folder: Path) -> None:
        self.directory = folder / "mesh"
        self.directory.mkdir()
        self.first = Authority.create(self.directory)
        self.ca = self.directory / "ca"
        self.time = 1000.0
        self.served: list[ssl.SSLContext] = []
        self.told: list[Trust] = []
        self.sidecars: list[SidecarTrust] | None = [SidecarTrust(pod="shop/web-0")]
        self.federated: dict[str, Path] = {}

    def rotation(self, lifetime: timedelta = timedelta(hours=48)) -> Rotation:
        options = IdentityOptions(lifetime=lifetime, federated=self.federated)
        return Rotation(self.directory, options, "cluster.local", clock=lambda: self.time)

    async def started(self, lifetime: timedelta = timedelta(hours=48)) -> Rotation:
        rotation = self.rotation(lifetime)
        await rotation.start(Outlets(serve=self.serve, publish=self.told.append, sidecars=lambda: self.sidecars))
        return rotation

    async def serve(self, context: ssl.SSLContext) -> None:
        self.served.append(context)

    def new_ca(self, *beside: x509.Certificate) -> x509.Certificate:
        """Puts a new root where the operator does, with others beside it."""
        root, key = new_root("cluster.local", forge.now())
        write_ca(self.ca, as_bundle([root, *beside]), as_bundle([root]), private_pem(key))
        return root

    def follow(self) -> None:
        """The sidecar takes up what was told last, and has a certificate of the issuer it names."""
        last = self.told[-1]
        self.sidecars = [SidecarTrust(pod="shop/web-0", generation=last.generation, issuer=last.issuer)]


@pytest.fixture
def mesh(tmp_path: Path) -> Mesh:
    return Mesh(tmp_path)


def run(main: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(main(), 30))


def test_at_the_start_the_files_are_in_force_and_told(mesh: Mesh) -> None:
    async def main() -> None:
        rotation = await mesh.started()
        assert rotation.in_force() == (rotation.authority, mesh.told[0])
        assert mesh.told == [mesh.first.trust(generation=mesh.told[0].generation)]
        assert len(mesh.served) == 1
        assert (mesh.directory / "bundle.pem").read_text() == mesh.first.bundle
        assert stat.S_IMODE((mesh.directory / "in-force.json").stat().st_mode) == 0o600
        assert await rotation.advance() == POLL
        assert len(mesh.told) == len(mesh.served) == 1

    run(main)


def test_a_new_root_comes_into_force_in_three_steps_as_sidecars_follow(
    mesh: Mesh, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        rotation = await mesh.started()
        mesh.follow()
        new = mesh.new_ca()
        old = mesh.first.issuer

        await rotation.advance()
        assert (rotation.authority.roots, rotation.authority.issuer) == ((old, new), old)
        assert (mesh.directory / "bundle.pem").read_text() == as_bundle([old, new])

        assert await rotation.advance() == POLL_ROLLOUT
        assert rotation.shown().stage is Stage.TRUSTING
        assert rotation.shown().waiting == ("shop/web-0",)
        mesh.time += PATIENCE
        for _ in range(3):
            await rotation.advance()
        said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert said == ["rollout waits stage=trusting pods=1 among=shop/web-0"]
        assert len(mesh.told) == 2, "nobody says that the sidecar trusts the new root"

        mesh.follow()
        await rotation.advance()
        mesh.time += OVERLAP - 0.1
        await rotation.advance()
        assert rotation.authority.issuer == old, "handshakes may be under way that do not know the new root"
        mesh.time += 0.1
        await rotation.advance()
        assert (rotation.authority.roots, rotation.authority.issuer) == ((old, new), new)
        assert mesh.told[-1].issuer == rotation.authority.key_id

        await rotation.advance()
        assert (rotation.shown().stage, rotation.shown().waiting) == (Stage.RENEWING, ("shop/web-0",))
        mesh.follow()
        await rotation.advance()
        mesh.time += OVERLAP
        await rotation.advance()
        assert rotation.authority.roots == (new,)
        assert await rotation.advance() == POLL
        assert rotation.shown().stage is Stage.SETTLED
        assert [len(trust.bundle.split("BEGIN")) - 1 for trust in mesh.told] == [1, 2, 2, 1]
        assert sorted(trust.generation for trust in mesh.told) == [trust.generation for trust in mesh.told]
        assert len(mesh.served) == 4

    run(main)


def test_whoever_falls_behind_puts_the_step_off(mesh: Mesh) -> None:
    """A pod that starts while the step is about to be taken."""

    async def main() -> None:
        rotation = await mesh.started()
        mesh.new_ca()
        await rotation.advance()
        mesh.follow()
        await rotation.advance()
        mesh.time += OVERLAP - 1
        known = mesh.sidecars
        assert known is not None
        mesh.sidecars = [*known, SidecarTrust(pod="shop/new-0")]
        await rotation.advance()
        mesh.time += 1
        mesh.sidecars = known
        await rotation.advance()
        assert rotation.authority.issuer == mesh.first.issuer
        mesh.time += OVERLAP
        await rotation.advance()
        assert rotation.authority.issuer != mesh.first.issuer

    run(main)


def test_nothing_is_decided_while_the_sidecars_are_not_known(mesh: Mesh) -> None:
    async def main() -> None:
        rotation = await mesh.started()
        mesh.new_ca()
        mesh.sidecars = None
        for _ in range(3):
            assert await rotation.advance() == POLL
            mesh.time += OVERLAP
        assert rotation.authority.issuer == mesh.first.issuer

    run(main)


def test_a_controller_that_restarts_in_the_middle_goes_on_with_what_was_in_force(mesh: Mesh) -> None:
    async def main() -> None:
        rotation = await mesh.started()
        new = mesh.new_ca()
        await rotation.advance()
        mesh.follow()

        again = await mesh.started()
        assert again.authority.roots == (mesh.first.issuer, new)
        assert again.authority.issuer == mesh.first.issuer
        assert again.trust == rotation.trust
        await again.advance()
        mesh.time += OVERLAP
        await again.advance()
        assert again.authority.issuer == new

    run(main)


def test_what_was_in_force_and_is_damaged_gives_way_to_the_files(mesh: Mesh, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        await mesh.started()
        file = mesh.directory / "in-force.json"
        held = json.loads(file.read_text())
        for damage in ("", "{}", json.dumps({**held, "key": held["key"][:60]}), json.dumps({**held, "chain": "x"})):
            file.write_text(damage)
            assert (await mesh.started()).authority.issuer == mesh.first.issuer
            assert "in-force.json" in caplog.text
        assert held["key"].splitlines()[1] not in caplog.text

    run(main)


@pytest.mark.parametrize("wrong", ["key of another", "root that did not sign", "no certificate", "gone", "expired"])
def test_wrong_files_change_nothing_and_are_told(mesh: Mesh, wrong: str) -> None:
    async def main() -> None:
        rotation = await mesh.started()
        root, key = new_root("cluster.local", forge.now())
        match wrong:
            case "key of another":
                (mesh.ca / "issuer.key").write_bytes(private_pem(key))
            case "root that did not sign":
                (mesh.ca / "ca.crt").write_text(as_bundle([root]))
            case "no certificate":
                (mesh.ca / "issuer.crt").write_text("none")
            case "gone":
                os.unlink(mesh.ca / "ca.crt")
            case _:
                old = forge.Root()
                past = old.new_ca(x509.Name([]), old.key_id, end=timedelta(hours=-1))
                write_ca(mesh.ca, as_bundle([past]), as_bundle([past]), private_pem(old.key))
        await rotation.advance()
        assert not rotation.problems, "the other files may be on their way"
        await rotation.advance()
        (problem,) = rotation.problems
        assert problem.file.startswith(str(mesh.ca))
        assert len(mesh.told) == 1

        root = mesh.new_ca()
        await rotation.advance()
        assert not rotation.problems
        assert root in rotation.authority.roots

    run(main)


def test_a_wrong_ca_at_the_start_is_an_error_that_names_the_file(mesh: Mesh) -> None:
    (mesh.ca / "issuer.crt").write_text("none")
    with pytest.raises(AuthorityError, match=r"issuer\.crt cannot be read"):
        mesh.rotation()


def test_a_wrong_ca_at_a_restart_leaves_what_was_in_force(mesh: Mesh) -> None:
    async def main() -> None:
        await mesh.started()
        (mesh.ca / "issuer.crt").write_text("none")
        again = await mesh.started()
        assert again.authority.issuer == mesh.first.issuer
        assert len(again.problems) == 1

    run(main)


def test_the_controllers_own_certificate_is_renewed_at_half_of_its_life(mesh: Mesh) -> None:
    async def main() -> None:
        rotation = await mesh.started(timedelta(seconds=5))
        await rotation.advance()
        assert len(mesh.served) == 1
        now = rotation.authority.now()
        rotation.authority = replace(rotation.authority, now=lambda: now + timedelta(seconds=3))
        await rotation.advance()
        assert len(mesh.served) == 2

    run(main)


def test_a_full_disk_stops_a_step_before_anybody_hears_of_it(mesh: Mesh, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        rotation = await mesh.started()
        mesh.new_ca()
        (mesh.directory / ".in-force.json.new").mkdir()
        await rotation.advance()
        await rotation.advance()
        assert len(mesh.told) == len(mesh.served) == 1
        assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1

        (mesh.directory / ".in-force.json.new").rmdir()
        mesh.time += RETRY
        await rotation.advance()
        assert len(mesh.told) == 2

    run(main)


def test_bundles_of_other_trust_domains_are_followed(mesh: Mesh, tmp_path: Path) -> None:
    async def main() -> None:
        file = tmp_path / "partner.pem"
        file.write_text(PARTNER)
        mesh.federated = {"partner.example": file, "late.example": tmp_path / "late.pem"}
        rotation = await mesh.started()
        assert mesh.told[-1].federated == {"partner.example": PARTNER}
        await rotation.advance()
        assert [problem.file for problem in rotation.problems] == [str(tmp_path / "late.pem")]

        (tmp_path / "late.pem").write_text(PARTNER)
        await rotation.advance()
        assert mesh.told[-1].federated == {"partner.example": PARTNER, "late.example": PARTNER}
        assert list(rotation.shown().federated) == ["late.example", "partner.example"]

        file.write_text("damaged")
        for _ in range(2):
            await rotation.advance()
        assert mesh.told[-1].federated["partner.example"] == PARTNER
        assert [problem.message for problem in rotation.problems] == ["the bundle cannot be read as PEM certificates"]

        again = await mesh.started()
        await again.advance()
        assert mesh.told[-1].federated["partner.example"] == PARTNER, "the last good one outlives a restart"

        mesh.federated = {}
        again = await mesh.started()
        await again.advance()
        assert mesh.told[-1].federated == {}

    run(main)


# -- a CA of the operator's own --------------------------------------------------------------------------------------


def below(root: forge.Root, key: ec.EllipticCurvePrivateKey, name: str) -> str:
    """The certificate of an issuer with ``key`` below ``root``, which allows it."""
    leaf = forge.Leaf(
        subject=name, names=False, ca=True, usage=("key_cert_sign",), extended=None, new_key=lambda: key,
        end=timedelta(days=1),
    )  # fmt: skip
    return root.sign(leaf).certificate.decode()


def wide() -> forge.Root:
    """A root that lets CAs be below it."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "company")])
    return forge.Root(name)


def test_an_issuer_below_a_root_signs_with_its_certificate_in_the_chain(mesh: Mesh, tmp_path: Path) -> None:
    root, key = wide(), ec.generate_private_key(ec.SECP256R1())
    ca = tmp_path / "company"
    ca.mkdir()
    write_ca(ca, root.pem, below(root, key, "issuer"), private_pem(key))
    rotation = Rotation(mesh.directory, IdentityOptions(ca=ca), "cluster.local")

    certificate, _ = rotation.authority.issue_controller()
    leaf, above = x509.load_pem_x509_certificates(certificate)
    leaf.verify_directly_issued_by(above)
    above.verify_directly_issued_by(root.certificate)
    assert rotation.trust.bundle == root.pem


def test_a_renewed_issuer_with_the_same_key_signs_from_then_on(mesh: Mesh, tmp_path: Path) -> None:
    """As cert-manager renews it; nobody has to do anything."""
    root, key = wide(), ec.generate_private_key(ec.SECP256R1())
    write_ca(mesh.ca, root.pem, below(root, key, "issuer"), private_pem(key))

    async def main() -> None:
        rotation = await mesh.started()
        mesh.follow()
        (mesh.ca / "issuer.crt").write_text(below(root, key, "issuer"))
        await rotation.advance()
        mesh.time += OVERLAP
        await rotation.advance()
        assert rotation.authority.chain == (mesh.ca / "issuer.crt").read_text()
        assert await rotation.advance() == POLL

        other = wide()
        (mesh.ca / "ca.crt").write_text(root.pem + other.pem)
        (mesh.ca / "issuer.crt").write_text(below(other, key, "issuer"))
        for _ in range(2):
            await rotation.advance()
        assert "make a new key" in rotation.problems[0].message

    run(main)


@pytest.mark.parametrize(("left", "told"), [(timedelta(hours=6), False), (timedelta(hours=4), True)])
def test_an_issuer_that_ends_soon_is_told_in_time(mesh: Mesh, left: timedelta, told: bool) -> None:
    """It began two days ago; its last tenth is told."""
    root = forge.Root()
    ending = root.new_ca(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "short")]), root.key_id, end=left)
    write_ca(mesh.ca, as_bundle([ending]), as_bundle([ending]), private_pem(root.key))

    async def main() -> None:
        rotation = await mesh.started()
        assert [Path(problem.file).name for problem in rotation.problems] == ["issuer.crt", "ca.crt"] * told
        assert not rotation.wrong
        assert all(problem.message.startswith("CN=short ends at ") for problem in rotation.problems)

    run(main)


def test_our_own_trust_domain_is_none_of_the_others(mesh: Mesh, tmp_path: Path) -> None:
    mesh.federated = {"cluster.local": tmp_path}
    with pytest.raises(AuthorityError, match="own trust domain"):
        mesh.rotation()


def test_an_issuer_that_has_ended_gives_way_at_once(mesh: Mesh) -> None:
    """While it runs, and where it is found at a start; no sidecar could follow, for each has ended with it."""

    async def main() -> None:
        for running in (True, False):
            rotation = await mesh.started()
            late = rotation.authority.ends
            new = mesh.new_ca()
            if running:
                rotation.authority = at(rotation.authority, late)
                await rotation.advance()
            else:
                ended(mesh, rotation.authority)
                rotation = await mesh.started()
            assert rotation.authority.issuer == new
            assert mesh.told[-1].issuer == rotation.authority.key_id
            mesh.follow()

    run(main)


def at(authority: Authority, now: datetime) -> Authority:
    return replace(authority, now=lambda: now)


def ended(mesh: Mesh, authority: Authority) -> None:
    """What was in force, as it is when its time is over."""
    root = forge.Root()
    past = root.new_ca(authority.issuer.subject, root.key_id, end=timedelta(seconds=-1))
    held = Authority.of(as_bundle([past]), as_bundle([past]).encode(), private_pem(root.key), "cluster.local")
    inforce.store(mesh.directory, held, held.trust(generation=mesh.told[-1].generation))
