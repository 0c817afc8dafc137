"""``smi local exec``: becomes the command, so that signals, streams and the exit code are its own."""

from __future__ import annotations

import json
import os
import signal
import sys

import click

from translator.cli.command import Command
from translator.cli.params import mesh_option, namespace_option
from translator.local.errors import LocalError
from translator.local.inherit import inherited
from translator.local.lookup import find_pod
from translator.local.state import running_state

NOT_FOUND = 127
NOT_EXECUTABLE = 126


@click.command(
    "exec",
    cls=Command,
    exits={
        str(NOT_EXECUTABLE): "the command cannot be executed",
        str(NOT_FOUND): "there is no such command",
        "any": "otherwise the command's own",
    },
    short_help="Run a command as if inside a pod.",
)
@click.argument("pod", metavar="POD|deploy/NAME")
@click.argument("command", metavar="-- COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@mesh_option
@namespace_option
def execute(pod: str, command: tuple[str, ...], mesh: str, namespace: str) -> None:
    """Run a command in a pod's environment: through HTTP_PROXY it speaks as that pod.

    The working directory stays the caller's.
    """
    state = running_state(mesh)
    found = find_pod(state, namespace, pod)
    try:
        variables = json.loads(state.pod(found.namespace, found.name).environment.read_bytes())["variables"]
    except FileNotFoundError:
        raise LocalError(f'pod "{found.name}" has not been started: {found.state}') from None
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores these two, and the command would inherit that
    try:
        os.execvpe(command[0], command, {**inherited(os.environ), **variables})
    except FileNotFoundError:
        click.echo(f"{command[0]}: command not found", err=True)
        sys.exit(NOT_FOUND)
    except OSError as error:
        click.echo(f"{command[0]}: {error.strerror}", err=True)
        sys.exit(NOT_EXECUTABLE)
