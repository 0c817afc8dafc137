"""Folders of manifests as a source: read once, then again whatever changed.

Local mode's source; the rules (what counts while a file is wrong, which of two
files wins) are in ``smi.sources.snapshot``, the system calls in
``smi.sources.scan``. This module remembers each file between two looks and
waits for the next change.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from watchfiles import Change, awatch
from watchfiles.main import FileChange

from smi.decode import Problem, decode_text
from smi.log import sources as log
from smi.sources import firstseen, lastgood
from smi.sources.scan import Listing, Signature, list_files, path_order, read_file, reason, signature_of
from smi.sources.snapshot import FileState, Snapshot, advance, any_hidden, merge, stamp
from smi.yamltree import MAX_TEXT

STEP_MS = 5
"""Silence that ends a burst of changes. The default (50) eats half of the 100 ms a saved change may take."""

DEBOUNCE_MS = 30
"""The longest a burst is gathered; the default (1600) breaks the 100 ms."""

SETTLED_NS = 2_000_000_000
"""Age from which a file's times prove that it is unchanged: file systems keep them to 2 s (FAT) or a clock tick."""

MISSING_POLL_S = 0.2
"""How often to look for a folder that is not there, or is a link: neither tells when it changes."""

QUIET_POLL_S = 2.0
"""How often to look although nothing was heard. Events do get lost: the watcher hears of a new folder before it
watches it, of a folder above being renamed never. Only times and sizes are read, 0.1 ms a file."""

RETRY_S = 1.0
"""Pause after the watcher failed (no inotify watches left, say); the folders are then looked at once a pause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A file as it was at the last look. ``signature`` is None when it must be read again in any case."""

    state: FileState
    signature: Signature | None
    digest: bytes
    good: bytes = b""
    """The bytes of its last good state."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class DirectorySource:
    """Manifests of all files below ``directories`` (folders, or single files).

    ``first_seen_file`` keeps when objects were first seen, ``last-good.json``
    beside it what files said when they were last good; None forgets both with
    the process. ``now`` gives the time (UTC).
    """

    def __init__(
        self,
        directories: Sequence[str | os.PathLike[str]],
        first_seen_file: Path | None = None,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._roots = tuple(os.path.abspath(directory) for directory in directories)
        self._first_seen_file = first_seen_file
        self._now = now
        self._seen: Mapping[str, datetime] | None = None
        self._files: dict[str, _Known] = {}
        self._last: Snapshot | None = None
        self._good_file = first_seen_file.with_name("last-good.json") if first_seen_file is not None else None
        self._good: dict[str, bytes] = lastgood.load(self._good_file) if self._good_file is not None else {}
        self._turn = threading.Lock()

    def load(self) -> Snapshot:
        """The state now. Reads what changed since the last look; never raises for what is in the folders."""
        with self._turn:
            self._last = self._look()
            return self._last

    async def watch(self) -> AsyncGenerator[Snapshot, None]:
        """Each new state, also one that came about between ``load`` and now. Ends only when cancelled or closed."""
        told = ""
        while True:
            try:
                async with aclosing(self._watch_once()) as snapshots:
                    async for snapshot in snapshots:
                        yield snapshot
            except Exception as error:
                if repr(error) != told:
                    log.exception("watching the manifests failed, looking once a second until it works")
                    told = repr(error)
                await asyncio.sleep(RETRY_S)

    def _changed(self) -> Snapshot | None:
        """The state now, None if it is what it was."""
        with self._turn:
            last, self._last = self._last, self._look()
            return None if self._last == last else self._last

    async def _watch_once(self) -> AsyncGenerator[Snapshot, None]:
        """Watch what is there now, until that itself was replaced (a folder deleted and made anew), or goes unheard."""
        watched = await asyncio.to_thread(self._identities)
        unsure = None in watched.values() or any(map(os.path.islink, self._roots))
        batches = _bursts([path for path, identity in watched.items() if identity is not None])
        following, heard = asyncio.ensure_future(anext(batches)), True
        try:
            await asyncio.sleep(0)  # the watcher is set up in the first step of that task
            while True:
                snapshot = await asyncio.to_thread(self._changed)
                if snapshot is not None:
                    yield snapshot
                if await asyncio.to_thread(self._identities) != watched or (snapshot is not None and not heard):
                    return
                await asyncio.wait([following], timeout=MISSING_POLL_S if unsure else QUIET_POLL_S)
                heard = following.done()
                if heard:
                    if any(change is Change.deleted and path in watched for change, path in following.result()):
                        return  # what comes in its place may have the same inode, and is not watched
                    following = asyncio.ensure_future(anext(batches))
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await batches.aclose()

    def _identities(self) -> dict[str, tuple[int, int] | None]:
        """What has to be watched: the roots, and files outside of them that links point to."""
        real_roots = tuple(os.path.realpath(root) for root in self._roots)
        targets = {os.path.realpath(path) for path in list(self._files)}
        outside = {path for path in targets if not any(_is_below(path, root) for root in real_roots)}
        found: dict[str, tuple[int, int] | None] = dict.fromkeys([*self._roots, *sorted(outside)])
        for path in found:
            try:
                status = os.stat(path)
                found[path] = (status.st_dev, status.st_ino)
            except OSError:
                continue
        return found

    def _look(self) -> Snapshot:
        listing = list_files(self._roots)
        self._files = self._look_at(listing)
        self._remember({path: known.good for path, known in self._files.items() if known.good})
        states = [self._files[path].state for path in sorted(self._files, key=path_order)]
        snapshot = merge(states, _listing_problems(listing))
        return self._stamped(snapshot, forget=not listing.unreadable and not any_hidden(states))

    def _look_at(self, listing: Listing) -> dict[str, _Known]:
        files: dict[str, _Known] = {}
        inodes: set[tuple[int, int]] = set()
        for path in listing.files:
            known = self._look_at_file(path)
            if known is None:
                continue
            if known.signature is not None:
                inode = known.signature[:2]
                if inode in inodes:
                    continue  # the same file by another name
                inodes.add(inode)
            files[path] = known
        for folder, _ in listing.unreadable:
            files |= {path: known for path, known in self._files.items() if _is_below(path, folder)}
        return files

    def _look_at_file(self, path: str) -> _Known | None:
        """The file now; None when it is gone."""
        known = self._files.get(path) or self._remembered(path)
        try:
            if known.signature is not None and known.signature == signature_of(path) and _is_settled(known.signature):
                return known
            content = read_file(path)
        except OSError as error:
            if isinstance(error, FileNotFoundError | NotADirectoryError) and not os.path.lexists(path):
                return None
            problem = Problem(file=path, line=1, field="file", message=f"cannot be read: {reason(error)}")
            return _Known(state=replace(known.state, problems=(problem,)), signature=None, digest=b"", good=known.good)
        digest = hashlib.blake2b(content.data).digest()
        state = known.state if digest == known.digest else _decoded(known.state, content.data, known.good)
        good = known.good if state.problems else content.data
        return _Known(state=state, signature=content.signature, digest=digest, good=good)

    def _remembered(self, path: str) -> _Known:
        """A file never looked at: with the last good state that another process before us knew, if any."""
        state, good = FileState(file=path), self._good.get(path, b"")
        if good:
            state = _decoded(state, good, b"")
        return _Known(state=state, signature=None, digest=b"", good=b"" if state.problems else good)

    def _remember(self, good: dict[str, bytes]) -> None:
        if good != self._good and self._good_file is not None:
            lastgood.save(self._good_file, good)
        self._good = good

    def _stamped(self, snapshot: Snapshot, forget: bool) -> Snapshot:
        if self._seen is None:
            self._seen = firstseen.load(self._first_seen_file) if self._first_seen_file is not None else {}
        stamped, seen = stamp(snapshot, self._seen, self._now(), forget)
        if seen != self._seen and self._first_seen_file is not None:
            firstseen.save(self._first_seen_file, seen)
        self._seen = seen
        return stamped


async def _bursts(paths: Sequence[str]) -> AsyncGenerator[set[FileChange], None]:
    """One item for each burst of changes below ``paths``; without any, nothing ever."""
    if not paths:
        await asyncio.Event().wait()
    async for changes in awatch(
        *paths,
        watch_filter=None,  # links and their targets have any name; what did not change is not read
        step=STEP_MS,
        debounce=DEBOUNCE_MS,
        ignore_permission_denied=True,
    ):
        yield changes


def is_cut_short(data: bytes, good: bytes) -> bool:
    """Whether ``data`` is what ``good`` was up to the middle of a line: cut short in writing, though it may be YAML."""
    return len(data) < len(good) and good.startswith(data) and not data.endswith(b"\n")


def _decoded(last: FileState, data: bytes, good: bytes) -> FileState:
    """The state of a file whose bytes are new; ``good`` are those of its last good state."""
    try:
        if len(data) > MAX_TEXT:
            problem = Problem(file=last.file, line=1, field="file", message=f"is larger than {MAX_TEXT} bytes")
            return replace(last, problems=(problem,))
        state = advance(last, decode_text(data.decode("utf-8-sig"), last.file))
        if state.problems or not is_cut_short(data, good):
            return state
        line = data.count(b"\n") + 1
        problem = Problem(file=last.file, line=line, field="file", message="ends in the middle of a line: cut short?")
        return replace(last, problems=(problem,))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problem = Problem(file=last.file, line=line, field="file", message=f"is not UTF-8: {error.reason}")
        return replace(last, problems=(problem,))


def _listing_problems(listing: Listing) -> list[Problem]:
    missing = [(path, "no such file or folder") for path in listing.missing]
    unreadable = [(path, f"cannot be read: {why}") for path, why in listing.unreadable]
    return [Problem(file=path, line=1, field="file", message=message) for path, message in missing + unreadable]


def _is_settled(signature: Signature) -> bool:
    *_, modified, changed = signature
    return time.time_ns() - max(modified, changed) > SETTLED_NS


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
