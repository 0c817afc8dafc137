"""The ``smi`` command: words to arguments, answers to text. It decides nothing itself.

Belongs here: options, tables, exit codes (0 fine, 1 the asked thing failed, 2 wrong usage).
Does not belong: what a command does; that is ``translator.local`` and its neighbours.
Next: ``groups`` for how commands are found, ``local`` for the largest group, ``traffic`` for what
``stat``, ``routes``, ``edges`` and ``top`` share.
"""

from __future__ import annotations

import click

from translator.cli.groups import LazyGroup


@click.group(
    cls=LazyGroup,
    lazy={
        "check": "translator.cli.check:check_command",
        "install": "translator.cli.install:install",
        "upgrade": "translator.cli.install:upgrade",
        "uninstall": "translator.cli.install:uninstall",
        "inject": "translator.cli.inject:inject",
        "uninject": "translator.cli.inject:uninject",
        "local": "translator.cli.local:local",
        "stat": "translator.cli.stat:stat",
        "routes": "translator.cli.routes:routes",
        "edges": "translator.cli.edges:edges",
        "top": "translator.cli.top:top",
        "topology": "translator.cli.topology:topology",
        "lint": "translator.cli.lint:lint",
        "explain": "translator.cli.explain:explain",
        "policy": "translator.cli.policy:policy",
        "convert": "translator.cli.convert:convert",
        "demo": "translator.cli.demo:demo",
        "version": "translator.cli.version:version",
    },
    context_settings={"help_option_names": ["-h", "--help"]},
)
def main() -> None:
    """smi-mesh: a service mesh whose only API is the Service Mesh Interface."""
