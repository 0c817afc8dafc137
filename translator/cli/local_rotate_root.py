"""``smi local rotate-root``."""

from __future__ import annotations

import click

from translator.cli.params import duration, mesh_option
from translator.local.newroot import rotate_root as exchange
from translator.local.records import decode_mesh
from translator.local.state import read_state, running_state


@click.command("rotate-root", short_help="Exchange the root of the mesh's certificates.")
@mesh_option
@click.option(
    "--timeout",
    type=duration,
    default="2m",
    show_default=True,
    help="How long to wait until the new root alone is trusted.",
)
def rotate_root(mesh: str, timeout: float) -> None:
    """Exchange the root of a mesh's certificates while it runs.

    The new root is trusted beside the old one first, then every certificate is renewed by it, then the old one goes. No
    request is lost.
    """
    state = running_state(mesh)
    exchange(state, decode_mesh(read_state(state, state.mesh)), timeout, click.echo)
