"""Writes the files of one pod: what its sidecar and its containers read."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec

from proxy.contract.config import File
from translator.identity.subject import SidecarIdentity
from translator.identity.tokens import mint
from translator.local.environment import NotStartable
from translator.local.records import PodRecord
from translator.local.state import PodState, write_atomically, write_changed


def make_folder(folder: PodState) -> None:
    """An empty folder, for this user only."""
    shutil.rmtree(folder.directory, ignore_errors=True)
    folder.directory.mkdir(mode=0o700, parents=True)


def remove_folder(folder: PodState) -> None:
    """Takes the pod's folder away."""
    shutil.rmtree(folder.directory, ignore_errors=True)


def write_sidecar(folder: PodState, file: File) -> None:
    """``sidecar.json``."""
    write_changed(folder.sidecar, msgspec.json.format(msgspec.json.encode(file), indent=1))


def write_token(folder: PodState, record: PodRecord, key: bytes) -> None:
    """The token that says which pod the sidecar belongs to; ``ValueError`` when its names are none of Kubernetes'."""
    identity = SidecarIdentity(
        namespace=record.pod.meta.namespace, service_account=record.pod.service_account, pod=record.pod.meta.name
    )
    write_atomically(folder.token, mint(key, identity).encode())


def write_environment(folder: PodState, container: str, variables: Mapping[str, str]) -> None:
    """The name and the variables of the pod's first container, for ``smi local exec`` and ``logs``."""
    write_changed(folder.environment, msgspec.json.encode({"container": container, "variables": dict(variables)}))


def write_mounts(folder: PodState, container: str, files: Mapping[str, str]) -> None:
    """Makes one container's mounted files be exactly these; each is replaced in one step.

    Raises ``NotStartable`` where that cannot be: one is below another, or its path is none.
    """
    try:
        _write_mounts(folder, container, files)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise NotStartable("CreateContainerConfigError", f"volumeMounts cannot be written: {why}") from error


def _write_mounts(folder: PodState, container: str, files: Mapping[str, str]) -> None:
    wanted = {folder.files / path: text.encode() for path, text in files.items()}
    for path in _files(folder.files / container):
        if path not in wanted:
            path.unlink()
    for path, content in wanted.items():
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(path, content)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []
