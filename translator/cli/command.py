"""A command that says which exit codes it ends with: in its help, and in docs/reference/commands.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

EXITS: Mapping[str, str] = {
    "0": "done",
    "1": "the asked thing failed; stderr says why",
    "2": "wrong usage",
}
"""What holds for every command that says nothing else."""


class Command(click.Command):
    """``exits``: what an exit code means beyond ``EXITS``, or instead."""

    def __init__(self, *args: Any, exits: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.exits = {**EXITS, **exits}

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The codes, below all else."""
        super().format_epilog(ctx, formatter)
        with formatter.section("Exit codes"):
            formatter.write_dl(list(self.exits.items()))
