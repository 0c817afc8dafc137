"""What is said of others is left out for those who may not ask there. Pure.

Of items and of answers to questions alike: the numbers stay, who they are with does not.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import replace as changed

from msgspec.structs import replace

from translator.metricsapi.items import Item, edge_name, order
from translator.resources import NAMESPACE, Resource
from translator.rows import Answer, EdgeAnswer, EdgeRow, TopAnswer, TopRow
from translator.traffic import Totals

Visible = Callable[[Resource], bool]
"""Whether the asker may see a peer."""


def home(peer: Resource) -> str:
    """The namespace that a resource is in, or is; empty for what is of the whole cluster."""
    return peer.name if peer.kind == NAMESPACE else peer.namespace


def told(found: Iterable[Item], visible: Visible) -> list[Item]:
    """``found``, but edges with peers that may not be seen stand together, in one with those that nobody knows.

    So neither names nor how many there are can be read from it, whatever is selected.
    """
    shown: list[Item] = []
    merged: dict[tuple[Resource, str, str], list[Item]] = {}
    for item in found:
        if item.peer is not None and not visible(item.peer):
            merged.setdefault((item.resource, item.direction, item.side), []).append(item)
        else:
            shown.append(item)
    if not merged:
        return shown
    for item in [one for one in shown if one.peer is None]:
        if (item.resource, item.direction, item.side) in merged:
            shown.remove(item)
            merged[item.resource, item.direction, item.side].append(item)
    for (resource, direction, _), hidden in merged.items():
        name = edge_name(resource, direction, None)
        shown.append(changed(hidden[0], name=name, peer=None, counted=_together(one.counted for one in hidden)))
    return sorted(shown, key=order)


def _together(parts: Iterable[Totals]) -> Totals:
    total = Totals()
    for part in parts:
        total.add(part.packed())
    return total


def namespaces(answer: Answer, kind: str) -> frozenset[str]:
    """Those that an answer about ``kind`` names peers in."""
    found: set[str] = set()
    if isinstance(answer, EdgeAnswer):
        found.update(name for row in answer.rows for name in (_source(row, kind), _destination(row, kind)))
    elif isinstance(answer, TopAnswer):
        found.update(_namespace(key, kind) for row in answer.rows for key in (row.source, row.destination))
    return frozenset(found - {""})


def redacted(answer: Answer, kind: str, allowed: Container[str]) -> Answer:
    """Ends in namespaces that are not ``allowed``, and routes to there, are left empty; the numbers stay."""
    if isinstance(answer, EdgeAnswer):
        return replace(answer, rows=[_edge(row, kind, allowed) for row in answer.rows])
    if isinstance(answer, TopAnswer):
        return replace(answer, rows=[_top(row, kind, allowed) for row in answer.rows])
    return answer


def _edge(row: EdgeRow, kind: str, allowed: Container[str]) -> EdgeRow:
    if _source(row, kind) not in allowed:
        row = replace(row, source="", source_namespace="", client_id="")
    if _destination(row, kind) not in allowed:
        row = replace(row, destination="", destination_namespace="", server_id="")
    return row


def _source(row: EdgeRow, kind: str) -> str:
    parts = row.client_id.split("/")
    return (row.source if kind == NAMESPACE else row.source_namespace) or (parts[4] if len(parts) == 7 else "")


def _destination(row: EdgeRow, kind: str) -> str:
    return row.destination if kind == NAMESPACE else row.destination_namespace


def _top(row: TopRow, kind: str, allowed: Container[str]) -> TopRow:
    source = row.source if _namespace(row.source, kind) in allowed else ""
    if _namespace(row.destination, kind) in allowed:
        return replace(row, source=source)
    return replace(row, source=source, destination="", route="")


def _namespace(key: str, kind: str) -> str:
    """Of ``namespace/name``. A Namespace stands there by its name alone."""
    namespace, slash, _ = key.partition("/")
    return namespace if slash or kind == NAMESPACE else ""
