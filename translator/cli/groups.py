"""Groups whose commands are imported when they are used: ``smi local exec`` must not pay for YAML and tables."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

from translator.local.errors import LocalError, SystemRefuses


class LazyGroup(click.Group):
    """``lazy`` has ``module:attribute`` by command.

    A ``LocalError``, or no space or no right for a file, becomes a line on stderr and exit code 1.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in the order given."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in self._lazy:
            return None
        module, _, attribute = self._lazy[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{self._lazy[cmd_name]} is no command")
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command that was asked for."""
        try:
            return super().invoke(ctx)
        except LocalError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            told = SystemRefuses.why(error)
            if told is None:
                raise
            raise click.ClickException(str(told)) from error
