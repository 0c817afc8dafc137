"""``smi policy check``."""

from __future__ import annotations

from typing import TypedDict, Unpack

import click
import msgspec

from translator.cli.columns import table
from translator.cli.command import Command
from translator.cli.params import dns_label, manifests_option, mesh_option, namespace_option, output_option
from translator.explain.answer import Permission
from translator.explain.question import BadQuestion, Check
from translator.local.api import ask_mesh


class Given(TypedDict):
    """What click passes."""

    request: tuple[str, ...]
    source: str
    destination: str
    to_namespace: str | None
    namespace: str
    mesh: str
    manifests: tuple[str, ...]
    output: str


MARKS = {"yes": "√", "some": "(√)", "no": "-"}


@click.command(
    cls=Command,
    exits={"0": "answered, whoever may call whom"},
    epilog="√ yes, (√) some requests, - no. With one of --from and --to only a row or a column.",
)
@click.argument("request", metavar="[METHOD [PATH]]", nargs=-1)
@click.option(
    "--from", "source", default="", metavar="POD|deploy/NAME", help="The caller; without it all of the namespace."
)
@click.option(
    "--to",
    "destination",
    default="",
    metavar="POD|deploy/NAME",
    help="Who is called; without it all workloads of the namespace.",
)
@click.option("--to-namespace", type=dns_label, help="The namespace of --to, or of the columns.  [default: that of -n]")
@namespace_option
@mesh_option
@manifests_option
@output_option("table", "json")
def check(**given: Unpack[Given]) -> None:
    """Say who may call whom, and by which TrafficTarget.

    \b
      smi policy check -n shop                                  callers × workloads of shop
      smi policy check --from deploy/client --to deploy/web     every port of web
      smi policy check --from deploy/client --to deploy/web GET /api
    """
    request, namespace = given["request"], given["namespace"]
    if len(request) > 2:
        raise click.UsageError(f"one METHOD and one PATH, not {' '.join(request)!r}")
    wanted = Check(
        source=given["source"],
        namespace=namespace,
        destination=given["destination"],
        to_namespace=given["to_namespace"] or namespace,
        method=request[0] if request else "",
        path=request[1] if len(request) == 2 else "/",
    )
    manifests = given["manifests"]
    found = _of_folder(wanted, manifests) if manifests else _of_mesh(wanted, given["mesh"])
    if given["output"] == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
    elif not found:
        click.echo(f"nobody in namespace {wanted.to_namespace} can be called", err=True)
    else:
        click.echo("\n".join(listed(found) if wanted.source and wanted.destination else matrix(found)))


def listed(found: tuple[Permission, ...]) -> list[str]:
    """One line for each port, and below it which requests."""
    lines = table(
        [
            ("FROM", "TO", "PORT", "MAY", "BY"),
            *((one.caller, one.server, str(one.port), one.may, one.by) for one in found),
        ]
    )
    return [*lines, *(f"  port {one.port}: {condition}" for one in found for condition in one.only)]


def matrix(found: tuple[Permission, ...]) -> list[str]:
    """A row for each caller, a column for each port of each server; then what each mark comes from."""
    servers = list(dict.fromkeys((one.server, one.port) for one in found))
    cells = {(one.caller, one.server, one.port): MARKS[one.may] for one in found}
    rows = [("FROM \\ TO", *(f"{server}:{port}" for server, port in servers))]
    rows += [
        (caller, *(cells[caller, server, port] for server, port in servers))
        for caller in dict.fromkeys(one.caller for one in found)
    ]
    reasons = [
        (MARKS[one.may], f"{one.caller} → {one.server}:{one.port}", one.by, "; ".join(one.only))
        for one in found
        if one.may != "no"
    ]
    return [*table(rows), "", *table(reasons)] if reasons else table(rows)


def _of_mesh(wanted: Check, name: str) -> tuple[Permission, ...]:
    body = ask_mesh(name, f"/permissions?{wanted.query()}")
    return msgspec.json.decode(body, type=tuple[Permission, ...])


def _of_folder(wanted: Check, folders: tuple[str, ...]) -> tuple[Permission, ...]:
    # Only here is the sidecars' code needed, which a question to a running mesh should not wait for.
    from translator.cli.folder import mesh_of  # noqa: PLC0415
    from translator.explain.permissions import check as checked  # noqa: PLC0415

    try:
        return checked(mesh_of(folders), wanted)
    except BadQuestion as error:
        raise click.UsageError(str(error)) from error
