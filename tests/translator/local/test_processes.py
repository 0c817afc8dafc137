from __future__ import annotations

import asyncio
import errno
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from eventually import eventually
from localmesh import is_alive

from translator.local.environment import INSTANCE, NotStartable
from translator.local.leftovers import find_marked, kill_marked
from translator.local.processes import APP_BACKOFF, AT_ONCE, Backoff, Command, Kept, Process, describe


def command(folder: Path, *argv: str, **variables: str) -> Command:
    return Command(argv=argv, variables={**os.environ, **variables}, folder=str(folder), log=folder / "log")


def test_a_crashing_app_waits_longer_and_longer() -> None:
    delays: list[float] = []
    for _ in range(7):
        delays.append(APP_BACKOFF.delay(delays[-1] if delays else None, lifetime=0.2))
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert APP_BACKOFF.delay(2.0, lifetime=10.0) == 0.1
    assert APP_BACKOFF.delay(2.0, lifetime=9.9) == 2.0


def test_a_sidecar_is_restarted_at_once_but_not_in_a_loop() -> None:
    first = AT_ONCE.delay(None, lifetime=0.2)
    assert first == 0.0
    assert AT_ONCE.delay(first, lifetime=0.2) == 0.1


@pytest.mark.parametrize(
    ("code", "words"), [(0, "exited with 0"), (-9, "killed by SIGKILL"), (-40, "killed by signal 40")]
)
def test_return_codes_in_words(code: int, words: str) -> None:
    assert describe(code) == words


def test_a_command_runs_under_its_own_pid_and_prints_to_its_log(tmp_path: Path) -> None:
    async def main() -> None:
        process = Process.start(command(tmp_path, "sh", "-c", "echo $$ $X; exit 7", X="y"))
        assert await process.wait() == 7
        assert (tmp_path / "log").read_text() == f"{process.pid} y\n"

    asyncio.run(main())


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    async def main() -> None:
        process = Process.start(command(tmp_path, "no-such-command"))
        assert await process.wait() == 127
        assert (tmp_path / "log").read_text() == "no-such-command: command not found\n"
        with pytest.raises(NotStartable, match="gone: No such file or directory"):
            Process.start(Command(argv=("true",), variables={}, folder=str(tmp_path / "gone"), log=tmp_path / "log"))
        for hopeless in (command(tmp_path, "echo", "a\0b"), command(tmp_path, "true", X="a\0b")):
            with pytest.raises(NotStartable, match="null byte"):
                Process.start(hopeless)

    asyncio.run(main())


def test_ending_takes_the_whole_group_and_kills_what_does_not_listen(tmp_path: Path) -> None:
    deaf = "trap '' TERM; sleep 987 & echo $!; wait; wait"

    async def main() -> None:
        process = Process.start(command(tmp_path, "sh", "-c", deaf))
        await eventually(lambda: (tmp_path / "log").read_text().endswith("\n"))
        child = int((tmp_path / "log").read_text())
        await process.end(grace=0.2)
        await eventually(lambda: not is_alive(child))
        assert await process.wait() == -9

    asyncio.run(main())


def test_children_that_a_dead_app_left_behind_are_killed(tmp_path: Path) -> None:
    async def main() -> None:
        process = Process.start(command(tmp_path, "sh", "-c", "sleep 986 & echo $!"))
        assert await process.wait() == 0
        child = int((tmp_path / "log").read_text())
        await eventually(lambda: not is_alive(child))

    asyncio.run(main())


class Diary:
    """Notes what a kept process goes through."""

    def __init__(self, folder: Path, *argv: str) -> None:
        self.lines: list[str] = []
        self.pids: list[int] = []
        self._command = command(folder, *argv)

    def kept(self) -> Kept:
        return Kept(self.start, self.beside, self.ended, Backoff(first=0.01))

    def start(self) -> Process:
        process = Process.start(self._command)
        self.pids.append(process.pid)
        return process

    async def beside(self, _process: Process) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.lines.append("beside cancelled")

    def ended(self, reason: str, message: str, delay: float) -> None:
        self.lines.append(f"{reason}: {message}: {delay:g}")


async def with_kept(diary: Diary, play: Callable[[Kept], Awaitable[None]]) -> None:
    kept = diary.kept()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(kept.run())
        await play(kept)
        await kept.end(grace=1.0)
    assert kept.pid == 0


def test_what_ends_is_started_again_until_it_is_told_to_end(tmp_path: Path) -> None:
    diary = Diary(tmp_path, "sh", "-c", "exit 5")

    async def play(_kept: Kept) -> None:
        await eventually(lambda: len(diary.pids) > 2)

    asyncio.run(with_kept(diary, play))
    assert diary.lines[:3] == ["beside cancelled", "Exited: exited with 5: 0.01", "beside cancelled"]


def test_a_full_disk_is_waited_for(tmp_path: Path) -> None:
    diary = Diary(tmp_path, "sleep", "985")
    full = [OSError(errno.ENOSPC, "No space left on device", "x")]

    def start() -> Process:
        if full:
            raise full.pop()
        return diary.start()

    async def run() -> None:
        kept = Kept(start, diary.beside, diary.ended, Backoff(first=0.01))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(kept.run())
            await eventually(lambda: kept.pid)
            await kept.end(grace=1.0)

    asyncio.run(run())
    assert diary.lines[0] == "CannotStart: x: No space left on device: 0.01"


def test_restart_gives_a_new_process(tmp_path: Path) -> None:
    diary = Diary(tmp_path, "sleep", "985")

    async def play(kept: Kept) -> None:
        await eventually(lambda: kept.pid)
        await kept.restart(grace=1.0)
        await eventually(lambda: kept.pid not in (0, diary.pids[0]))

    asyncio.run(with_kept(diary, play))
    assert len(diary.pids) == 2
    assert not any(is_alive(pid) for pid in diary.pids)


def test_what_cannot_start_is_tried_again(tmp_path: Path) -> None:
    diary = Diary(tmp_path / "later", "sleep", "984")

    async def play(kept: Kept) -> None:
        await eventually(lambda: diary.lines)
        assert diary.lines[0].startswith("CannotStart: ")
        (tmp_path / "later").mkdir()
        await eventually(lambda: kept.pid)

    asyncio.run(with_kept(diary, play))


def test_marked_processes_are_found_wherever_they_went(tmp_path: Path) -> None:
    mark = f"test-{os.getpid()}"
    daemon = "import subprocess; print(subprocess.Popen(['sleep', '983'], start_new_session=True).pid)"

    async def main() -> None:
        process = Process.start(command(tmp_path, sys.executable, "-c", daemon, **{INSTANCE: mark}))
        await process.wait()
        pid = int((tmp_path / "log").read_text())
        assert find_marked(mark) == (pid,)
        assert kill_marked(mark) == 1
        assert not is_alive(pid)

    asyncio.run(main())
