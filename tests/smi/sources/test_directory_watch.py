"""The folder source as it watches: every change arrives, whatever happens to files and folders."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import watchfiles
from eventually import eventually

from smi.sources import directory as directory_module
from smi.sources.directory import DirectorySource
from smi.sources.snapshot import Snapshot
from smi.specs import TCPRoute


def route(name: str, port: int = 80) -> str:
    spec = f"spec: {{matches: {{ports: [{port}]}}}}"
    return f"apiVersion: specs.smi-spec.io/v1alpha4\nkind: TCPRoute\nmetadata: {{name: {name}}}\n{spec}\n"


class Watched:
    """The last state that a watcher told, and how many it told."""

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []

    def holds(self) -> dict[str, int]:
        last = self.snapshots[-1].objects.values() if self.snapshots else ()
        return {obj.meta.name: obj.ports[0] for obj in last if isinstance(obj, TCPRoute)}

    def problems(self) -> list[str]:
        return [problem.message for problem in self.snapshots[-1].problems] if self.snapshots else []

    async def becomes(self, **routes: int) -> None:
        await eventually(lambda: self.holds() == routes)


@asynccontextmanager
async def watching(source: DirectorySource) -> AsyncIterator[Watched]:
    watched = Watched()

    async def follow() -> None:
        async for snapshot in source.watch():
            watched.snapshots.append(snapshot)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(follow(), name="follow")
        yield watched
        task.cancel()


def play(roots: list[Path], script: Callable[[Watched], Awaitable[None]]) -> None:
    async def main() -> None:
        source = DirectorySource(roots)
        async with asyncio.timeout(60), watching(source) as watched:
            await script(watched)

    asyncio.run(main())


def test_written_changed_spoiled_mended_removed(tmp_path: Path) -> None:
    async def script(watched: Watched) -> None:
        await eventually(lambda: watched.snapshots)
        (tmp_path / "a.yaml").write_text(route("a", 1))
        await watched.becomes(a=1)
        (tmp_path / "a.yaml").write_text(route("a", 2))
        await watched.becomes(a=2)
        (tmp_path / "a.yaml").write_text("")
        await eventually(lambda: watched.problems() == ["is empty: there is no object in it"])
        assert watched.holds() == {"a": 2}
        (tmp_path / ".a.yaml.new").write_text(route("a", 3))
        (tmp_path / ".a.yaml.new").replace(tmp_path / "a.yaml")
        await watched.becomes(a=3)
        assert watched.problems() == []
        (tmp_path / "a.yaml").unlink()
        await watched.becomes()

    play([tmp_path], script)


def test_a_change_between_load_and_watch_is_not_lost(tmp_path: Path) -> None:
    async def main() -> None:
        source = DirectorySource([tmp_path])
        source.load()
        (tmp_path / "a.yaml").write_text(route("a"))
        async with asyncio.timeout(60), watching(source) as watched:
            await watched.becomes(a=80)

    asyncio.run(main())


def test_nothing_is_told_when_nothing_changed(tmp_path: Path) -> None:
    looks: list[datetime] = []

    def now() -> datetime:
        looks.append(datetime(2024, 5, 1, 12, tzinfo=UTC))
        return looks[-1]

    async def main() -> None:
        (tmp_path / "a.yaml").write_text(route("a"))
        source = DirectorySource([tmp_path], None, now)
        async with asyncio.timeout(60), watching(source) as watched:
            await watched.becomes(a=80)
            for turn, noise in enumerate(("notes.txt", ".a.yaml.swp", "a.yaml"), start=len(looks)):
                (tmp_path / noise).touch()
                await eventually(partial(lambda seen: len(looks) > seen, turn))
            (tmp_path / "b.yaml").write_text(route("b"))
            await watched.becomes(a=80, b=80)
            assert len(watched.snapshots) == 2

    asyncio.run(main())


def test_folders_come_go_and_come_again(tmp_path: Path) -> None:
    root = tmp_path / "m"

    async def script(watched: Watched) -> None:
        await eventually(lambda: watched.problems() == ["no such file or folder"])
        (root / "sub" / "deep").mkdir(parents=True)
        (root / "sub" / "deep" / "a.yaml").write_text(route("a", 1))
        await watched.becomes(a=1)
        for port in (2, 3):
            shutil.rmtree(root)
            await watched.becomes()
            root.mkdir()
            (root / "a.yaml").write_text(route("a", port))
            await watched.becomes(a=port)
        shutil.rmtree(root)
        root.mkdir()
        (root / "a.yaml").write_text(route("a", 4))
        await watched.becomes(a=4)
        (root / "a.yaml").write_text(route("a", 5))
        await watched.becomes(a=5)

        root.rename(tmp_path / "aside")
        await watched.becomes()
        (tmp_path / "aside").rename(root)
        await watched.becomes(a=5)
        (root / "a.yaml").write_text(route("a", 6))
        await watched.becomes(a=6)

    play([root], script)


def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(route("a", 1))

    async def script(watched: Watched) -> None:
        await watched.becomes(a=1)
        for port in (2, 3):
            (tmp_path / "new").write_text(route("a", port))
            (tmp_path / "new").replace(path)
            await watched.becomes(a=port)
        path.unlink()
        await watched.becomes()
        path.write_text(route("a", 4))
        await watched.becomes(a=4)

    play([path], script)


def test_what_links_point_to(tmp_path: Path) -> None:
    root, outside = tmp_path / "m", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "a.yaml").write_text(route("a", 1))
    (root / "a.yaml").symlink_to(outside / "a.yaml")

    async def script(watched: Watched) -> None:
        await watched.becomes(a=1)
        (outside / "a.yaml").write_text(route("a", 2))
        await watched.becomes(a=2)
        for port in (3, 4):
            (outside / "new").write_text(route("a", port))
            (outside / "new").replace(outside / "a.yaml")
            await watched.becomes(a=port)
        (root / "all").symlink_to(outside)
        (outside / "b.yaml").write_text(route("b", 5))
        await watched.becomes(a=4, b=5)
        (outside / "b.yaml").write_text(route("b", 6))
        await watched.becomes(a=4, b=6)

    play([root], script)


def test_a_root_that_is_a_link_to_the_current_release(tmp_path: Path) -> None:
    for release in (1, 2):
        (tmp_path / f"r{release}").mkdir()
        (tmp_path / f"r{release}" / "a.yaml").write_text(route("a", release))
    root = tmp_path / "current"
    root.symlink_to("r1")

    async def script(watched: Watched) -> None:
        await watched.becomes(a=1)
        (tmp_path / "next").symlink_to("r2")
        (tmp_path / "next").replace(root)
        await watched.becomes(a=2)

    play([root], script)


def test_many_changes_at_once(tmp_path: Path) -> None:
    async def script(watched: Watched) -> None:
        for turn in range(1, 4):
            for index in range(30):
                folder = tmp_path / f"d{index % 5}"
                folder.mkdir(exist_ok=True)
                (folder / f"r{index}.yaml").write_text(route(f"r{index}", turn))
            await watched.becomes(**{f"r{index}": turn for index in range(30)})

    play([tmp_path], script)


def test_it_does_not_die_of_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, failures = watchfiles.awatch, iter([OSError("no space left on device")] * 2)

    def failing(*paths: str, **options: object) -> object:
        if (error := next(failures, None)) is not None:
            raise error
        return real(*paths, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(directory_module, "awatch", failing)
    monkeypatch.setattr(directory_module, "RETRY_S", 0.01)

    async def script(watched: Watched) -> None:
        await eventually(lambda: next(failures, None) is None)
        (tmp_path / "a.yaml").write_text(route("a"))
        await watched.becomes(a=80)

    play([tmp_path], script)


def test_a_watcher_that_hears_nothing_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    async def deaf(*paths: str, **_options: object) -> AsyncIterator[set[watchfiles.main.FileChange]]:
        begun.extend(paths)
        await asyncio.Event().wait()
        yield set()

    monkeypatch.setattr(directory_module, "awatch", deaf)
    monkeypatch.setattr(directory_module, "QUIET_POLL_S", 0.01)

    async def script(watched: Watched) -> None:
        await eventually(lambda: watched.snapshots)
        (tmp_path / "a.yaml").write_text(route("a", 1))
        await watched.becomes(a=1)
        await eventually(lambda: len(begun) > 1)
        (tmp_path / "a.yaml").write_text(route("a", 2))
        await watched.becomes(a=2)

    play([tmp_path], script)


def test_a_folder_above_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "above" / "m"
    root.mkdir(parents=True)
    (root / "a.yaml").write_text(route("a"))
    monkeypatch.setattr(directory_module, "QUIET_POLL_S", 0.01)

    async def script(watched: Watched) -> None:
        await watched.becomes(a=80)
        (tmp_path / "above").rename(tmp_path / "aside")
        await watched.becomes()
        (tmp_path / "aside").rename(tmp_path / "above")
        await watched.becomes(a=80)

    play([root], script)


Heard = set[watchfiles.main.FileChange]


@pytest.mark.parametrize("same_inode", [True, False])
def test_a_folder_in_the_place_of_another_is_watched_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same_inode: bool
) -> None:
    begun: list[tuple[str, ...]] = []
    root, heard = tmp_path / "m", asyncio.Event()
    root.mkdir()

    async def once(*paths: str, **_options: object) -> AsyncIterator[Heard]:
        """Tells of one change: the folder itself, where that shows in nothing else, or something in it."""
        begun.append(paths)
        await heard.wait()
        heard.clear()
        yield {(watchfiles.Change.deleted, str(root if same_inode else root / "x"))}
        await asyncio.Event().wait()

    monkeypatch.setattr(directory_module, "awatch", once)
    monkeypatch.setattr(directory_module, "QUIET_POLL_S", 3600.0)

    async def script(watched: Watched) -> None:
        await eventually(lambda: watched.snapshots and begun)
        if not same_inode:
            root.rename(tmp_path / "aside")
            root.mkdir()
        heard.set()
        await eventually(lambda: len(begun) > 1)

    play([root], script)


def watchers() -> int:
    """How many inotify instances this process holds."""
    count = 0
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # closed since it was listed
            count += os.readlink(f"/proc/self/fd/{number}") == "anon_inode:inotify"
    return count


def test_closing_leaves_nothing_behind(tmp_path: Path) -> None:
    async def main() -> None:
        await eventually(lambda: watchers() == 0)  # those of other tests close in threads of theirs
        watcher = DirectorySource([tmp_path]).watch()
        await anext(watcher)
        assert watchers() == 1
        await watcher.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await eventually(lambda: watchers() == 0)

    asyncio.run(main())
