"""A folder of manifests as a mesh that nobody runs, for commands that take ``--manifests``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from smi.sources.directory import DirectorySource
from translator.explain.mesh import Mesh, compiled
from translator.local.foreseen import foreseen
from translator.world import World

ALL_READY = "of manifests alone: every pod of every workload is taken to be there and ready"


def mesh_of(folders: Iterable[str]) -> Mesh:
    """The mesh that local mode would make of the folders; what is wrong with the files is told on stderr."""
    snapshot = DirectorySource([Path(folder) for folder in folders]).load()
    for problem in snapshot.problems:
        click.echo(problem, err=True)
    objects = tuple(snapshot.objects.values())
    return compiled(World.of(objects, foreseen(objects)), ALL_READY)
