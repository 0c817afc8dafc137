"""The folder source, look by look, on real files."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from smi.decode import decode_text
from smi.sources import directory as directory_module
from smi.sources import scan
from smi.sources.directory import DirectorySource
from smi.sources.snapshot import Snapshot
from smi.specs import TCPRoute
from smi.workloads import Workload
from smi.yamltree import MAX_TEXT


def route(*names: str, port: int = 80) -> str:
    return "---\n".join(
        f"apiVersion: specs.smi-spec.io/v1alpha4\nkind: TCPRoute\nmetadata: {{name: {name}}}\n"
        f"spec: {{matches: {{ports: [{port}]}}}}\n"
        for name in names
    )


def held(snapshot: Snapshot) -> dict[str, int]:
    """Every route with its port."""
    return {obj.meta.name: obj.ports[0] for obj in snapshot.objects.values() if isinstance(obj, TCPRoute)}


def told(snapshot: Snapshot, folder: Path) -> list[str]:
    return [str(problem).replace(f"{folder}/", "") for problem in snapshot.problems]


def test_every_yaml_below(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(route("a"))
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "b.yml").write_text(route("b", "c"))
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "hidden.yaml").write_text(route("hidden"))
    for temporary in (".a.yaml.swp", "a.yaml~", "a.yaml.tmp", "4913", "#a.yaml#", ".#a.yaml", ".hidden.yaml", "a.json"):
        (tmp_path / temporary).write_text(route("temporary"))
    snapshot = DirectorySource([tmp_path]).load()
    assert (held(snapshot), snapshot.problems) == ({"a": 80, "b": 80, "c": 80}, ())


def test_several_folders_and_single_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "m.yaml").write_text(route(name))
    (tmp_path / "three.conf").write_text(route("three"))
    source = DirectorySource([tmp_path / "two", str(tmp_path / "one"), tmp_path / "three.conf"])
    assert held(source.load()) == {"one": 80, "three": 80, "two": 80}


def test_a_folder_given_twice_or_nested_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "m.yaml").write_text(route("m"))
    (tmp_path / "link").symlink_to(tmp_path / "sub")
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    (tmp_path / "sub" / "n.yaml").symlink_to("m.yaml")
    monkeypatch.chdir(tmp_path)
    spelled: tuple[list[Path | str], ...] = (
        [tmp_path, tmp_path],
        [tmp_path, tmp_path / "sub"],
        [tmp_path / "sub", tmp_path],
        [".", tmp_path / "link"],
    )
    for roots in spelled:
        snapshot = DirectorySource(roots).load()
        assert (held(snapshot), snapshot.problems) == ({"m": 80}, ())


def test_a_workload_runs_in_the_folder_of_its_manifest(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    pod = "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: a}]}}"
    (tmp_path / "sub" / "pod.yaml").write_text(pod)
    (workload,) = DirectorySource([tmp_path]).load().objects.values()
    assert isinstance(workload, Workload)
    assert workload.folder == str(tmp_path / "sub")


def replaced(path: Path, make: Callable[[Path], None]) -> None:
    path.unlink()
    make(path)


WRONG: list[tuple[str, Callable[[Path], object], str]] = [
    ("empty", lambda path: path.write_text(""), "m.yaml:1: file: is empty: there is no object in it"),
    ("comment", lambda path: path.write_text("# soon\n"), "m.yaml:1: file: is empty: there is no object in it"),
    (
        "half",
        lambda path: path.write_text(route("a")[:55]),
        "m.yaml:3: yaml: could not find expected ':'",
    ),
    ("syntax", lambda path: path.write_text(route("a") + "---\na: b: c\n"), "m.yaml:6: yaml: mapping values are not"),
    ("value", lambda path: path.write_text(route("b", port=0)), "m.yaml:4: spec.matches.ports[0]: must be a port"),
    ("latin", lambda path: path.write_bytes(b"a: b\nc: \xe9t\xe9\n"), "m.yaml:2: file: is not UTF-8"),
    ("binary", lambda path: path.write_bytes(bytes(range(256))), "m.yaml:"),
    ("large", lambda path: path.write_bytes(b"#" * (MAX_TEXT + 1)), f"m.yaml:1: file: is larger than {MAX_TEXT} bytes"),
    ("pipe", lambda path: replaced(path, os.mkfifo), "m.yaml:1: file: cannot be read: is not a regular file"),
    (
        "loop",
        lambda path: replaced(path, lambda place: place.symlink_to(place)),
        "m.yaml:1: file: cannot be read: Too many levels",
    ),
    (
        "dangling",
        lambda path: replaced(path, lambda place: place.symlink_to("nowhere")),
        "m.yaml:1: file: cannot be read: No such file or directory",
    ),
]


@pytest.mark.parametrize(("spoil", "problem"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_a_file_gone_wrong_keeps_its_last_good_state(
    tmp_path: Path, spoil: Callable[[Path], object], problem: str
) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(route("a", "b"))
    source = DirectorySource([tmp_path])
    assert held(source.load()) == {"a": 80, "b": 80}

    spoil(path)
    for _ in range(2):
        snapshot = source.load()
        assert held(snapshot) == {"a": 80, "b": 80}
        (only,) = told(snapshot, tmp_path)
        assert only.startswith(problem)

    path.unlink()
    path.write_text(route("a"))
    snapshot = source.load()
    assert (held(snapshot), snapshot.problems) == ({"a": 80}, ())


@pytest.mark.parametrize(("spoil", "problem"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_a_file_wrong_from_the_start_holds_nothing(
    tmp_path: Path, spoil: Callable[[Path], object], problem: str
) -> None:
    (tmp_path / "m.yaml").write_text("")
    (tmp_path / "other.yaml").write_text(route("other"))
    spoil(tmp_path / "m.yaml")
    snapshot = DirectorySource([tmp_path]).load()
    assert held(snapshot) == {"other": 80}
    (only,) = told(snapshot, tmp_path)
    assert only.startswith(problem)


@pytest.fixture
def without_root() -> Iterator[Path]:
    """A folder of a user who may not read everything: whoever runs this, or nobody in root's place."""
    nobody = 65534
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() != 0:
            yield Path(folder)
            return
        os.chown(folder, nobody, nobody)
        os.seteuid(nobody)
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)


@pytest.mark.parametrize("spoiled", ["sub", "sub/m.yaml"])
def test_without_the_right_to_read(without_root: Path, spoiled: str) -> None:
    tmp_path = without_root
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "m.yaml").write_text(route("a"))
    source = DirectorySource([tmp_path])
    source.load()
    (tmp_path / spoiled).chmod(0)
    snapshot = source.load()
    assert (held(snapshot), told(snapshot, tmp_path)) == (
        {"a": 80},
        [f"{spoiled}:1: file: cannot be read: Permission denied"],
    )
    (tmp_path / spoiled).chmod(0o700)
    assert source.load().problems == ()


def test_only_removal_deletes(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(route("a", "b"))
    (tmp_path / "c.yaml").write_text(route("c"))
    source = DirectorySource([tmp_path])
    source.load()
    (tmp_path / "a.yaml").write_text(route("b"))
    assert held(source.load()) == {"b": 80, "c": 80}
    (tmp_path / "c.yaml").unlink()
    assert held(source.load()) == {"b": 80}
    (tmp_path / "a.yaml").write_text("{apiVersion: v1, kind: List, items: []}")
    assert held(source.load()) == {}


def test_first_in_path_order_counts_and_the_next_takes_over(tmp_path: Path) -> None:
    for index, name in enumerate(("a/z.yaml", "a-b.yaml", "b.yaml"), start=1):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(route("r", port=index))
    source = DirectorySource([tmp_path])
    snapshot = source.load()
    assert held(snapshot) == {"r": 1}
    message = f"TCPRoute default/r is also in {tmp_path}/a/z.yaml:1, which counts; this one does not"
    assert told(snapshot, tmp_path) == [
        f"{name}:3: metadata.name: {message}".replace(f"{tmp_path}/", "") for name in ("a-b.yaml", "b.yaml")
    ]
    (tmp_path / "a/z.yaml").unlink()
    assert held(source.load()) == {"r": 2}
    (tmp_path / "a-b.yaml").write_text(route("other"))
    snapshot = source.load()
    assert (held(snapshot), snapshot.problems) == ({"other": 80, "r": 3}, ())


def test_saved_by_rename(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(route("a", port=1))
    source = DirectorySource([tmp_path])
    source.load()
    stamp = path.stat()
    (tmp_path / "m.yaml.tmp").write_text(route("a", port=2))
    os.utime(tmp_path / "m.yaml.tmp", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    (tmp_path / "m.yaml.tmp").replace(path)
    assert held(source.load()) == {"a": 2}


def test_a_change_that_leaves_size_and_time_alone_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(route("a", port=1))
    source = DirectorySource([tmp_path])
    source.load()
    stamp = path.stat()
    path.write_text(route("a", port=2))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert held(source.load()) == {"a": 2}


def test_a_second_change_within_one_tick_of_the_clock_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tick = time.time_ns()
    monkeypatch.setattr(scan, "_signature", lambda status: (status.st_dev, status.st_ino, status.st_size, tick, tick))
    source = DirectorySource([tmp_path])
    for port in (1, 2):
        (tmp_path / "m.yaml").write_text(route("a", port=port))
        assert held(source.load()) == {"a": port}


def test_a_config_map_mounted_as_kubernetes_does(tmp_path: Path) -> None:
    for version in (1, 2):
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "m.yaml").write_text(route("a", port=version))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "m.yaml").symlink_to("..data/m.yaml")
    source = DirectorySource([tmp_path])
    assert held(source.load()) == {"a": 1}
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").replace(tmp_path / "..data")
    shutil.rmtree(tmp_path / "..1")
    snapshot = source.load()
    assert (held(snapshot), snapshot.problems) == ({"a": 2}, ())


def test_a_folder_that_goes_and_comes(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    source = DirectorySource([folder])
    assert told(source.load(), tmp_path) == ["m:1: file: no such file or folder"]
    folder.mkdir()
    (folder / "a.yaml").write_text(route("a"))
    snapshot = source.load()
    assert (held(snapshot), snapshot.problems) == ({"a": 80}, ())
    shutil.rmtree(folder)
    assert held(source.load()) == {}


def test_one_changed_file_costs_one_decode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []

    def counting(text: str, file: str) -> object:
        decoded.append(Path(file).name)
        return decode_text(text, file)

    monkeypatch.setattr(directory_module, "decode_text", counting)
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.yaml").write_text(route(name))
    source = DirectorySource([tmp_path])
    source.load()
    assert decoded == ["a.yaml", "b.yaml", "c.yaml"]
    (tmp_path / "b.yaml").write_text(route("b", port=81))
    source.load()
    (tmp_path / "c.yaml").touch()
    source.load()
    assert decoded == ["a.yaml", "b.yaml", "c.yaml", "b.yaml"]


class Clock:
    """Noon, and a minute later at each look."""

    def __init__(self) -> None:
        self.now = datetime(2024, 5, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


def ages(snapshot: Snapshot) -> dict[str, str]:
    return {obj.meta.name: obj.meta.created.strftime("%H:%M") for obj in snapshot.objects.values() if obj.meta.created}


def test_first_seen_outlives_the_process(tmp_path: Path) -> None:
    manifests, memory, clock = tmp_path / "m", tmp_path / "first-seen.json", Clock()
    manifests.mkdir()
    (manifests / "a.yaml").write_text(route("a"))
    source = DirectorySource([manifests], memory, clock)
    assert ages(source.load()) == {"a": "12:01"}
    (manifests / "b.yaml").write_text(route("b"))
    assert ages(source.load()) == {"a": "12:01", "b": "12:02"}

    source = DirectorySource([manifests], memory, clock)
    assert ages(source.load()) == {"a": "12:01", "b": "12:02"}

    (manifests / "a.yaml").unlink()
    source.load()
    (manifests / "a.yaml").write_text(route("a"))
    assert ages(DirectorySource([manifests], memory, clock).load()) == {"a": "12:05", "b": "12:02"}
    assert {path.name for path in tmp_path.iterdir()} == {"m", "first-seen.json", "last-good.json"}


def test_first_seen_survives_a_restart_while_the_file_is_wrong(tmp_path: Path) -> None:
    manifests, memory, clock = tmp_path / "m", tmp_path / "first-seen.json", Clock()
    manifests.mkdir()
    (manifests / "a.yaml").write_text(route("a"))
    DirectorySource([manifests], memory, clock).load()
    (manifests / "a.yaml").write_text("")
    source = DirectorySource([manifests], memory, clock)
    assert ages(source.load()) == {"a": "12:01"}
    (manifests / "a.yaml").write_text(route("a"))
    assert ages(source.load()) == {"a": "12:01"}


def test_an_age_in_the_manifest_counts(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(route("a, creationTimestamp: 2020-01-01T03:00:00Z"))
    assert ages(DirectorySource([tmp_path], None, Clock()).load()) == {"a": "03:00"}


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"a": 5}', '{"TCPRoute/default/a": "2024-05-01T12:00:00"}', "\xff"]
)
def test_a_spoiled_memory_is_begun_anew(tmp_path: Path, content: str) -> None:
    manifests, memory = tmp_path / "m", tmp_path / "first-seen.json"
    manifests.mkdir()
    (manifests / "a.yaml").write_text(route("a"))
    memory.write_bytes(content.encode("latin-1"))
    assert ages(DirectorySource([manifests], memory, Clock()).load()) == {"a": "12:01"}
    assert ages(DirectorySource([manifests], memory, Clock()).load()) == {"a": "12:01"}


def test_a_memory_that_cannot_be_written_lasts_as_long_as_the_process(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(route("a"))
    source = DirectorySource([tmp_path], tmp_path / "nowhere" / "first-seen.json", Clock())
    assert ages(source.load()) == ages(source.load()) == {"a": "12:01"}


def test_a_file_cut_short_where_it_is_still_yaml_keeps_its_last_good_state(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    whole = route("a").replace("{matches: {ports: [80]}}", "\n  matches:\n    ports:\n    - 8080")
    path.write_text(whole)
    source = DirectorySource([tmp_path])
    source.load()

    path.write_text(whole[: whole.index("8080") + 2])
    snapshot = source.load()
    assert held(snapshot) == {"a": 8080}
    (only,) = told(snapshot, tmp_path)
    assert "cut short" in only

    path.write_text(whole)
    assert told(source.load(), tmp_path) == []


def test_the_last_good_state_outlives_the_process(tmp_path: Path) -> None:
    folder, memory = tmp_path / "manifests", tmp_path / "first-seen.json"
    folder.mkdir()
    path = folder / "m.yaml"
    path.write_text(route("a"))
    DirectorySource([folder], memory).load()
    path.write_text("kind: [")

    snapshot = DirectorySource([folder], memory).load()

    assert held(snapshot) == {"a": 80}
    (only,) = told(snapshot, folder)
    assert only.startswith("m.yaml:2: yaml:")
    path.unlink()
    assert held(DirectorySource([folder], memory).load()) == {}
    path.write_text("kind: [")
    assert held(DirectorySource([folder], memory).load()) == {}
