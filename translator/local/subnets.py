"""Takes a free subnet for a mesh, under one lock file each that all users of the machine share."""

from __future__ import annotations

from pathlib import Path

from translator.local.addresses import SUBNETS, Subnet, used_subnets
from translator.local.errors import NoFreeSubnet
from translator.local.listening import read_sockets
from translator.local.state import try_lock

LOCKS = Path("/tmp/smi-mesh-subnets")
"""The same for all users and all $SMI_MESH_HOME: they share one loopback interface."""


def take_subnet(locks: Path = LOCKS) -> tuple[Subnet, int]:
    """The first free subnet and the descriptor whose closing gives it back; ``NoFreeSubnet`` when there is none.

    A subnet without owner in which somebody still listens (an app that
    outlived a killed mesh) is passed over.
    """
    make_shared_folder(locks)
    busy = used_subnets(address for address, _ in read_sockets())
    for number in range(SUBNETS):
        lock = None if number in busy else try_lock(locks / f"{number}.lock", 0o666)
        if lock is not None:
            return Subnet(number=number), lock
    raise NoFreeSubnet


def make_shared_folder(folder: Path) -> None:
    """Makes the folder writable for everybody, as /tmp is."""
    try:
        folder.mkdir()
        folder.chmod(0o1777)
    except FileExistsError:
        pass
