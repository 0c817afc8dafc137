"""``smi check``: is the cluster ready for the mesh, or the mesh well? As people know it from linkerd."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Final

import click

from smi.sources.apiserver import ApiServer, NoCluster, by_kubeconfig
from translator.cli.params import duration, output_option
from translator.kube.check import Result, check
from translator.kube.names import NAMESPACE

MARKS: Final = {"success": "√", "warning": "‼", "error": "×"}
DOCS: Final = "docs/check.md"
PAUSE: Final = 1.0
"""Seconds between attempts."""


@click.command(name="check", short_help="Check the cluster and the mesh on it.")
@click.option("--pre", is_flag=True, help="Ask whether the mesh can be installed.")
@click.option(
    "--wait",
    type=duration,
    default="1m",
    metavar="DURATION",
    help="How long to ask again what may become right by itself, as just after an installation (1m).",
)
@click.option("--kubeconfig", metavar="FILE", help="The kubeconfig to use, instead of KUBECONFIG or ~/.kube/config.")
@click.option("--context", metavar="NAME", help="The context of that file to use, instead of the current one.")
@output_option("table", "short", "json", about="The form it is printed in; short: only the checks that failed or warn.")
def check_command(pre: bool, wait: float, kubeconfig: str | None, context: str | None, output: str) -> None:
    """Check the cluster and the mesh. Exit code 1 when something is wrong; warnings alone are no failure."""
    try:
        results = asyncio.run(_ask(pre, wait, kubeconfig, context))
    except NoCluster as error:
        results = [
            Result(
                category="kubernetes-api",
                description="can initialize the client",
                state="error",
                message=str(error),
                anchor="k8s-api",
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
    async with ApiServer(await by_kubeconfig(kubeconfig, context)) as api:
        return await settled(api, pre, wait)


async def settled(api: ApiServer, pre: bool, wait: float) -> list[Result]:
    """Asks again for ``wait`` seconds, unless something is wrong that does not become right by itself."""
    deadline = time.monotonic() + wait
    while True:
        results = [result async for result in check(api, NAMESPACE, before=pre)]
        wrong = [result for result in results if result.state == "error"]
        if time.monotonic() >= deadline or not wrong or not all(result.settles for result in wrong):
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
