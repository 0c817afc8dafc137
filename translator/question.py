"""A question about traffic, as the API is asked it, and its answer. Pure.

    view=stat        resource=KIND[/NAME]   namespace=NS (all, if there is none)   seconds=30
                     from=KIND[/NAME] fromNamespace=NS | to=KIND[/NAME] toNamespace=NS
    view=routes      resource=KIND/NAME
    view=edges, top  resource=KIND[/NAME]

Next: ``translator.views``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

from translator import views
from translator.observed import Observed
from translator.resources import TRAFFIC_SPLIT, NoSuchKind, Resource, resource
from translator.rows import Answer, EdgeAnswer, RouteAnswer, SplitAnswer, StatAnswer, TopAnswer
from translator.traffic import KEPT_SECONDS

View = Literal["stat", "routes", "edges", "top"]

DEFAULT_SECONDS = 30.0
"""Of a window that is not said: as TrafficMetrics has it."""

_PARAMETERS = frozenset(
    {"view", "resource", "namespace", "seconds", "from", "fromNamespace", "to", "toNamespace"}
)  # fmt: skip


class BadQuestion(ValueError):
    """A question that cannot be understood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked: of the last ``seconds``."""

    view: View
    asked: Resource
    seconds: float = DEFAULT_SECONDS
    source: Resource | None = None
    destination: Resource | None = None


def question(said: Mapping[str, str]) -> Question:
    """Reads the parameters of a query. Raises ``BadQuestion``."""
    unknown = sorted(said.keys() - _PARAMETERS)
    if unknown:
        raise BadQuestion(f"{unknown[0]}: there is no such parameter; there are {', '.join(sorted(_PARAMETERS))}")
    view = said.get("view", "stat")
    if view not in get_args(View):
        raise BadQuestion(f"view: {view!r} is not one of {', '.join(get_args(View))}")
    namespace = said.get("namespace", "")
    try:
        asked = resource(said.get("resource", "deployments"), namespace)
        source = resource(said["from"], said.get("fromNamespace", namespace)) if "from" in said else None
        destination = resource(said["to"], said.get("toNamespace", namespace)) if "to" in said else None
    except NoSuchKind as error:
        raise BadQuestion(str(error)) from error
    if (source or destination) and view != "stat":
        raise BadQuestion(f"from and to are for view=stat, not for {view}")
    if source and destination:
        raise BadQuestion("from and to cannot be asked together")
    return Question(
        view=cast(View, view),
        asked=asked,
        seconds=_seconds(said.get("seconds", str(DEFAULT_SECONDS))),
        source=source,
        destination=destination,
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise BadQuestion(f"seconds: {text!r} is no number") from None
    if not 0 < seconds <= KEPT_SECONDS:
        most = f"counts are kept for {KEPT_SECONDS:g} s"
        raise BadQuestion(f"a window of {seconds:g} s cannot be looked at: one is longer than 0 s, and {most}")
    return seconds


def answer(asked: Question, observed: Observed) -> Answer:
    """Raises ``BadQuestion`` for what has no answer, ``translator.views.NotThere`` for a name that nothing has."""
    window, covered = asked.seconds, round(observed.seconds, 3)
    try:
        match asked.view:
            case "stat" if asked.asked.kind == TRAFFIC_SPLIT:
                if asked.destination is not None:
                    raise BadQuestion("a TrafficSplit sends no requests of its own")
                split_rows = views.splits(observed, asked.asked, source=asked.source)
                return SplitAnswer(window=window, seconds=covered, rows=split_rows)
            case "stat":
                rows = views.stat(observed, asked.asked, source=asked.source, destination=asked.destination)
                return StatAnswer(window=window, seconds=covered, rows=rows)
            case "routes":
                return RouteAnswer(window=window, seconds=covered, rows=views.routes(observed, asked.asked))
            case "edges":
                return EdgeAnswer(window=window, seconds=covered, rows=views.edges(observed, asked.asked))
            case "top":
                return TopAnswer(window=window, seconds=covered, rows=views.top(observed, asked.asked))
    except NoSuchKind as error:
        raise BadQuestion(str(error)) from error
