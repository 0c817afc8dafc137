"""The files below some folders, and what is in one: the system calls of the folder source, and nothing else."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from smi.yamltree import MAX_TEXT

SUFFIXES = (".yaml", ".yml")

Signature = tuple[int, int, int, int, int]
"""(device, inode, size, mtime, ctime): differs whenever a file was written, replaced or had its rights changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Manifest files in path order; folders that could not be read, and roots that are not there, with the reason."""

    files: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Bytes of a file and the signature they had."""

    data: bytes
    signature: Signature


def list_files(roots: Sequence[str]) -> Listing:
    """Every ``*.yaml`` and ``*.yml`` below ``roots`` (absolute paths of folders or files).

    Names with a leading dot are left out: hidden folders, editors' temporary
    files. Links are followed; a folder reached twice is read once.
    """
    walk = _Walk()
    for root in sorted(set(roots), key=path_order):
        walk.root(root)
    return Listing(
        files=tuple(sorted(walk.files, key=path_order)),
        unreadable=tuple(walk.unreadable),
        missing=tuple(walk.missing),
    )


def path_order(path: str) -> list[str]:
    """Sort key: folder by folder, so that all of ``a/`` comes before ``a-b.yaml``."""
    return path.split("/")


class _Walk:
    def __init__(self) -> None:
        self.files: set[str] = set()
        self.unreadable: list[tuple[str, str]] = []
        self.missing: list[str] = []
        self._visited: set[tuple[int, int]] = set()

    def root(self, path: str) -> None:
        try:
            is_folder = stat.S_ISDIR(os.stat(path).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            self.missing.append(path)
        except OSError as error:
            self.unreadable.append((path, reason(error)))
        else:
            if is_folder:
                self._folders([path])
            else:
                self.files.add(path)

    def _folders(self, waiting: list[str]) -> None:
        while waiting:
            folder = waiting.pop()
            try:
                waiting += self._folder(folder)
            except FileNotFoundError:
                continue  # deleted since it was listed
            except OSError as error:
                self.unreadable.append((folder, reason(error)))

    def _folder(self, folder: str) -> list[str]:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in self._visited:
            return []
        below: list[str] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if _is_folder(entry):
                    below.append(entry.path)
                elif entry.name.endswith(SUFFIXES):
                    self.files.add(entry.path)
        self._visited.add((status.st_dev, status.st_ino))
        return sorted(below, reverse=True)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link in a circle: reading it as a file reports it


def signature_of(path: str) -> Signature:
    """The signature of a file now.

    Raises:
        OSError: it is not there or cannot be looked at.
    """
    return _signature(os.stat(path))


def read_file(path: str) -> Content:
    """At most one byte more than a manifest may have, so that the caller can tell.

    Raises:
        OSError: it cannot be read, or is no regular file (a pipe would block us).
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(None, "is not a regular file")
        return Content(data=stream.read(MAX_TEXT + 1), signature=_signature(status))


def _signature(status: os.stat_result) -> Signature:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def reason(error: OSError) -> str:
    """What the system says, without path and number."""
    return error.strerror or str(error)
