"""Clears away a mesh whose supervisor was killed, before the name is used again."""

from __future__ import annotations

import contextlib
import shutil

from translator.local.errors import LocalError
from translator.local.leftovers import kill_marked
from translator.local.records import decode_mesh
from translator.local.state import MeshState


def recover(state: MeshState) -> None:
    """Ends what a killed supervisor left behind and takes its directory away. The name's lock must be held."""
    with contextlib.suppress(OSError, ValueError):
        kill_marked(decode_mesh(state.mesh.read_bytes()).instance)
    shutil.rmtree(state.directory, ignore_errors=True)
    if state.directory.exists():
        raise LocalError(f"{state.directory} cannot be removed: remove it, or choose another --name")
