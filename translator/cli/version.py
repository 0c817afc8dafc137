"""``smi version``."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

import click


@click.command()
def version() -> None:
    """Print the version."""
    try:
        click.echo(f"smi-mesh {installed('smi-mesh')}")
    except PackageNotFoundError:
        click.echo("smi-mesh (not installed)")
