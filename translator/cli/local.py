"""``smi local``: the mesh on this machine."""

from __future__ import annotations

import click

from translator.cli.groups import LazyGroup


@click.group(
    cls=LazyGroup,
    lazy={
        "up": "translator.cli.local_up:up",
        "exec": "translator.cli.local_exec:execute",
        "run": "translator.cli.local_run:run",
        "status": "translator.cli.local_status:status",
        "logs": "translator.cli.local_logs:logs",
        "rotate-root": "translator.cli.local_rotate_root:rotate_root",
        "down": "translator.cli.local_down:down",
    },
    short_help="Run a mesh on this machine, without a cluster or root.",
)
def local() -> None:
    """Run a mesh on this machine: pods are processes, no cluster and no root needed."""
