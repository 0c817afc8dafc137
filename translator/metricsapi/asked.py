"""What a request asks for: path and query, read strictly. Pure.

/KIND   /KIND/NAME (of what has no namespace)   /namespaces/NS/KIND   /namespaces/NS/KIND/NAME   ‥/NAME/edges
t=30s  labelSelector  fieldSelector  limit  continue  includeObject  watch  timeoutSeconds  resourceVersion

Selectors are ``translator.metricsapi.selectors``'.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from translator.metricsapi.godurations import seconds_of
from translator.metricsapi.kinds import RESOURCES, Kind
from translator.metricsapi.selectors import Labels, field_selector, label_selector
from translator.metricsapi.status import Refused
from translator.traffic import KEPT_SECONDS

DEFAULT_SECONDS: Final = 30.0
MOST_ITEMS: Final = 10_000

_IGNORED = frozenset(
    {"pretty", "resourceVersion", "resourceVersionMatch", "allowWatchBookmarks", "sendInitialEvents", "timeout"}
)
"""What Kubernetes' clients add, and what changes nothing here. ``timeout`` is kubectl's ``--request-timeout``."""

_TOKEN = re.compile(r"([0-9]{1,9})(?:\.([0-9a-f]{8}-[0-9]{1,12}))?")
_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")


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
    listing: str
    """The list of which it is a further page (``translator.metricsapi.pages``); empty: of one that is made anew."""
    include: str
    watch: bool
    timeout: float

    @property
    def only(self) -> str:
        """The name that ``fieldSelector`` lets through alone, empty if there is none."""
        names = {value for field, equal, value in self.fields if field == "metadata.name" and equal}
        return names.pop() if len(names) == 1 else ""


def asked(segments: tuple[str, ...], query: Mapping[str, str], longest: float = KEPT_SECONDS) -> Asked:
    """``segments`` are those of the path behind the version, ``longest`` is the longest window. Raises ``Refused``."""
    kind, namespace, name, edges = _place(segments)
    unknown = query.keys() - _IGNORED - _KNOWN
    if unknown:
        raise Refused(400, f"{min(unknown)[:64]}: there is no such parameter; there are {', '.join(sorted(_KNOWN))}")
    skip, listing = _token(query.get("continue", ""))
    return Asked(
        kind=kind,
        namespace=namespace,
        name=name,
        edges=edges,
        seconds=_window(query.get("t", ""), longest),
        labels=label_selector(query.get("labelSelector", "")),
        fields=field_selector(query.get("fieldSelector", "")),
        limit=_whole(query, "limit") or MOST_ITEMS,
        skip=skip,
        listing=listing,
        include=_include(query.get("includeObject", "Metadata")),
        watch=_watched(query) and (edges or not name),
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


def _window(text: str, longest: float) -> float:
    if not text:
        return DEFAULT_SECONDS
    try:
        seconds = seconds_of(text)
    except ValueError as error:
        raise Refused(400, f"t: {error}") from error
    if not 1e-9 <= seconds <= longest:
        raise Refused(400, f"t: {text} is no window that can be looked at: counts are kept for {longest / 60:g}m")
    return seconds


def _watched(query: Mapping[str, str]) -> bool:
    """As the API server reads it: whatever is there and does not say no. One object alone is read, not watched."""
    return "watch" in query and query["watch"].lower() not in ("0", "false")


def _whole(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "") or "0"
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Refused(400, f"{name}: not a whole number from 0 on")
    return int(text)


def _token(text: str) -> tuple[int, str]:
    """How many items of which list the pages before had."""
    found = _TOKEN.fullmatch(text or "0")
    if found is None:
        raise Refused(400, "continue: not what a page before this one said")
    return int(found[1]), found[2] or ""


def _include(text: str) -> str:
    if text not in ("None", "Metadata", "Object"):
        raise Refused(400, "includeObject: must be None, Metadata or Object")
    return text
