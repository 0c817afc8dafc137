"""The last good config on disk: whole or not at all."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from proxy.contract.config import Config, Host
from proxy.lastgood import FILE_NAME, load, store

CONFIG = Config(version=7, hosts={"api.shop": Host()})


def test_what_was_stored_is_loaded(tmp_path: Path) -> None:
    store(tmp_path, Config(version=6))
    store(tmp_path, CONFIG)
    assert load(tmp_path) == CONFIG
    assert [file.name for file in tmp_path.iterdir()] == [FILE_NAME], "nothing is left lying about"


def test_no_file_is_no_config(tmp_path: Path) -> None:
    assert load(tmp_path) is None
    assert load(tmp_path / "absent") is None


@pytest.mark.parametrize("damage", [0, 3, 10, 40, -1])
def test_a_damaged_file_is_ignored_and_said(tmp_path: Path, damage: int, caplog: pytest.LogCaptureFixture) -> None:
    store(tmp_path, CONFIG)
    file = tmp_path / FILE_NAME
    content = bytearray(file.read_bytes())
    content[damage] ^= 1
    file.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert load(tmp_path) is None
    assert "damaged" in caplog.text


@pytest.mark.parametrize("length", [0, 2, 20, 36, 40])
def test_a_short_file_is_ignored(tmp_path: Path, length: int) -> None:
    store(tmp_path, CONFIG)
    file = tmp_path / FILE_NAME
    file.write_bytes(file.read_bytes()[:length])
    assert load(tmp_path) is None
