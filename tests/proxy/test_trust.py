"""Which bundle counts: the file, what was told, what was kept."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import forge
import pytest

from proxy.contract.config import TlsFiles, Trust
from proxy.trust import FILE_NAME, TrustBundles

A, B, C = (forge.Root().pem for _ in range(3))


class Folder:
    """A pod's folder with its bundle file, and the sidecars that start there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.federated: dict[str, str] = {}

    def put(self, text: str, name: str = "bundle.pem") -> None:
        fresh = self.path / "fresh"
        fresh.write_text(text)
        fresh.replace(self.path / name)

    def start(self, *, state: bool = True) -> TrustBundles:
        files = TlsFiles(bundle=str(self.path / "bundle.pem"), certificate="", key="", federated=self.federated)
        return TrustBundles(files, str(self.path) if state else "")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    one = Folder(tmp_path)
    one.put(A)
    return one


def test_the_file_counts_until_something_is_told(folder: Folder) -> None:
    bundles = folder.start()
    assert bundles.current == Trust(bundle=A)
    assert bundles.told(Trust(bundle=B, generation=1))
    assert bundles.current.bundle == B
    assert not bundles.look(), "the file is what it was"
    assert not bundles.told(Trust(bundle=B, generation=1)), "nothing new"


def test_what_was_told_outlives_a_restart(folder: Folder) -> None:
    told = Trust(bundle=B, federated={"partner.example": C}, issuer="ab", generation=5)
    folder.start().told(told)
    assert folder.start().current == told
    os.unlink(folder.path / "bundle.pem")
    assert folder.start().current == told


def test_without_a_folder_of_its_own_nothing_is_kept(folder: Folder) -> None:
    folder.start(state=False).told(Trust(bundle=B, generation=5))
    assert os.listdir(folder.path) == ["bundle.pem"]
    assert folder.start(state=False).current.bundle == A


def test_a_file_that_is_replaced_after_that_is_newer(folder: Folder) -> None:
    bundles = folder.start()
    bundles.told(Trust(bundle=B, federated={"partner.example": C}, generation=5))
    folder.put(C)
    assert bundles.look()
    assert bundles.current == Trust(bundle=C, federated={"partner.example": C}, generation=5)
    assert folder.start().current == bundles.current, "also for who was not there when it was replaced"


def test_the_file_may_come_later(folder: Folder) -> None:
    os.unlink(folder.path / "bundle.pem")
    bundles = folder.start()
    assert bundles.current.bundle == ""
    folder.put(A)
    assert bundles.look()
    assert bundles.current.bundle == A


@pytest.mark.parametrize("text", ["", "damaged", A[:-40], A + B[:-40], "\xff"])
def test_a_wrong_file_changes_nothing_and_is_said_once(
    folder: Folder, text: str, caplog: pytest.LogCaptureFixture
) -> None:  # fmt: skip
    bundles = folder.start()
    with caplog.at_level(logging.WARNING):
        folder.put(text)
        for _ in range(3):
            assert not bundles.look()
    assert bundles.current.bundle == A
    assert len(caplog.records) == 1
    assert "bundle.pem" in caplog.text


def test_the_older_of_two_is_not_taken_up(folder: Folder) -> None:
    bundles = folder.start()
    bundles.told(Trust(bundle=B, generation=5))
    assert not bundles.told(Trust(bundle=C, generation=4))
    assert bundles.current.bundle == B
    assert bundles.newer(Trust(bundle=C, generation=4)) is bundles.current


def test_other_trust_domains_come_from_files_where_nobody_tells_them(folder: Folder) -> None:
    folder.put(B, "partner.pem")
    folder.federated = {"partner.example": str(folder.path / "partner.pem"), "late.example": str(folder.path / "late")}
    bundles = folder.start()
    assert bundles.current.federated == {"partner.example": B}
    folder.put(C, "late")
    folder.put("damaged", "partner.pem")
    assert bundles.look()
    assert bundles.current.federated == {"partner.example": B, "late.example": C}
    bundles.told(Trust(bundle=A, generation=1))
    folder.put(A, "late")
    assert not bundles.look()
    assert bundles.current.federated == {}


@pytest.mark.parametrize("damage", ["", "{}", "x" * 10, '{"trust": {"bundle": "damaged"}, "file": ""}'])
def test_a_damaged_kept_file_is_ignored_and_said(
    folder: Folder, damage: str, caplog: pytest.LogCaptureFixture
) -> None:  # fmt: skip
    folder.start().told(Trust(bundle=B, generation=5))
    folder.put(damage, FILE_NAME)
    assert folder.start().current == Trust(bundle=A)
    assert FILE_NAME in caplog.text


def test_a_full_disk_keeps_nobody_from_trusting(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    (folder.path / f".{FILE_NAME}.new").mkdir()
    bundles = folder.start()
    assert bundles.told(Trust(bundle=B, generation=5))
    assert bundles.current.bundle == B
    assert "not on disk" in caplog.text
