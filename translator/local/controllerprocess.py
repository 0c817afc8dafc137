"""The controller's process: started, restarted when it dies, listened to.

What it prints on stderr are problems of the manifests: they go to ``up``'s
stderr as well as to its log.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import aiohttp

from translator.local.own import own_variables
from translator.local.probes import Pace, http_check, watch
from translator.local.processes import AT_ONCE, Command, Kept, Process
from translator.local.records import MeshRecord
from translator.local.settings import Settings
from translator.local.state import MeshState

PACE = Pace(period=2.0, failure_threshold=2)
"""Its death is noticed without asking."""


LAST_WORDS = 0.5
"""Seconds to read what a dead controller still had in the pipe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who hears of it: a line for ``up``'s stderr, its pid, and "" or why it cannot serve."""

    say: Callable[[str], None]
    runs: Callable[[int], None]
    serves: Callable[[str], None]


def keep_controller(
    settings: Settings, state: MeshState, mesh: MeshRecord, http: aiohttp.ClientSession, listener: Listener
) -> Kept:
    """The controller, to be run."""

    def start() -> Process:
        return Process.start(
            Command(
                argv=(*settings.controller, "--state", str(state.directory), *options(settings)),
                variables=own_variables(mesh.instance),
                folder=str(state.directory),
                log=state.controller_log,
                own_stderr=True,
            )
        )

    async def beside(process: Process) -> None:
        listener.runs(process.pid)
        check = http_check(http, f"{mesh.url}/healthz", timeout=2.0)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_pass_on(process, state.controller_log, listener.say))
            tasks.create_task(watch(check, PACE, listener.serves))

    def ended(_reason: str, message: str, delay: float) -> None:
        listener.runs(0)
        listener.serves(message)
        listener.say(f"controller: {message}; starts again in {delay:g} s")

    return Kept(start, beside, ended, AT_ONCE)


def options(settings: Settings) -> list[str]:
    """What the controller is told beyond the mesh's folder."""
    told = [part for folder in settings.directories for part in ("--manifests", folder)]
    if settings.ca:
        told += ["--ca", settings.ca]
    told += ["--issuance-lifetime", f"{settings.issuance_lifetime:g}"]
    return told + [part for pair in settings.federated.items() for part in ("--federate", "=".join(pair))]


async def _pass_on(process: Process, log: Path, say: Callable[[str], None]) -> None:
    """Reads stderr to its end; a line is written to the log and said."""
    pipe = process.stderr
    if pipe is None:
        return
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    with contextlib.closing(transport), log.open("ab", buffering=0) as file:
        try:
            await _copy(reader, file, say)
        except asyncio.CancelledError:  # it has ended; its last words are the most interesting
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS):
                    await _copy(reader, file, say)
            raise


async def _copy(reader: asyncio.StreamReader, file: IO[bytes], say: Callable[[str], None]) -> None:
    while line := await _line(reader):
        with contextlib.suppress(OSError):  # a full disk: it is said all the same
            file.write(line)
        say(line.decode(errors="replace").rstrip("\n"))


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ValueError:  # longer than the reader's limit, and dropped
        return b"(a line that is too long was left out)\n"
