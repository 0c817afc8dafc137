"""ConfigMaps as the files of a pod."""

from __future__ import annotations

from pathlib import Path

import pytest

from translator.local.environment import NotStartable
from translator.local.podfiles import write_mounts
from translator.local.state import PodState, write_changed


def test_files_become_exactly_these(tmp_path: Path) -> None:
    folder = PodState(directory=tmp_path)
    write_mounts(folder, "c", {"c/etc/a": "1", "c/etc/b": "2"})
    write_mounts(folder, "c", {"c/etc/b": "3", "c/etc/sub/d": "4"})

    there = {
        str(path.relative_to(folder.files)): path.read_text() for path in folder.files.rglob("*") if path.is_file()
    }
    assert there == {"c/etc/b": "3", "c/etc/sub/d": "4"}


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"c/etc": "1", "c/etc/a": "2"}, "File exists"),
        ({"c/etc/a": "2", "c/etc": "1"}, "Is a directory"),
        ({"c/etc/a\0b": "1"}, "embedded null byte"),
        ({f"c/etc/{'a' * 300}": "1"}, "File name too long"),
    ],
)
def test_files_that_cannot_be_keep_the_container_from_starting(files: dict[str, str], why: str, tmp_path: Path) -> None:
    with pytest.raises(NotStartable, match=f"volumeMounts cannot be written: {why}"):
        write_mounts(PodState(directory=tmp_path), "c", files)


def test_a_file_of_the_same_content_is_not_written_again(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_changed(file, b"1")
    (tmp_path / ".file.new").mkdir()  # nothing can be written any more
    write_changed(file, b"1")
    with pytest.raises(IsADirectoryError):
        write_changed(file, b"2")
    assert file.read_bytes() == b"1"
