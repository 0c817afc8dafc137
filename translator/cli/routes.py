"""``smi routes``."""

from __future__ import annotations

import click

from translator.cli import traffic
from translator.cli.command import Command
from translator.cli.params import output_option
from translator.rows import RouteAnswer, RouteRow

DEFAULT = "[DEFAULT]"
HEADER = ("ROUTE", "EFFECTIVE_SUCCESS", "EFFECTIVE_RPS", "ACTUAL_SUCCESS", "ACTUAL_RPS",
          "LATENCY_P50", "LATENCY_P95", "LATENCY_P99")  # fmt: skip


@click.command(cls=Command, exits=traffic.EXITS, short_help="Show requests by the route (HTTP match) that they met.")
@click.argument("resource", metavar="KIND/NAME")
@traffic.where_options
@traffic.scope_options
@traffic.window_option
@output_option("table", "wide", "json", "yaml")
def routes(
    resource: str, where: traffic.Where, namespace: str | None, everywhere: bool, seconds: float, output: str
) -> None:
    """Show the requests to a Service, workload or pod by the match of an HTTPRouteGroup that they met.

    Matches are met where a TrafficSplit or a TrafficTarget refers to them. EFFECTIVE is what callers saw, by their
    sidecars; ACTUAL what arrived, by the servers' sidecars. Latencies are the callers', where they know the match.
    """
    _, parameters = traffic.asked(resource, namespace, everywhere=everywhere)
    answer = traffic.ask(where, {**parameters, "view": "routes", "seconds": str(seconds)}, RouteAnswer)
    wide = output == "wide"
    header = (*HEADER, "EFFECTIVE_REQUESTS", "ACTUAL_REQUESTS") if wide else HEADER
    traffic.show(output, answer, header, [line(row, wide=wide) for row in answer.rows])


def line(row: RouteRow, *, wide: bool) -> tuple[str, ...]:
    """The cells of one route; ``wide`` has the counts, which differ by retries."""
    effective, actual = row.effective, row.actual
    return (
        row.route or DEFAULT,
        traffic.share(effective.success_rate),
        traffic.rate(effective),
        traffic.share(actual.success_rate),
        traffic.rate(actual),
        *traffic.latencies(effective if effective.requests else actual),
        *((str(effective.requests), str(actual.requests)) if wide else ()),
    )
