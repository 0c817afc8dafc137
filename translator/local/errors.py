"""What can go wrong in local mode; each message tells the user what to do.

LocalError
├── NoSuchMesh      nobody runs a mesh of that name
├── AlreadyUp       somebody does
├── PortTaken       the API's port is in use
├── NoFreeSubnet    all 256 subnets are taken
├── NoSuchPod       the mesh has no pod of that name
├── PodExists       ``run`` with a name that is in use
├── CaUnusable      ``up`` with files of a CA that do not fit
├── NotReady        something asked for did not become ready in time
└── SystemRefuses   no space, no right, no such folder
"""

from __future__ import annotations

import errno
import os
from typing import Final

_OF_THE_MACHINE: Final = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EEXIST,
        errno.EIO,
        errno.ELOOP,
        errno.EMFILE,
        errno.ENAMETOOLONG,
        errno.ENFILE,
        errno.ENOENT,
        errno.ENOSPC,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
    }
)
"""What only the user can mend. Any other ``OSError`` that nobody expected is a fault of ours."""


class LocalError(Exception):
    """The asked thing failed; the command line prints the message and exits with 1."""


class NoSuchMesh(LocalError):
    """No supervisor runs under this name."""

    def __init__(self, name: str) -> None:
        option = "" if name == "mesh" else f" --name {name}"
        super().__init__(f'no mesh named "{name}": start it with "smi local up DIR{option}"')


class AlreadyUp(LocalError):
    """The name is taken by a running mesh."""

    def __init__(self, name: str, pid: int) -> None:
        option = "" if name == "mesh" else f" --name {name}"
        super().__init__(
            f'mesh "{name}" is already up (supervisor {pid}): '
            f'end it with "smi local down{option}", or choose another --name'
        )


class PortTaken(LocalError):
    """The API cannot listen on the port that was asked for."""

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} of 127.0.0.1 is taken: choose another with --port, or --port 0 for a free one")


class NoFreeSubnet(LocalError):
    """Every /24 of 127.80.0.0/16 is held by another mesh."""

    def __init__(self) -> None:
        super().__init__("all 256 subnets of 127.80.0.0/16 are taken by other meshes: end one of them")


class NoSuchPod(LocalError):
    """The mesh runs, but has no such pod."""


class PodExists(LocalError):
    """A pod of that name is there already."""

    def __init__(self, namespace: str, name: str) -> None:
        super().__init__(f'pod "{name}" exists already in namespace "{namespace}": choose another name')


class CaUnusable(LocalError):
    """The user's own CA cannot be used; the message names the file."""


class NotReady(LocalError):
    """What was asked for did not become ready in time; the message names the pods and why."""


class SystemRefuses(LocalError):
    """The operating system did not do what any command needs of it."""

    @classmethod
    def why(cls, error: OSError) -> SystemRefuses | None:
        """What to tell the user; None where it is not for the user to mend."""
        if error.errno not in _OF_THE_MACHINE:
            return None
        where = f"{error.filename}: " if error.filename else ""
        return cls(f"{where}{os.strerror(error.errno)}")
