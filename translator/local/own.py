"""How the mesh's own processes (sidecar, controller, background supervisor) find our packages."""

from __future__ import annotations

import os
from pathlib import Path

from translator.local.environment import INSTANCE
from translator.local.inherit import inherited

PACKAGES = str(Path(__file__).parents[2])
"""The folder that ``translator`` was imported from: a process started elsewhere shall run the same code."""


def own_variables(instance: str) -> dict[str, str]:
    """The environment of a sidecar or controller: our packages come first, and it carries the mesh's mark."""
    path = os.environ.get("PYTHONPATH")
    return {
        **inherited(os.environ),
        "PYTHONPATH": os.pathsep.join([PACKAGES, path] if path else [PACKAGES]),
        "PYTHONUNBUFFERED": "1",
        INSTANCE: instance,
    }
