"""What a request asks for: path and query, read strictly. Pure.

/KIND   /KIND/NAME (of what has no namespace)   /namespaces/NS/KIND   /namespaces/NS/KIND/NAME   ‥/NAME/edges
t=30s  labelSelector  fieldSelector  limit  continue  includeObject  watch  timeoutSeconds  resourceVersion
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from translator.metricsapi.kinds import RESOURCES, Kind
from translator.metricsapi.status import Refused
from translator.traffic import KEPT_SECONDS
from translator.values import parse_duration

DEFAULT_SECONDS: Final = 30.0
MOST_ITEMS: Final = 10_000

_IGNORED = frozenset({"pretty", "resourceVersion", "resourceVersionMatch", "allowWatchBookmarks", "sendInitialEvents"})
_FIELDS = frozenset({"resource.kind", "edge.direction", "edge.side", "metadata.name", "metadata.namespace"})
_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """``name`` is empty for a list. ``labels`` says whether an item's labels are meant; ``fields`` must be equal."""

    kind: Kind
    namespace: str
    name: str
    edges: bool
    seconds: float
    labels: Callable[[Labels], bool]
    fields: tuple[tuple[str, bool, str], ...]
    """Field, whether it must be equal (else it must not be), value."""
    limit: int
    skip: int
    include: str
    watch: bool
    timeout: float

    @property
    def verb(self) -> str:
        """As RBAC has it."""
        if self.watch:
            return "watch"
        return "get" if self.name else "list"


def asked(segments: tuple[str, ...], query: Mapping[str, str]) -> Asked:
    """``segments`` are those of the path behind the version. Raises ``Refused``."""
    kind, namespace, name, edges = _place(segments)
    unknown = query.keys() - _IGNORED - _KNOWN
    if unknown:
        raise Refused(400, f"{min(unknown)}: there is no such parameter; there are {', '.join(sorted(_KNOWN))}")
    return Asked(
        kind=kind,
        namespace=namespace,
        name=name,
        edges=edges,
        seconds=_window(query.get("t", "")),
        labels=label_selector(query.get("labelSelector", "")),
        fields=_field_selector(query.get("fieldSelector", "")),
        limit=_whole(query, "limit") or MOST_ITEMS,
        skip=_whole(query, "continue"),
        include=_include(query.get("includeObject", "Metadata")),
        watch=query.get("watch", "").lower() in ("1", "true", "t"),
        timeout=float(_whole(query, "timeoutSeconds")),
    )


_KNOWN = frozenset(
    {"t", "labelSelector", "fieldSelector", "limit", "continue", "includeObject", "watch", "timeoutSeconds"}
)


def _place(segments: tuple[str, ...]) -> tuple[Kind, str, str, bool]:
    path = "/" + "/".join(segments)
    match segments:
        case ("namespaces" | "nodes" as plural,):
            return RESOURCES[plural], "", "", False
        case ("namespaces" | "nodes" as plural, name):
            return RESOURCES[plural], "", _named(name), False
        case ("namespaces" | "nodes" as plural, name, "edges"):
            return RESOURCES[plural], "", _named(name), True
        case (plural,) if plural in RESOURCES:
            return RESOURCES[plural], "", "", False
        case ("namespaces", namespace, plural) if plural in RESOURCES and RESOURCES[plural].namespaced:
            return RESOURCES[plural], _named(namespace), "", False
        case ("namespaces", namespace, plural, name) if plural in RESOURCES and RESOURCES[plural].namespaced:
            return RESOURCES[plural], _named(namespace), _named(name), False
        case ("namespaces", namespace, plural, name, "edges") if plural in RESOURCES and RESOURCES[plural].namespaced:
            return RESOURCES[plural], _named(namespace), _named(name), True
    raise Refused(404, f"the server could not find the requested resource: {path[:200]}")


def _named(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Refused(404, "the server could not find the requested resource: that is no name")
    return name


def _window(text: str) -> float:
    if not text:
        return DEFAULT_SECONDS
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise Refused(400, f"t: {error}") from error
    if not 0 < seconds <= KEPT_SECONDS:
        raise Refused(400, f"t: {text} is no window that can be looked at: counts are kept for {KEPT_SECONDS / 60:g}m")
    return seconds


def _whole(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "") or "0"
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Refused(400, f"{name}: not a whole number from 0 on")
    return int(text)


def _include(text: str) -> str:
    if text not in ("None", "Metadata", "Object"):
        raise Refused(400, "includeObject: must be None, Metadata or Object")
    return text


def _field_selector(text: str) -> tuple[tuple[str, bool, str], ...]:
    found = []
    for part in filter(None, text.split(",")):
        shape = re.fullmatch(r"([A-Za-z.]+)(==|=|!=)(.*)", part)
        if shape is None:
            raise Refused(400, "fieldSelector: must be like field=value or field!=value, with commas between")
        if shape[1] not in _FIELDS:
            raise Refused(400, f"fieldSelector: there is no field {shape[1]!r}; there are {', '.join(sorted(_FIELDS))}")
        found.append((shape[1], shape[2] != "!=", shape[3]))
    return tuple(found)


def label_selector(text: str) -> Callable[[Labels], bool]:
    """Kubernetes' grammar: ``a=b``, ``a!=b``, ``a in (b, c)``, ``a notin (b)``, ``a``, ``!a``. Raises ``Refused``."""
    tests = [_requirement(part.strip()) for part in _parts(text) if part.strip()]
    return lambda labels: all(test(labels) for test in tests)


def _parts(text: str) -> list[str]:
    """At commas that are not within brackets."""
    return re.split(r",(?![^()]*\))", text)


def _requirement(text: str) -> Callable[[Labels], bool]:
    shape = re.fullmatch(r"(!?)\s*([A-Za-z0-9][-A-Za-z0-9_./]*)\s*(.*)", text)
    if shape is not None:
        absent, key, rest = shape[1], shape[2], shape[3].strip()
        if not rest:
            return (lambda labels: key not in labels) if absent else (lambda labels: key in labels)
        equal = re.fullmatch(r"(==|=|!=)\s*([-A-Za-z0-9_.]*)", rest)
        if equal is not None and not absent:
            value = equal[2]
            if equal[1] == "!=":
                return lambda labels: labels.get(key) != value
            return lambda labels: labels.get(key) == value
        among = re.fullmatch(r"(in|notin)\s*\(([-A-Za-z0-9_., ]*)\)", rest)
        if among is not None and not absent:
            values = {one.strip() for one in among[2].split(",")}
            if among[1] == "in":
                return lambda labels: labels.get(key) in values
            return lambda labels: labels.get(key) not in values
    raise Refused(400, "labelSelector: cannot be read; it is like app=web,tier in (a, b),!old")
