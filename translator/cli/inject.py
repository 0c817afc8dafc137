"""``smi inject`` and ``smi uninject``: manifests that ask for sidecars, or no more. No cluster is asked."""

from __future__ import annotations

import sys
from typing import Final

import click

from smi.problems import Problem
from smi.yamledit import joined
from translator.cli.command import Command
from translator.cli.texts import paths_argument, texts_of
from translator.kube.annotate import Outcome, Verb, annotated

EXITS: Final = {"0": "done, also where nothing was to be done", "1": "something is wrong, and nothing was printed"}


@click.command(cls=Command, exits=EXITS, short_help="Put the annotation that asks for sidecars on manifests.")
@paths_argument
def inject(paths: tuple[str, ...]) -> None:
    """Print manifests with smi-mesh.io/inject: enabled on what makes pods.

    That is the pod template of a Deployment, StatefulSet, DaemonSet, ReplicaSet, ReplicationController, Job or CronJob,
    a Pod, or a Namespace. The sidecar itself is added on the cluster, when a pod is created. Whatever else is in the
    files passes through as it is written; what was done and what was skipped is told on stderr.

    \b
      smi inject deployment.yaml | kubectl apply -f -
      kubectl get deploy -o yaml | smi inject | kubectl apply -f -
    """
    _print(paths, "inject")


@click.command(cls=Command, exits=EXITS, short_help="Take that annotation out of manifests again.")
@paths_argument
def uninject(paths: tuple[str, ...]) -> None:
    """Print manifests without the annotation that asks for sidecars: what smi inject has put there, or people.

    linkerd.io/inject goes as well. One that says disabled stays: without it the namespace's would count.

    \b
      kubectl get deploy -o yaml | smi uninject | kubectl apply -f -
    """
    _print(paths, "uninject")


def _print(paths: tuple[str, ...], verb: Verb) -> None:
    problems: list[Problem] = []
    results = [(file, annotated(file, text, verb)) for file, text in texts_of(paths, problems)]
    problems += [problem for _, result in results for problem in result.problems]
    if problems:
        for problem in sorted(problems):
            click.echo(problem, err=True)
        sys.exit(1)
    click.echo(joined(result.text for _, result in results), nl=False)
    if sys.stdout.isatty():
        click.echo(err=True)
    for file, result in results:
        if result.anew:
            click.echo(f"{file}: comments could not be kept", err=True)
        for outcome in result.outcomes:
            click.echo(_line(outcome, verb), err=True)


def _line(outcome: Outcome, verb: Verb) -> str:
    what = f'{outcome.kind.lower()} "{outcome.name}"' if outcome.kind else "document"
    if outcome.changed:
        return f"{what} {verb}ed"
    return f"{what} skipped: {outcome.why}" if outcome.why else f"{what} skipped"
