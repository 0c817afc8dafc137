"""``smi local run``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypedDict, Unpack

import click
import msgspec

from translator.cli.params import dns_label, duration, mesh_option, namespace_option
from translator.local.client import ask
from translator.local.records import PodRecord
from translator.local.requests import RunRequest
from translator.local.state import running_state

ANSWER_SLACK = 10.0
"""Seconds that the supervisor may take to answer beyond what it was told to wait."""


class Given(TypedDict):
    """What click passes."""

    pod: str
    command: tuple[str, ...]
    mesh: str
    namespace: str
    serviceaccount: str
    labels: dict[str, str]
    ports: tuple[int, ...]
    no_sidecar: bool
    timeout: float


def read_labels(_ctx: click.Context, _param: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """``k=v`` each, or several with commas."""
    labels = {}
    for pair in ",".join(given).split(",") if given else ():
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise click.BadParameter(f'"{pair}" is no label: write key=value')
        labels[key] = value
    return labels


@click.command(short_help="Add a pod that runs a command.")
@click.argument("pod", metavar="NAME", type=dns_label)
@click.argument("command", metavar="-- COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@mesh_option
@namespace_option
@click.option(
    "--serviceaccount",
    default="default",
    type=dns_label,
    show_default=True,
    help="The ServiceAccount that the pod runs as.",
)
@click.option(
    "-l",
    "--labels",
    multiple=True,
    callback=read_labels,
    metavar="K=V",
    help="Labels of the pod, by which Services select it.",
)
@click.option(
    "--port",
    "ports",
    multiple=True,
    type=click.IntRange(1, 65535),
    help="A containerPort of the pod; the first one is PORT.",
)
@click.option("--no-sidecar", is_flag=True, help="A pod outside of the mesh.")
@click.option(
    "--timeout", type=duration, default="60s", show_default=True, help="How long to wait until the pod is ready."
)
def run(**given: Unpack[Given]) -> None:
    """Add a pod with a sidecar of its own; it lives until the mesh goes down."""
    asked = RunRequest(
        name=given["pod"],
        namespace=given["namespace"],
        argv=given["command"],
        folder=str(Path.cwd()),
        service_account=given["serviceaccount"],
        labels=given["labels"],
        ports=given["ports"],
        sidecar=not given["no_sidecar"],
        environment=dict(os.environ),
        timeout=given["timeout"],
    )
    body = msgspec.json.encode(asked)
    answer = ask(running_state(given["mesh"]).socket, "POST", "/v1/pods", body, timeout=asked.timeout + ANSWER_SLACK)
    record = msgspec.json.decode(answer, type=PodRecord)
    click.echo(f"pod {record.key} is ready: {record.pod.ip}")
