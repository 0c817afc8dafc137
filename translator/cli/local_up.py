"""``smi local up``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from translator.cli.params import duration, mesh_option
from translator.local.console import Console
from translator.local.detach import supervise_detached
from translator.local.settings import Settings
from translator.local.up import supervise


@click.command()
@click.argument(
    "directories",
    metavar="DIR...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, file_okay=False, resolve_path=True),
)
@mesh_option
@click.option("--detach", is_flag=True, help="Return when ready; the mesh goes on until `smi local down`.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=None,
    help="Port of the API on 127.0.0.1; 0: a free one.  [default: 8001, or a free one if that is taken]",
)
@click.option("--timeout", type=duration, default="60s", show_default=True, help="Until all pods are ready.")
@click.option(
    "--egress",
    type=click.Choice(["deny", "allow"]),
    default="deny",
    show_default=True,
    help="Names of another world through the sidecars.",
)
def up(directories: tuple[str, ...], mesh: str, detach: bool, port: int | None, timeout: float, egress: str) -> None:
    """Start controller, pods and sidecars of the manifests (*.yaml, *.yml) under DIR.

    Ctrl-C ends all of it. The folders are watched: a saved change is in force at once.
    """
    settings = Settings(
        name=mesh,
        directories=tuple(str(Path(folder)) for folder in directories),
        port=port,
        timeout=timeout,
        egress=egress == "allow",
    )
    sys.exit(supervise_detached(settings) if detach else supervise(settings, Console(detached=False)))
