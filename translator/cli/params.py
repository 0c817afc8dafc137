"""Options and parameter types that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def duration(text: str) -> float:
    """Seconds, written ``60s``, ``1m30s``, ``500ms``; a bare number is seconds."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    found = _DURATION.fullmatch(text) if text else None
    if found is None:
        raise click.BadParameter(f'"{text}" is no duration: write 60s, 1m30s or 500ms')
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000


def dns_label(text: str) -> str:
    """A name as Kubernetes has them for namespaces and Services."""
    if not _LABEL.fullmatch(text):
        raise click.BadParameter(f'"{text}" is no name: lower-case letters, digits and "-", at most 63')
    return text


DEFAULT_MESH = "mesh"
"""The local mesh that is meant where none is named."""


def mesh_option(command: Command) -> Command:
    """``--name``, which every ``smi local`` command takes."""
    return click.option(
        "--name",
        "mesh",
        type=dns_label,
        default=DEFAULT_MESH,
        show_default=True,
        help="The name of the mesh; several may run at once.",
    )(command)


def namespace_option(command: Command) -> Command:
    """``-n``."""
    return click.option(
        "-n", "--namespace", type=dns_label, default="default", show_default=True, help="The pod's namespace."
    )(command)


def manifests_option(command: Command) -> Command:
    """``--manifests``, for commands that can do without a mesh."""
    return click.option(
        "--manifests",
        multiple=True,
        metavar="DIR",
        type=click.Path(exists=True),
        help="Ask a folder of manifests instead of a running mesh: all its pods are taken to be ready.",
    )(command)


def output_option(*kinds: str, about: str = "The form it is printed in.") -> Callable[[Command], Command]:
    """``-o``; the first kind is the default."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(kinds),
        default=kinds[0],
        show_default=True,
        help=about,
    )
