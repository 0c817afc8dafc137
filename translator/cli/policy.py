"""``smi policy``: who may call whom, and what would have to be granted."""

from __future__ import annotations

import click

from translator.cli.groups import LazyGroup


@click.group(
    cls=LazyGroup,
    lazy={
        "check": "translator.cli.policy_check:check",
        "suggest": "translator.cli.policy_suggest:suggest",
    },
    short_help="Ask who may call whom, or for TrafficTargets that fit.",
)
def policy() -> None:
    """Ask about TrafficTargets: who may call whom, and which would allow the traffic that audit mode has seen."""
