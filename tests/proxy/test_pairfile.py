"""Certificate and key on disk: whatever a crash leaves, it is a pair that works or none."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

import forge
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from forge import Leaf

from proxy.contract.config import TlsFiles
from proxy.pairfile import read_pair, write_pair
from proxy.tls import Pair, PairRejected


def files_in(folder: Path) -> TlsFiles:
    return TlsFiles(
        bundle=str(folder / "bundle.pem"), certificate=str(folder / "tls.crt"), key=str(folder / "tls.key")
    )  # fmt: skip


def same(one: Pair, other: Pair) -> bool:
    return one.certificate.strip() == other.certificate.strip() and one.key.strip() == other.key.strip()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    pair = forge.good()
    write_pair(files_in(tmp_path), pair)

    assert same(read_pair(files_in(tmp_path)), pair)
    assert (tmp_path / "tls.crt").read_bytes() == pair.certificate
    assert sorted(os.listdir(tmp_path)) == ["tls.crt", "tls.key"]


def test_the_key_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_pair(files_in(tmp_path), forge.good())
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "tls.key").stat().st_mode) == 0o600


def test_a_crash_between_the_two_files_leaves_the_new_pair(tmp_path: Path) -> None:
    old, new = forge.good(), forge.good()
    write_pair(files_in(tmp_path), old)
    before = (tmp_path / "tls.crt").read_bytes()
    write_pair(files_in(tmp_path), new)
    (tmp_path / "tls.crt").write_bytes(before)

    assert same(read_pair(files_in(tmp_path)), new)


def test_a_crash_before_the_first_certificate_file_leaves_the_pair(tmp_path: Path) -> None:
    pair = forge.good()
    write_pair(files_in(tmp_path), pair)
    (tmp_path / "tls.crt").unlink()

    assert same(read_pair(files_in(tmp_path)), pair)


def test_a_crash_while_writing_leaves_the_old_pair_and_does_not_block_the_next(tmp_path: Path) -> None:
    old, new = forge.good(), forge.good()
    write_pair(files_in(tmp_path), old)
    for name in ("tls.key.new", "tls.crt.new"):
        (tmp_path / name).write_bytes(new.key[:30])

    assert same(read_pair(files_in(tmp_path)), old)
    write_pair(files_in(tmp_path), new)
    assert same(read_pair(files_in(tmp_path)), new)


def test_a_failed_write_leaves_the_old_pair(tmp_path: Path) -> None:
    old = forge.good()
    write_pair(files_in(tmp_path), old)
    (tmp_path / "tls.key.new").mkdir()

    with pytest.raises(OSError):  # noqa: PT011 - which one is the system's choice
        write_pair(files_in(tmp_path), forge.good())
    assert same(read_pair(files_in(tmp_path)), old)


def test_two_plain_files_of_another_issuer_are_read(tmp_path: Path) -> None:
    pair = forge.good()
    forge.save(pair, tmp_path)

    assert same(read_pair(files_in(tmp_path)), pair)


def test_a_certificate_file_that_fits_the_key_comes_first(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    older, newer = (forge.trusted().sign(Leaf(new_key=lambda: key)) for _ in range(2))
    forge.save(newer, tmp_path)
    (tmp_path / "tls.key").write_bytes(older.key + older.certificate)

    assert same(read_pair(files_in(tmp_path)), newer)


def test_a_link_in_place_of_the_new_file_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "tls.key.new").symlink_to(elsewhere)
    write_pair(files_in(tmp_path), forge.good())

    assert not elsewhere.exists()


@pytest.mark.parametrize("key", [b"", b"\x00\xff", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_damaged_key_is_no_pair(tmp_path: Path, key: bytes) -> None:
    forge.save(forge.good(), tmp_path)
    (tmp_path / "tls.key").write_bytes(key)

    with pytest.raises(PairRejected):
        read_pair(files_in(tmp_path))


def test_every_prefix_of_a_key_file_is_a_whole_pair_or_none(tmp_path: Path) -> None:
    pair = forge.good()
    write_pair(files_in(tmp_path), pair)
    (tmp_path / "tls.crt").unlink()
    whole = (tmp_path / "tls.key").read_bytes()

    for length in range(0, len(whole), 7):
        (tmp_path / "tls.key").write_bytes(whole[:length])
        with suppress(PairRejected):
            assert same(read_pair(files_in(tmp_path)), pair)


def test_a_key_without_its_certificate_is_no_pair(tmp_path: Path) -> None:
    forge.save(forge.good(), tmp_path)
    (tmp_path / "tls.key").write_bytes(forge.good().key)

    with pytest.raises(PairRejected, match="no certificate on disk belongs"):
        read_pair(files_in(tmp_path))


def test_no_files_are_no_pair(tmp_path: Path) -> None:
    with pytest.raises(PairRejected, match=r"tls\.key"):
        read_pair(files_in(tmp_path))
