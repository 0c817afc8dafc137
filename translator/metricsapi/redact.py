"""Answers to questions about one namespace, without what is told of others to those who may not ask there. Pure."""

from __future__ import annotations

from collections.abc import Container

from msgspec.structs import replace

from translator.rows import Answer, EdgeAnswer, EdgeRow, TopAnswer, TopRow


def namespaces(answer: Answer) -> frozenset[str]:
    """Those that an answer names peers in."""
    if isinstance(answer, EdgeAnswer):
        found = {name for row in answer.rows for name in (row.source_namespace, row.destination_namespace)}
    elif isinstance(answer, TopAnswer):
        found = {_namespace(key) for row in answer.rows for key in (row.source, row.destination)}
    else:
        found = set()
    return frozenset(found - {""})


def redacted(answer: Answer, allowed: Container[str]) -> Answer:
    """Ends in namespaces that are not ``allowed`` are left empty; the numbers stay."""
    if isinstance(answer, EdgeAnswer):
        return replace(answer, rows=[_edge(row, allowed) for row in answer.rows])
    if isinstance(answer, TopAnswer):
        return replace(answer, rows=[_top(row, allowed) for row in answer.rows])
    return answer


def _edge(row: EdgeRow, allowed: Container[str]) -> EdgeRow:
    if _identity_namespace(row.client_id, row.source_namespace) not in allowed:
        row = replace(row, source="", source_namespace="", client_id="")
    if row.destination_namespace not in allowed:
        row = replace(row, destination="", destination_namespace="", server_id="")
    return row


def _identity_namespace(identity: str, namespace: str) -> str:
    parts = identity.split("/")
    return namespace or (parts[4] if len(parts) == 7 else "")


def _top(row: TopRow, allowed: Container[str]) -> TopRow:
    source = row.source if _namespace(row.source) in allowed else ""
    return replace(row, source=source, destination=row.destination if _namespace(row.destination) in allowed else "")


def _namespace(key: str) -> str:
    return key.partition("/")[0] if "/" in key else ""
