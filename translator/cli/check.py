"""``smi check``: is the cluster ready for the mesh, or the mesh well? As people know it from linkerd."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Final

import click

from smi.sources.apiserver import ApiServer, NoCluster, by_kubeconfig
from translator.cli.params import duration
from translator.kube.check import Result, check
from translator.kube.names import NAMESPACE

MARKS: Final = {"success": "√", "warning": "‼", "error": "×"}
DOCS: Final = "docs/check.md"
PAUSE: Final = 1.0
"""Seconds between attempts while --wait lasts."""


@click.command(name="check")
@click.option("--pre", is_flag=True, help="Ask whether the mesh can be installed.")
@click.option("--wait", type=duration, default="0s", metavar="DURATION", help="Ask again for so long (0s).")
@click.option("--kubeconfig", metavar="FILE", help="Instead of KUBECONFIG or ~/.kube/config.")
@click.option("--context", metavar="NAME", help="Of the kubeconfig, instead of the current one.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "short", "json"]),
    default="table",
    show_default=True,
    help="short: only what is not well.",
)
def check_command(pre: bool, wait: float, kubeconfig: str | None, context: str | None, output: str) -> None:
    """Check the cluster and the mesh. Exit code 1 when something is wrong; warnings alone are no failure."""
    try:
        results = asyncio.run(_ask(pre, wait, kubeconfig, context))
    except NoCluster as error:
        results = [
            Result(
                category="kubernetes-api", description="can initialize the client", state="error", message=str(error)
            )
        ]
    failed = any(result.state == "error" for result in results)
    if output == "json":
        click.echo(json.dumps(_as_json(results, failed), indent=2))
    else:
        _print(results, only_wrong=output == "short")
        click.echo(f"\nStatus check results are {MARKS['error' if failed else 'success']}")
    sys.exit(1 if failed else 0)


async def _ask(pre: bool, wait: float, kubeconfig: str | None, context: str | None) -> list[Result]:
    deadline = time.monotonic() + wait
    async with ApiServer(await by_kubeconfig(kubeconfig, context)) as api:
        while True:
            results = [result async for result in check(api, NAMESPACE, before=pre)]
            wrong = [result for result in results if result.state == "error"]
            if not wrong or time.monotonic() >= deadline:
                return results
            if sys.stderr.isatty():
                click.echo(f"\r\x1b[Kwaiting: {wrong[0].message[:100]}", nl=False, err=True)
            await asyncio.sleep(PAUSE)


def _print(results: list[Result], *, only_wrong: bool) -> None:
    category = ""
    for result in results:
        if only_wrong and result.state == "success":
            continue
        if result.category != category:
            category = result.category
            click.echo(f"{'' if results[0] is result else chr(10)}{category}\n{'-' * len(category)}")
        click.echo(f"{MARKS[result.state]} {result.description}")
        if result.message:
            click.echo(f"    {result.message}\n    see {DOCS}#{result.anchor} for hints")


def _as_json(results: list[Result], failed: bool) -> dict[str, object]:
    categories: dict[str, list[dict[str, str]]] = {}
    for result in results:
        shown = {"description": result.description, "result": result.state}
        if result.message:
            shown |= {"error": result.message, "hint": f"{DOCS}#{result.anchor}"}
        categories.setdefault(result.category, []).append(shown)
    return {
        "success": not failed,
        "categories": [{"categoryName": name, "checks": checks} for name, checks in categories.items()],
    }
