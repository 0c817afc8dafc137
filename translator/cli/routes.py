"""``smi routes``."""

from __future__ import annotations

import click

from translator.cli import traffic
from translator.cli.command import Command
from translator.rows import RouteAnswer, RouteRow

DEFAULT = "[DEFAULT]"
HEADER = ("ROUTE", "EFFECTIVE_SUCCESS", "EFFECTIVE_RPS", "ACTUAL_SUCCESS", "ACTUAL_RPS",
          "LATENCY_P50", "LATENCY_P95", "LATENCY_P99")  # fmt: skip


@click.command(cls=Command, exits=traffic.EXITS)
@click.argument("resource", metavar="KIND/NAME")
@traffic.where_options
@traffic.scope_options
@traffic.window_option
@traffic.output_option("table", "json", "yaml")
def routes(
    resource: str, where: traffic.Where, namespace: str | None, everywhere: bool, seconds: float, output: str
) -> None:
    """Show the requests to a Service, workload or pod by the match of an HTTPRouteGroup that they met.

    Matches are met where a TrafficSplit or a TrafficTarget refers to them. EFFECTIVE is what callers saw, by their
    sidecars; ACTUAL what arrived, by the servers' sidecars. Latencies are the callers', where they know the match.
    """
    _, parameters = traffic.asked(resource, namespace, everywhere=everywhere)
    answer = traffic.ask(where, {**parameters, "view": "routes", "seconds": str(seconds)}, RouteAnswer)
    traffic.show(output, answer, HEADER, [line(row) for row in answer.rows])


def line(row: RouteRow) -> tuple[str, ...]:
    """The cells of one route."""
    effective, actual = row.effective, row.actual
    return (
        row.route or DEFAULT,
        traffic.share(effective.success_rate),
        traffic.rate(effective),
        traffic.share(actual.success_rate),
        traffic.rate(actual),
        *traffic.latencies(effective if effective.requests else actual),
    )
