"""Keys are made by a child process; whatever becomes of that, the sidecar goes on, and no child is left."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from enrolling import LIFETIME, NOBODY, Clock, Pod, controller, identity_of, run
from eventually import eventually
from forge import WEB
from msgspec.structs import replace

from proxy import keys
from proxy.contract.config import Control, File, Listeners, Sidecar, TlsFiles
from proxy.keys import NewKey, NoKey, begin, made
from proxy.start import first_key
from translator.identity.authority import Authority

REAL = keys.PROGRAM
Child = Callable[[str], Path]


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Child:
    """Runs this instead; gives the file where it leaves its process's number, a line for each time."""

    def instead(code: str) -> Path:
        script, pids = tmp_path / "instead.py", tmp_path / "pids"
        script.write_text(f"import os, sys, time\nopen({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n')\n{code}")
        monkeypatch.setattr(keys, "PROGRAM", script)
        return pids

    return instead


def test_a_new_key_is_one_for_the_request_and_nobody_elses() -> None:
    async def main() -> None:
        one, other = [await made(begin(WEB)) for _ in range(2)]
        key = serialization.load_pem_private_key(one.key, None)
        request = x509.load_pem_x509_csr(one.request)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        assert isinstance(key.curve, ec.SECP256R1)
        assert request.is_signature_valid
        assert request.public_key() == key.public_key()
        assert list(request.subject) == []
        (extension,) = request.extensions
        assert extension.critical
        assert extension.value == x509.SubjectAlternativeName([x509.UniformResourceIdentifier(WEB)])
        assert one.key != other.key

    run(main)


def test_a_key_is_not_shown() -> None:
    assert "secret" not in repr(NewKey(key=b"secret", request=b"request"))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise SystemExit('no \x07entropy')", r"exit code 1 no  entropy"),
        ("import nothing_of_the_kind", "exit code 1 ModuleNotFoundError"),
        ("os.kill(os.getpid(), 9)", "exit code -9"),
        ("print('-----BEGIN PRIVATE KEY-----')", "exit code 0"),
    ],
)
def test_a_child_that_fails_is_no_key_this_time(child: Child, code: str, reason: str) -> None:
    child(code)

    async def main() -> None:
        with pytest.raises(NoKey, match=reason):
            await made(begin(WEB))

    run(main)


def test_an_interpreter_that_is_not_there_is_no_key_this_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python3")

    async def main() -> None:
        with pytest.raises(NoKey, match="No such file"):
            await made(begin(WEB))

    run(main)


def test_a_child_that_hangs_is_ended(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "SECONDS", 0.5)
    pids = child("time.sleep(600)")

    async def main() -> None:
        with pytest.raises(NoKey, match=r"in 0\.5 s"):
            await made(begin(WEB))
        assert _gone(pids)

    run(main)


def test_nor_does_it_outlive_who_asked(child: Child) -> None:
    pids = child("time.sleep(600)")

    async def main() -> None:
        asking = asyncio.create_task(made(begin(WEB)))
        await eventually(lambda: pids.exists() and pids.read_text())
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert _gone(pids)

    run(main)


def test_a_controller_that_is_away_costs_one_key(child: Child, tmp_path: Path) -> None:
    pids = child(f"import runpy\nrunpy.run_path({str(REAL)!r}, run_name='__main__')")
    authority = Authority.create(tmp_path)
    pod = Pod(tmp_path / "pod", authority)

    async def main() -> None:
        clock = Clock()
        identity = identity_of(pod, NOBODY, clock)
        for _ in range(4):
            await identity.step()
            clock.pass_(1)
        assert len(_lines(pids)) == 1
        async with controller(authority, clock) as running:
            identity._control = running.control
            await identity.step()
            first = pod.key()
            clock.pass_(LIFETIME.total_seconds() / 2)
            await identity.step()
        assert len(_lines(pids)) == 2, "a key that is in use is not taken again"
        assert pod.key() != first

    run(main)


def without_key(folder: Path) -> Sidecar:
    """A sidecar that has to enrol, with its files in ``folder``."""
    return Sidecar(
        pod="web-0",
        namespace="shop",
        service_account="web",
        listeners=Listeners(address="127.0.0.1"),
        tls=TlsFiles(bundle="", certificate="", key=str(folder / "tls.key")),
        control=Control(address="127.0.0.1", port=9, identity="spiffe://cluster.local/controller"),
    )


def test_the_first_key_is_made_for_who_will_need_one(tmp_path: Path) -> None:
    needs = without_key(tmp_path)

    async def main() -> None:
        child = first_key(File(sidecar=needs))
        assert child is not None
        request = x509.load_pem_x509_csr((await made(child)).request)
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == [WEB]

    run(main)
    assert first_key(File(sidecar=replace(needs, tls=None))) is None
    assert first_key(File(sidecar=replace(needs, control=None))) is None
    (tmp_path / "tls.key").touch()
    assert first_key(File(sidecar=needs)) is None


def test_a_first_key_that_cannot_be_made_is_no_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What there is to say is said when it is needed: see above."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python3")
    assert first_key(File(sidecar=without_key(tmp_path))) is None


def _lines(pids: Path) -> list[str]:
    return pids.read_text().splitlines()


def _gone(pids: Path) -> bool:
    (pid,) = _lines(pids)
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    return False
