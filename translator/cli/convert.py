"""``smi convert``: manifests from one version of SMI to another, and from Linkerd's ServiceProfile."""

from __future__ import annotations

import json
import re
import sys

import click

from smi.problems import Problem
from smi.rewrite import rewrite
from smi.wire.kinds import ALPHAS
from smi.yamltext import to_yaml
from translator.cli.command import Command
from translator.cli.params import output_option
from translator.cli.texts import paths_argument, texts_of

_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""What JSON may have in a string as it is, and YAML not, or not unchanged."""


@click.command(
    cls=Command,
    exits={"1": "something is wrong, and nothing was printed"},
    short_help="Convert SMI manifests between versions.",
)
@paths_argument
@click.option(
    "--to",
    "version",
    type=click.Choice(ALPHAS),
    default=ALPHAS[-1],
    show_default=True,
    help="The version of SMI that is wanted.",
)
@output_option("yaml", "json")
def convert(paths: tuple[str, ...], version: str, output: str) -> None:
    """Print manifests with every SMI object at another version.

    Nothing is lost: what a version cannot say goes into annotations convert.smi-mesh.io/..., which the mesh obeys and
    from which converting back gives the very same object. Objects of other kinds pass through. A Linkerd ServiceProfile
    becomes an HTTPRouteGroup, a TrafficSplit and annotations on its Service.

    What is doubtful is told on stderr. If anything is wrong nothing is printed.

    \b
      smi convert canary.yaml --to v1alpha2 | kubectl apply -f -
    """
    problems: list[Problem] = []
    files = texts_of(paths, problems)
    rewritten = rewrite(files, version)
    for remark in sorted({*problems, *rewritten.problems}):
        click.echo(remark, err=True)
    if problems or rewritten.problems:
        sys.exit(1)
    for doubt in rewritten.doubts:
        click.echo(f"{doubt} [warning]", err=True)
    click.echo(to_yaml(rewritten.documents) if output == "yaml" else _as_json(rewritten.documents), nl=False)


def _as_json(documents: tuple[object, ...]) -> str:
    """One object as it is, several as a List: what kubectl prints and reads. It is YAML as well."""
    whole = documents[0] if len(documents) == 1 else {"apiVersion": "v1", "kind": "List", "items": list(documents)}
    text = json.dumps(whole, indent=2, ensure_ascii=False)
    return _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"
