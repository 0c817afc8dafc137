"""``smi local logs``."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import BinaryIO

import click

from translator.cli.params import mesh_option, namespace_option
from translator.local.errors import LocalError
from translator.local.lookup import find_pod
from translator.local.state import MeshState, PodState, running_state

FOLLOW_PERIOD = 0.1
"""Seconds between looks at a log that is followed."""


@click.command(short_help="Print what an app, a sidecar or the controller printed.")
@click.argument("pod", metavar="POD|deploy/NAME|controller")
@mesh_option
@namespace_option
@click.option("-f", "--follow", is_flag=True, help="Go on with what is printed from now on.")
@click.option("-c", "--container", default="", help='A container of the pod, or "proxy" for its sidecar.')
def logs(pod: str, mesh: str, namespace: str, follow: bool, container: str) -> None:
    """Print what a pod's app, its sidecar or the controller printed."""
    log = find_log(running_state(mesh), namespace, pod, container)
    try:
        with log.open("rb") as file:
            copy(file)
            while follow and log.exists():
                time.sleep(FOLLOW_PERIOD)
                copy(file)
    except FileNotFoundError:
        raise LocalError(f'"{pod}" has not printed anything yet: it has not been started') from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone; exit without complaint


def find_log(state: MeshState, namespace: str, pod: str, container: str) -> Path:
    """The log file of a container; ``LocalError`` when there is none of that name."""
    if pod == "controller" and not container:
        return state.controller_log
    found = find_pod(state, namespace, pod)
    folder = state.pod(found.namespace, found.name)
    if container == "proxy":
        return folder.proxy_log
    named = folder.app_log(container)
    if container and named.exists():
        return named
    if not container or container == first_container(folder):
        return folder.app_log()
    raise LocalError(f'pod "{found.name}" has no container "{container}"')


def first_container(folder: PodState) -> str:
    """The name of the container that ``app.log`` is of; empty when it was never started."""
    try:
        return str(json.loads(folder.environment.read_bytes())["container"])
    except FileNotFoundError:
        return ""


def copy(file: BinaryIO) -> None:
    """Prints what was not read yet."""
    while chunk := file.read(65536):
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()
