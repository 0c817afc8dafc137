"""``smi local up``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TypedDict, Unpack

import click

from proxy.contract.spiffe import is_trust_domain
from translator.cli.command import Command
from translator.cli.params import duration, mesh_option
from translator.identity.wanted import MIN_LIFETIME
from translator.local.console import Console
from translator.local.detach import supervise_detached
from translator.local.settings import Settings
from translator.local.sidecar import TRUST_DOMAIN
from translator.local.up import supervise


class Given(TypedDict):
    """The parameters as read."""

    directories: tuple[str, ...]
    mesh: str
    detach: bool
    port: int | None
    timeout: float
    egress: str
    ca: str | None
    issuance_lifetime: float
    federated: dict[str, str]


def lifetime(text: str) -> float:
    """Seconds, not fewer than a certificate can live."""
    seconds = duration(text)
    if seconds < MIN_LIFETIME.total_seconds():
        raise click.BadParameter(f"{text} is too short: certificates are renewed at half of it, 5s is the least")
    return seconds


def read_bundles(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """``DOMAIN=FILE``, several times."""
    read: dict[str, str] = {}
    for text in given:
        domain, separator, file = text.partition("=")
        if not separator or not is_trust_domain(domain):
            raise click.BadParameter(f'"{text}": write a trust domain, "=", and the file with its bundle')
        if domain == TRUST_DOMAIN:
            raise click.BadParameter(f"{domain} is this mesh's own trust domain: its roots are in the CA's ca.crt")
        read[domain] = str(Path(file).absolute())
    return read


@click.command(
    cls=Command,
    exits={"0": "ended as asked, or with --detach ready", "1": "could not start, or was not ready in time"},
    short_help="Start a mesh from a folder of manifests.",
)
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
@click.option(
    "--timeout", type=duration, default="60s", show_default=True, help="How long to wait until all pods are ready."
)
@click.option(
    "--egress",
    type=click.Choice(["deny", "allow"]),
    default="deny",
    show_default=True,
    help="Whether sidecars pass on requests to names that are not of the mesh.",
)
@click.option(
    "--ca",
    type=click.Path(exists=True, file_okay=False, resolve_path=True),
    default=None,
    metavar="DIR",
    help="A CA of your own: ca.crt, issuer.crt, issuer.key.  [default: one made for this mesh]",
)
@click.option(
    "--issuance-lifetime",
    type=lifetime,
    default="48h",
    show_default=True,
    metavar="DURATION",
    help="How long the pods' certificates are valid.",
)
@click.option(
    "--federate",
    "federated",
    multiple=True,
    callback=read_bundles,
    metavar="DOMAIN=FILE",
    help="The trust bundle of another trust domain; IdentityBindings may then name its identities.",
)
def up(**given: Unpack[Given]) -> None:
    """Start controller, pods and sidecars of the manifests (*.yaml, *.yml) under DIR.

    Ctrl-C ends all of it. The folders are watched: a saved change is in force at once.
    """
    settings = Settings(
        name=given["mesh"],
        directories=tuple(str(Path(folder)) for folder in given["directories"]),
        port=given["port"],
        timeout=given["timeout"],
        egress=given["egress"] == "allow",
        ca=given["ca"] or "",
        issuance_lifetime=given["issuance_lifetime"],
        federated=given["federated"],
    )
    sys.exit(supervise_detached(settings) if given["detach"] else supervise(settings, Console(detached=False)))
