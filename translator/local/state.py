"""The state directory of a mesh: where everything lies, atomic writes, and the lock of its supervisor.

``<root>/<name>/`` with root ``$SMI_MESH_HOME``, or ``smi-mesh-<uid>`` in
``$XDG_RUNTIME_DIR`` or /tmp. Read by every ``smi local`` command, so it imports little.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from translator.local.errors import LocalError, NoSuchMesh


def root() -> Path:
    """The folder of all meshes of this user."""
    home = os.environ.get("SMI_MESH_HOME")
    if home:
        return Path(home).absolute()  # the mesh's processes have other working directories
    return Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp") / f"smi-mesh-{os.getuid()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshState:
    """Paths of one mesh."""

    directory: Path

    @property
    def lock(self) -> Path:
        """Held by the supervisor while it lives. Outside the directory, which comes and goes."""
        return self.directory.with_name(self.directory.name + ".lock")

    @property
    def mesh(self) -> Path:
        """``MeshRecord``."""
        return self.directory / "mesh.json"

    @property
    def pods(self) -> Path:
        """``PodsFile``."""
        return self.directory / "pods.json"

    @property
    def socket(self) -> Path:
        """The supervisor's control socket."""
        return self.directory / "control.sock"

    @property
    def authority(self) -> Path:
        """The files of the certificate authority that the mesh made for itself."""
        return self.directory / "ca"

    @property
    def bundle(self) -> Path:
        """The trusted roots, for sidecars to begin with."""
        return self.directory / "bundle.pem"

    @property
    def controller_log(self) -> Path:
        """What the controller printed."""
        return self.directory / "controller.log"

    @property
    def supervisor_log(self) -> Path:
        """What a detached supervisor printed after it was ready."""
        return self.directory / "supervisor.log"

    def pod(self, namespace: str, name: str) -> PodState:
        """Paths of one pod."""
        return PodState(directory=self.directory / "pods" / f"{namespace}.{name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PodState:
    """Paths of one pod."""

    directory: Path

    @property
    def sidecar(self) -> Path:
        """``proxy.contract.config.File`` as JSON."""
        return self.directory / "sidecar.json"

    @property
    def token(self) -> Path:
        """Proves the pod to the controller."""
        return self.directory / "token"

    @property
    def environment(self) -> Path:
        """The first container's variables, for ``exec``."""
        return self.directory / "environment.json"

    @property
    def files(self) -> Path:
        """ConfigMaps as files, by container and mountPath."""
        return self.directory / "files"

    @property
    def proxy_log(self) -> Path:
        """What the sidecar printed."""
        return self.directory / "proxy.log"

    def app_log(self, container: str = "") -> Path:
        """What a container printed; the first one has the empty name."""
        return self.directory / (f"app-{container}.log" if container else "app.log")


def mesh_state(name: str) -> MeshState:
    """Where the mesh of this name is, or would be."""
    return MeshState(directory=root() / name)


def running_state(name: str) -> MeshState:
    """As ``mesh_state``; ``NoSuchMesh`` when nobody runs it."""
    state = mesh_state(name)
    if not state.mesh.exists() or not is_locked(state.lock):
        raise NoSuchMesh(name)
    return state


def read_state(state: MeshState, file: Path) -> bytes:
    """One of the mesh's files; ``NoSuchMesh`` if it has just gone down."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise NoSuchMesh(state.directory.name) from None


def make_root(folder: Path) -> None:
    """Makes the folder of all meshes, for this user only; ``LocalError`` if it is another user's."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise LocalError(f"{folder} belongs to another user: set SMI_MESH_HOME to a folder of your own")


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replaces the file in one step: a reader sees the old or the new content, never a part. Raises ``OSError``."""
    fresh = path.with_name(f".{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def write_changed(path: Path, data: bytes) -> None:
    """``write_atomically``, unless the file has this content: what starts again needs no space on a full disk."""
    with contextlib.suppress(OSError):
        if path.read_bytes() == data:
            return
    write_atomically(path, data)


def try_lock(path: Path, mode: int = 0o600) -> int | None:
    """Takes the file's lock for as long as the returned descriptor is open; None when somebody else has it.

    The kernel drops the lock with its process, however that dies: there are no stale locks.
    """
    descriptor = open_lock(path, mode)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def is_locked(path: Path) -> bool:
    """Whether a living process holds the file's lock."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def open_lock(path: Path, mode: int) -> int:
    """Opens a lock file, which may be another user's (where /tmp is protected only its owner may name O_CREAT)."""
    try:
        return os.open(path, os.O_RDWR)
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, mode)
        if mode & 0o066:
            os.fchmod(descriptor, mode)
        return descriptor
