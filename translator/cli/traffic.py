"""What the commands about traffic share: the question to the controller, options, and how numbers are written."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar, cast
from urllib.parse import urlencode

import click
import msgspec

from smi.sources.apiserver import KUBECONFIG, ApiError, ApiServer, NoCluster, by_kubeconfig
from translator.cli.columns import table
from translator.cli.params import DEFAULT_MESH, dns_label, duration
from translator.local.errors import LocalError, NoSuchMesh
from translator.local.pages import page
from translator.local.records import decode_mesh
from translator.local.state import read_state, running_state
from translator.metricsapi.kinds import GROUP, TRAFFIC, VERSIONS
from translator.resources import NAMESPACE, NoSuchKind, Resource, resource
from translator.rows import Stats

Answer = TypeVar("Answer", bound=msgspec.Struct)
Command = TypeVar("Command", bound=Callable[..., Any])

PATIENCE = 10.0
"""Seconds for an answer: a large mesh has much to add up."""

EXITS = {"0": "done, also where there was no traffic", "1": "there is no such resource, or no mesh"}

NOTHING = "-"
DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Which mesh is meant. An empty ``mesh``: the local one called ``mesh`` if it runs, else the cluster's."""

    mesh: str = ""
    kubeconfig: str | None = None
    context: str | None = None


def ask(where: Where, parameters: Mapping[str, str], kind: type[Answer]) -> Answer:
    """The controller's answer. Raises ``LocalError`` when there is none, ``click.UsageError`` for a bad question."""
    status, body = _local(where.mesh, parameters) if _is_local(where) else asyncio.run(_cluster(where, parameters))
    if status == 200:
        return msgspec.json.decode(body, type=kind)
    text = body.decode(errors="replace").strip()
    if status == 400:
        raise click.UsageError(text)
    raise LocalError(text)


def _is_local(where: Where) -> bool:
    if where.mesh:
        return True
    if where.kubeconfig or where.context:
        return False
    try:
        running_state(DEFAULT_MESH)
    except LocalError:
        return not (os.environ.get("KUBECONFIG") or KUBECONFIG.exists())
    return True


def _local(mesh: str, parameters: Mapping[str, str]) -> tuple[int, bytes]:
    try:
        state = running_state(mesh or DEFAULT_MESH)
    except NoSuchMesh as error:
        if mesh:
            raise
        raise LocalError(f"{error}, or name a cluster with --kubeconfig: there is no {KUBECONFIG}") from error
    url = decode_mesh(read_state(state, state.mesh)).url
    try:
        return page(f"{url}/debug/traffic?{urlencode(parameters)}", PATIENCE)
    except OSError as error:
        raise LocalError(f"the controller of mesh {mesh or DEFAULT_MESH!r} does not answer: {error}") from error


async def _cluster(where: Where, parameters: Mapping[str, str]) -> tuple[int, bytes]:
    """By the aggregated API, so that the cluster's own rights decide."""
    namespace = _scope(parameters)
    scope = f"/namespaces/{namespace}" if namespace else ""
    path = f"/apis/{GROUP}/{VERSIONS[0]}{scope}/{TRAFFIC}"
    said = {name: value for name, value in parameters.items() if name != "namespace"}
    try:
        async with ApiServer(await by_kubeconfig(where.kubeconfig, where.context)) as api:
            return 200, msgspec.json.encode(await api.get(path, **said))
    except NoCluster as error:
        raise LocalError(str(error)) from error
    except ApiError as error:
        if error.status == 404 and "could not find the requested resource" in error.message:
            raise LocalError("this cluster has no mesh, or one without TrafficMetrics: see smi check") from error
        return error.status, (error.message if error.status else str(error)).encode()


def _scope(parameters: Mapping[str, str]) -> str:
    """The namespace that is asked about, empty for the whole cluster: rights are per namespace."""
    wanted = resource(parameters["resource"], parameters.get("namespace", ""))
    return wanted.name if wanted.kind == NAMESPACE else wanted.namespace


def where_options(command: Command) -> Command:
    """``--name`` for a local mesh, ``--kubeconfig`` and ``--context`` for a cluster's; given on as ``where``."""

    @wraps(command)
    def with_where(mesh: str | None, kubeconfig: str | None, context: str | None, **given: Any) -> Any:
        if mesh and (kubeconfig or context):
            raise click.UsageError("--name is a local mesh's; --kubeconfig and --context are a cluster's")
        return command(where=Where(mesh=mesh or "", kubeconfig=kubeconfig, context=context), **given)

    options = (
        click.option("--context", metavar="NAME", help="The context of that file to use, instead of the current one."),
        click.option(
            "--kubeconfig", metavar="FILE", help="Ask a cluster by this file, instead of KUBECONFIG or ~/.kube/config."
        ),
        click.option(
            "--name", "mesh", type=dns_label, default=None,
            help="Ask the local mesh of this name.  [default: mesh, if that runs; else the cluster's]",
        ),
    )  # fmt: skip
    found: Any = with_where
    for option in options:
        found = option(found)
    return cast(Command, found)


def asked(text: str, namespace: str | None, *, everywhere: bool) -> tuple[Resource, dict[str, str]]:
    """``KIND[/NAME]`` as a command was given it, and as parameters of the question."""
    if everywhere and namespace is not None:
        raise click.UsageError("-n and -A cannot be given together")
    scope = "" if everywhere else namespace or DEFAULT_NAMESPACE
    try:
        found = resource(text, scope)
    except NoSuchKind as error:
        raise click.UsageError(str(error)) from error
    return found, {"resource": text, "namespace": scope}


def scope_options(command: Command) -> Command:
    """``-n`` and ``-A``."""
    command = click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="All namespaces.")(command)
    return click.option(
        "-n",
        "--namespace",
        type=dns_label,
        default=None,
        help=f"The namespace to look at.  [default: {DEFAULT_NAMESPACE}]",
    )(command)


def window_option(command: Command) -> Command:
    """``-t``."""
    return click.option(
        "-t",
        "--time-window",
        "seconds",
        type=duration,
        default="30s",
        show_default=True,
        help="How far to look back, 10m at most.",
    )(command)


def show(output: str, answer: msgspec.Struct, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints an answer as JSON or YAML, or ``rows`` as a table below ``header``."""
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(answer), indent=2).decode())
    elif output == "yaml":
        click.echo(msgspec.yaml.encode(answer).decode(), nl=False)
    else:
        for line in table([header, *rows]):
            click.echo(line)


def nothing(text: str) -> None:
    """Says on stderr why there is no table; scripts that read stdout see an empty one."""
    click.echo(text, err=True)
    sys.exit(0)


def not_found(found: Resource) -> str:
    """As kubectl has it."""
    where = f" in {found.namespace} namespace" if found.namespace and found.kind != NAMESPACE else ""
    return f"No {found.kind}s found{where}."


def share(value: float | None) -> str:
    """``99.50%``."""
    return NOTHING if value is None else f"{value:.2%}"


def rate(measured: Stats) -> str:
    """``1.5rps``."""
    return f"{measured.rps:.1f}rps" if measured.requests else NOTHING


def milliseconds(value: float | None) -> str:
    """Three digits, as many as mean something: ``1.23ms``, ``12.3ms``, ``123ms``, ``12.3s``."""
    if value is None:
        return NOTHING
    if value >= 9999.5:
        return f"{value / 1000:.1f}s"
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}ms"


def latencies(measured: Stats) -> tuple[str, str, str]:
    """The median, and the 95th and 99th percentile."""
    return milliseconds(measured.p50_ms), milliseconds(measured.p95_ms), milliseconds(measured.p99_ms)
