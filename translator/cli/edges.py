"""``smi edges``."""

from __future__ import annotations

import click

from translator.cli import traffic
from translator.cli.command import Command
from translator.cli.params import output_option
from translator.rows import EdgeAnswer, EdgeRow, short

HEADER = ("SRC", "DST", "SRC_NS", "DST_NS", "CLIENT_ID", "SERVER_ID", "SECURED")


@click.command(cls=Command, exits=traffic.EXITS, short_help="Show who called whom, and by which identities.")
@click.argument("resource", metavar="[KIND[/NAME]]", default="workloads")
@traffic.where_options
@traffic.scope_options
@traffic.window_option
@output_option("table", "wide", "json", "yaml")
def edges(
    resource: str, where: traffic.Where, namespace: str | None, everywhere: bool, seconds: float, output: str
) -> None:
    """Show who called whom, and the identities that both showed (namespace/serviceaccount).

    SECURED has √ where both ends proved who they are: mutual TLS.
    """
    _, parameters = traffic.asked(resource, namespace, everywhere=everywhere)
    answer = traffic.ask(where, {**parameters, "view": "edges", "seconds": str(seconds)}, EdgeAnswer)
    wide = output == "wide"
    if not answer.rows and output in ("table", "wide"):
        traffic.nothing(f"No edges: no requests in the last {seconds:g} s.")
    header = (*HEADER, "SUCCESS", "RPS", "REQUESTS") if wide else HEADER
    traffic.show(output, answer, header, [line(row, wide=wide) for row in answer.rows])


def line(row: EdgeRow, *, wide: bool) -> tuple[str, ...]:
    """The cells of one edge; ``wide`` has the SPIFFE IDs in full, and numbers."""
    client, server = (row.client_id, row.server_id) if wide else (short(row.client_id), short(row.server_id))
    cells = (
        row.source,
        row.destination,
        row.source_namespace,
        row.destination_namespace,
        client,
        server,
        "√" if row.secured else "×",
    )
    more = (traffic.share(row.stats.success_rate), traffic.rate(row.stats), str(row.stats.requests)) if wide else ()
    return (*(cell or traffic.NOTHING for cell in cells), *more)
