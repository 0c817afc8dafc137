"""``smi stat``."""

from __future__ import annotations

from typing import TypedDict, Unpack

import click

from translator.cli import traffic
from translator.cli.command import Command
from translator.cli.params import dns_label, output_option
from translator.resources import NAMESPACE, TRAFFIC_SPLIT, Resource
from translator.rows import SplitAnswer, SplitRow, StatAnswer, StatRow

LATENCIES = ("LATENCY_P50", "LATENCY_P95", "LATENCY_P99")
WIDE = ("REQUESTS", "FAILURES")


class Given(TypedDict):
    """What click passes."""

    resource: str
    where: traffic.Where
    namespace: str | None
    everywhere: bool
    seconds: float
    source: str | None
    source_namespace: str | None
    destination: str | None
    destination_namespace: str | None
    output: str


@click.command(cls=Command, exits=traffic.EXITS, short_help="Show success, rate and latency of workloads, pods, …")
@click.argument("resource", metavar="[KIND[/NAME]]", default="deploy")
@traffic.where_options
@traffic.scope_options
@traffic.window_option
@click.option("--from", "source", metavar="KIND[/NAME]", help="Only what comes from there, as the callers count it.")
@click.option(
    "--from-namespace", "source_namespace", type=dns_label, help="The namespace of --from.  [default: that of -n]"
)
@click.option("--to", "destination", metavar="KIND[/NAME]", help="What is sent there, not what is received.")
@click.option(
    "--to-namespace", "destination_namespace", type=dns_label, help="The namespace of --to.  [default: that of -n]"
)
@output_option("table", "wide", "json", "yaml")
def stat(**given: Unpack[Given]) -> None:
    """Show success, requests per second and latency of deployments (deploy), statefulsets (sts), pods (po),
    namespaces (ns), services (svc), TrafficSplits (ts) and TrafficTargets (tt).

    \b
    Of workloads and pods: the requests they received, as their own sidecars count them.
    Of Services: the requests sent to them, by their own name or by a split, as the callers' sidecars do.
    Of TrafficSplits: a row per backend, with its weight and the share it really got.
    Of TrafficTargets: the requests that they let in.

    A success is an answer with a status below 500.
    """
    found, parameters = traffic.asked(given["resource"], given["namespace"], everywhere=given["everywhere"])
    parameters |= {"view": "stat", "seconds": str(given["seconds"]), **_ends(given)}
    output = given["output"]
    if found.kind == TRAFFIC_SPLIT:
        splits = traffic.ask(given["where"], parameters, SplitAnswer)
        header, lines = split_table(splits.rows, found, wide=output == "wide")
        _show(output, splits, header, lines, found)
    else:
        answer = traffic.ask(given["where"], parameters, StatAnswer)
        header, lines = stat_table(answer.rows, found, wide=output == "wide")
        _show(output, answer, header, lines, found)


def _ends(given: Given) -> dict[str, str]:
    if given["source"] and given["destination"]:
        raise click.UsageError("--from and --to cannot be given together")
    if (given["source_namespace"] and not given["source"]) or (
        given["destination_namespace"] and not given["destination"]
    ):
        raise click.UsageError("--from-namespace and --to-namespace need --from and --to")
    said = {
        "from": given["source"],
        "fromNamespace": given["source_namespace"],
        "to": given["destination"],
        "toNamespace": given["destination_namespace"],
    }
    return {name: value for name, value in said.items() if value is not None}


def _show(
    output: str,
    answer: StatAnswer | SplitAnswer,
    header: tuple[str, ...],
    lines: list[tuple[str, ...]],
    found: Resource,
) -> None:
    if not lines and output in ("table", "wide"):
        traffic.nothing(traffic.not_found(found))
    traffic.show(output, answer, header, lines)


Table = tuple[tuple[str, ...], list[tuple[str, ...]]]


def stat_table(rows: list[StatRow], found: Resource, *, wide: bool) -> Table:
    """Header and lines; with a column for the namespace where there may be several."""
    several = not found.namespace and found.kind != NAMESPACE
    header = (*(("NAMESPACE",) if several else ()), "NAME", "MESHED", "SUCCESS", "RPS", *LATENCIES)
    lines = []
    for row in rows:
        meshed = traffic.NOTHING if row.meshed is None else f"{row.meshed}/{row.pods}"
        measured = row.stats
        cells = (row.name, meshed, traffic.share(measured.success_rate), traffic.rate(measured))
        more = (str(measured.requests), str(measured.failure), str(row.denied)) if wide else ()
        lines.append((*((row.namespace,) if several else ()), *cells, *traffic.latencies(measured), *more))
    return (*header, *((*WIDE, "DENIED") if wide else ())), lines


def split_table(rows: list[SplitRow], found: Resource, *, wide: bool) -> Table:
    """Header and lines, one for each backend."""
    several = not found.namespace
    header = (*(("NAMESPACE",) if several else ()), "NAME", "APEX", "LEAF", "WEIGHT", "SHARE", "SUCCESS", "RPS")
    lines = []
    for row in rows:
        measured = row.stats
        cells = (
            row.name,
            row.apex,
            row.leaf,
            row.weight or traffic.NOTHING,
            traffic.share(row.share),
            traffic.share(measured.success_rate),
            traffic.rate(measured),
        )
        more = (str(measured.requests), str(measured.failure)) if wide else ()
        lines.append((*((row.namespace,) if several else ()), *cells, *traffic.latencies(measured), *more))
    return (*header, *LATENCIES, *(WIDE if wide else ())), lines
