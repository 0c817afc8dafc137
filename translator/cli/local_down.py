"""``smi local down``."""

from __future__ import annotations

import time

import click

from translator.cli.params import duration, mesh_option
from translator.local.client import ask
from translator.local.errors import LocalError, NoSuchMesh
from translator.local.recovery import recover
from translator.local.state import is_locked, mesh_state, try_lock


@click.command()
@mesh_option
@click.option(
    "--timeout", type=duration, default="30s", show_default=True, help="How long to wait until everything has ended."
)
def down(mesh: str, timeout: float) -> None:
    """End a mesh: all its processes, and its state."""
    state = mesh_state(mesh)
    if not state.mesh.exists():
        raise NoSuchMesh(mesh)
    lock = try_lock(state.lock)
    if lock is not None:
        recover(state)
        click.echo(f'mesh "{mesh}" had lost its supervisor; what was left of it has ended')
        return
    ask(state.socket, "POST", "/v1/down")
    deadline = time.monotonic() + timeout
    while is_locked(state.lock):
        if time.monotonic() > deadline:
            raise LocalError(f'mesh "{mesh}" has not ended after {timeout:g} s')
        time.sleep(0.02)
    click.echo(f'mesh "{mesh}" has ended')
