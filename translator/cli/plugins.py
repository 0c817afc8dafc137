"""What kubectl finds on the PATH: ``kubectl smi`` is ``smi``, ``kubectl traffic`` the plugin of SMI's text."""

from __future__ import annotations

import click

from translator.cli import main
from translator.cli.groups import LazyGroup


@click.group(
    cls=LazyGroup,
    lazy={
        "top": "translator.cli.top:top",
        "edges": "translator.cli.edges:edges",
        "topology": "translator.cli.topology:topology",
    },
    context_settings={"help_option_names": ["-h", "--help"]},
)
def traffic() -> None:
    """What the mesh's sidecars count, as SMI's TrafficMetrics: the busiest calls, edges, and all of them as a tree."""


def kubectl_smi() -> None:
    """The script ``kubectl-smi``; usage names what the user has typed."""
    main(prog_name="kubectl smi")


def kubectl_traffic() -> None:
    """The script ``kubectl-traffic``."""
    traffic(prog_name="kubectl traffic")
