"""``smi explain``."""

from __future__ import annotations

import click
import msgspec

from translator.cli.command import Command
from translator.cli.explained import as_text
from translator.cli.params import manifests_option, mesh_option, namespace_option, output_option
from translator.explain.answer import Explanation
from translator.explain.question import BadQuestion, Question, asked
from translator.local.api import ask_mesh

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
"""Words that are a method and no URL, where there is but one."""


@click.command(
    cls=Command,
    exits={"0": "answered, also when the answer is no"},
    epilog="METHOD is GET if left out.",
    short_help="Say what would become of a request, and why.",
)
@click.argument("request", metavar="[METHOD] URL", nargs=-1, required=True)
@click.option("--from", "source", required=True, metavar="POD|deploy/NAME", help="The pod that makes the request.")
@click.option(
    "-H",
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    help="A header of the request.",
)
@namespace_option
@mesh_option
@manifests_option
@output_option("table", "json")
def explain(
    request: tuple[str, ...],
    source: str,
    headers: tuple[str, ...],
    namespace: str,
    mesh: str,
    manifests: tuple[str, ...],
    output: str,
) -> None:
    """Say what would become of a request, and why, without sending it.

    Which Service is meant, which TrafficSplit applies and by which match, which backends and pods may get it,
    whether it is sent again, and whether the server's policy lets it in: by the very code that the sidecars run.

    \b
      smi explain GET http://web/api --from deploy/client
      smi explain http://web.shop/ --from deploy/client -H 'x-beta: 1' -o json
      smi explain POST http://web/ --from deploy/client --manifests ./manifests
    """
    if len(request) > 2:
        raise click.UsageError(f"one METHOD and one URL, not {' '.join(request)!r}")
    if len(request) == 1 and request[0] in METHODS:
        raise click.UsageError(f"a URL is missing behind {request[0]}")
    try:
        question = asked(request[0] if len(request) == 2 else "GET", request[-1], source, namespace, headers=headers)
    except BadQuestion as error:
        raise click.UsageError(str(error)) from error
    answer = _of_folder(question, manifests) if manifests else _of_mesh(question, mesh)
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(answer), indent=2))
    else:
        click.echo("\n".join(as_text(answer)))


def _of_mesh(question: Question, name: str) -> Explanation:
    return msgspec.json.decode(ask_mesh(name, f"/explain?{question.query()}"), type=Explanation)


def _of_folder(question: Question, folders: tuple[str, ...]) -> Explanation:
    # Only here is the sidecars' code needed, which a question to a running mesh should not wait for.
    from translator.cli.folder import mesh_of  # noqa: PLC0415
    from translator.explain.explain import explain as explained  # noqa: PLC0415

    return explained(mesh_of(folders), question)
