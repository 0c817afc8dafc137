"""``smi local status``."""

from __future__ import annotations

import json
from typing import Any

import click

from translator.cli.columns import table
from translator.cli.params import mesh_option, output_option
from translator.local.state import running_state
from translator.local.status import collect

COLUMNS = ("NAMESPACE", "NAME", "READY", "IP", "SERVICEACCOUNT", "APP", "SIDECAR", "CONFIG", "CERTIFICATE UNTIL", "")


@click.command(short_help="Show pods, sidecars, and what is wrong with objects.")
@mesh_option
@output_option("text", "json")
def status(mesh: str, output: str) -> None:
    """Show pods, addresses, acknowledged config versions, certificates, and what is wrong with objects.

    Problems are of manifests that cannot be read as they are, findings of objects that do not mean what they seem to:
    conflicts, references into nothing, targets that grant nothing, annotations that do not count.
    """
    data = collect(running_state(mesh))
    click.echo(json.dumps(data, indent=2) if output == "json" else "\n".join(as_text(data)))


def as_text(data: dict[str, Any]) -> list[str]:
    """The status as lines."""
    controller = data["controller"]
    lines = [f'mesh "{data["name"]}": controller {controller["pid"] or "is not running"}, API {controller["url"]}', ""]
    lines += table([COLUMNS, *(_row(pod) for pod in data["pods"])])
    for problem in data["problems"]:
        place = ":".join(str(part) for part in (problem["file"], problem["line"]) if part)
        lines.append(": ".join(part for part in ("problem", place, problem["field"], problem["message"]) if part))
    if data["findings"] is None:
        lines.append("the findings are not known: the controller does not answer")
    for finding in data["findings"] or ():
        name = "/".join(filter(None, (finding["namespace"], finding["name"])))
        subject = f"{finding['kind']} {name}"
        lines.append(f"finding: {subject}: {finding['reason']}: {finding['message']}")
    return lines


def _row(pod: dict[str, Any]) -> tuple[str, ...]:
    sidecar = pod["sidecar"] or {"pid": "", "configVersion": "", "certificateExpires": ""}
    why = ": ".join(part for part in (pod["reason"], pod["message"]) if part)
    return (
        pod["namespace"],
        pod["name"],
        "yes" if pod["ready"] else "no",
        pod["ip"],
        pod["serviceAccount"],
        str(pod["app"]["pid"] or "-"),
        str(sidecar["pid"] or "-"),
        str(sidecar["configVersion"] or "-"),
        str(sidecar["certificateExpires"] or "-"),
        why or ("" if pod["phase"] == "Running" else pod["phase"]),
    )
