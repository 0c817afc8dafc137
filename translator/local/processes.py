"""Processes that are kept running: apps, sidecars, the controller.

Each is the head of a process group of its own, writes to a log file, and dies
with the supervisor (``translator.local.launch``). ``Kept`` restarts it when it
ends; what it is and what it needs is the caller's.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from translator.local import launch
from translator.local.environment import NotStartable

NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)
"""What passes when somebody makes room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run. ``log`` gets what it prints, appended; with ``own_stderr`` that goes to the caller instead."""

    argv: tuple[str, ...]
    variables: Mapping[str, str]
    folder: str
    log: Path
    own_stderr: bool = False


class Process:
    """One run of a command. Must be started in the main thread: Linux ties the death signal to the thread."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._pidfd = os.pidfd_open(popen.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._reap)

    @classmethod
    def start(cls, command: Command) -> Process:
        """Starts it; ``NotStartable`` when its working directory is gone, or a NUL is in what it is started with."""
        argv = (sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), *command.argv)
        try:
            with command.log.open("ab") as log:
                popen = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.PIPE if command.own_stderr else log,
                    cwd=command.folder,
                    env=dict(command.variables),
                    start_new_session=True,
                )
        except OSError as error:
            raise NotStartable("CannotStart", f"{error.filename or argv[0]}: {error.strerror}") from error
        except ValueError as error:
            raise NotStartable("CannotStart", f"command and env: {error}") from error
        return cls(popen)

    @property
    def pid(self) -> int:
        """Of the command itself: the launcher execs it."""
        return self._popen.pid

    @property
    def stderr(self) -> IO[bytes] | None:
        """The reading end of its stderr, where the caller asked for it and then has to close it."""
        return self._popen.stderr

    async def wait(self) -> int:
        """Its return code, negative for a signal, when it has ended."""
        return await asyncio.shield(self._ended)

    async def end(self, grace: float) -> None:
        """SIGTERM to the group; SIGKILL to what is left of it after ``grace`` seconds. Returns when it has ended."""
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.wait(), grace)
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self.wait()

    def _signal(self, number: signal.Signals) -> None:
        # Until it is reaped the group's number cannot belong to anybody else.
        if not self._ended.done():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, number)

    def _reap(self) -> None:
        self._signal(signal.SIGKILL)  # children that it left behind would hold its ports
        code = self._popen.wait()
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._ended.set_result(code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait before a restart, in seconds: ``first``, then 0.1 doubling to ``highest``.

    A run of ``reset`` seconds counts as a good one: the next wait is ``first`` again.
    """

    first: float = 0.1
    highest: float = 2.0
    reset: float = 10.0

    def delay(self, previous: float | None, lifetime: float) -> float:
        """The wait after a run of ``lifetime`` seconds, when the wait before that was ``previous``."""
        if previous is None or lifetime >= self.reset:
            return self.first
        return min(self.highest, max(0.1, previous * 2))


APP_BACKOFF = Backoff()
AT_ONCE = Backoff(first=0.0)
"""For sidecars and the controller: they hold no state that a crash could have come from, and much waits for them."""


class Kept:
    """Keeps one command running until ``end`` is called.

    ``start`` starts it or raises ``NotStartable``. ``beside`` runs while the
    process lives (probing) and is cancelled when it ends. ``ended`` is told
    why it is not running, and how long until the next start.
    """

    def __init__(
        self,
        start: Callable[[], Process],
        beside: Callable[[Process], Awaitable[None]],
        ended: Callable[[str, str, float], None],
        backoff: Backoff,
    ) -> None:
        self._start = start
        self._beside = beside
        self._ended = ended
        self._backoff = backoff
        self._ending = asyncio.Event()
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        """Of the running process, 0 when there is none."""
        return self._process.pid if self._process else 0

    async def run(self) -> None:
        """Starts, waits, starts again; returns when it was told to end and the process is gone."""
        delay: float | None = None
        while not self._ending.is_set():
            since = time.monotonic()
            try:
                self._process = self._start()
                code = await self._life(self._process)
            except NotStartable as problem:
                reason, message = problem.reason, str(problem)
            except OSError as error:
                if error.errno not in NO_SPACE:
                    raise
                reason, message = "CannotStart", f"{error.filename or 'its files'}: {error.strerror}"
            else:
                reason, message = "Exited", describe(code)
            self._process = None
            if self._ending.is_set():
                return
            delay = self._backoff.delay(delay, time.monotonic() - since)
            self._ended(reason, message, delay)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), delay)

    async def end(self, grace: float) -> None:
        """Ends the process (SIGTERM, SIGKILL after ``grace`` seconds) and starts it no more."""
        self._ending.set()
        if self._process:
            await self._process.end(grace)

    async def restart(self, grace: float) -> None:
        """Ends the process; ``run`` starts it anew."""
        if self._process:
            await self._process.end(grace)

    async def _life(self, process: Process) -> int:
        async with asyncio.TaskGroup() as tasks:
            beside = tasks.create_task(_awaited(self._beside(process)))
            try:
                return await process.wait()
            finally:
                beside.cancel()


async def _awaited(work: Awaitable[None]) -> None:
    await work


def describe(code: int) -> str:
    """A return code in words."""
    if code >= 0:
        return f"exited with {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
