"""``smi install``, ``smi upgrade`` and ``smi uninstall``: plain YAML for kubectl. No cluster is asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import click
import yaml

from manifests import installation
from proxy.contract.config import DefaultPolicy
from translator.cli.params import Command
from translator.kube.install import SETTINGS, SWITCHES, Shipped, UnknownSetting, Wanted, leftovers, rendered, text_of

KEYS = ", ".join((*SETTINGS, *SWITCHES))


def _pairs(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for text in given:
        key, separator, value = text.partition("=")
        if not separator:
            raise click.BadParameter(f"{text!r} is not KEY=VALUE")
        found[key] = value
    return found


def _options(command: Command) -> Command:
    """What the mesh is installed, and upgraded, with."""
    for option in (
        click.option(
            "--ha", is_flag=True, help="Two replicas of the controller, and namespaces can insist on sidecars."
        ),
        click.option(
            "--disable-mtls",
            is_flag=True,
            help="Sidecars speak in the clear: no identities. The default policy is then allow.",
        ),
        click.option(
            "--default-policy",
            type=click.Choice(get_args(DefaultPolicy)),
            help="Who may call a pod that no TrafficTarget names (same-identity).",
        ),
        click.option(
            "--set",
            "settings",
            multiple=True,
            callback=_pairs,
            metavar="KEY=VALUE",
            help=f"A setting of the mesh, one of {KEYS}.",
        ),
    ):
        command = option(command)
    return command


@click.command(short_help="Print the objects of an installation, for kubectl apply.")
@_options
def install(**options: Any) -> None:
    """Print what the mesh is made of: smi install | kubectl apply -f -

    The same options print the same text. It has no secrets in it: the controller makes its own on the cluster.
    """
    click.echo(text_of(_objects(**options)), nl=False)


@click.command(short_help="Print this version's objects, for kubectl apply.")
@_options
def upgrade(**options: Any) -> None:
    """Print this version's objects, to be applied over those of another: smi upgrade | kubectl apply -f -

    Give the options that the mesh was installed with. Pods get the new sidecar when they are restarted.
    """
    click.echo(text_of(_objects(**options)), nl=False)


@click.command(short_help="Print the objects to remove, for kubectl delete.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    callback=_pairs,
    metavar="KEY=VALUE",
    help=f"As given to smi install, where it adds objects: {', '.join(SWITCHES)}.",
)
def uninstall(settings: Mapping[str, str]) -> None:
    """Print what to delete: smi uninstall | kubectl delete -f -

    Objects of the whole cluster and the mesh's namespace; CRDs take SMI objects with them. Meshed pods go on serving.
    """
    click.echo(text_of(leftovers(_objects(settings))), nl=False)


def _objects(
    settings: Mapping[str, str] | None = None,
    default_policy: DefaultPolicy | None = None,
    disable_mtls: bool = False,
    ha: bool = False,
) -> list[dict[str, Any]]:
    wanted = Wanted(ha=ha, default_policy=default_policy, mtls=not disable_mtls, settings=settings or {})
    try:
        return rendered(shipped(), wanted)
    except UnknownSetting as error:
        raise click.BadParameter(str(error), param_hint="--set") from error


def shipped() -> Shipped:
    """The manifests of this version."""
    ha = installation("overlays/ha")
    return Shipped(
        base=[
            *_all(sorted(installation("crds").glob("*_*.yaml"))),
            *_all(sorted(set(installation("base").glob("*.yaml")) - {installation("base") / "kustomization.yaml"})),
        ],
        ha_objects=_all([ha / "disruption.yaml"]),
        ha_controller=_all([ha / "controller.yaml"])[0],
        ha_injector=yaml.safe_load((ha / "injector.yaml").read_text("utf-8")),
        hpa_objects=_all([installation("overlays/hpa") / file for file in ("apiservices.yaml", "rbac.yaml")]),
    )


def _all(files: list[Path]) -> list[dict[str, Any]]:
    return [thing for file in files for thing in yaml.safe_load_all(file.read_text("utf-8")) if thing]
