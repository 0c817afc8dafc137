"""Lists that are read in pages: what was found for the first page is kept for the others, for some time. Pure.

Nothing of it was narrowed to what somebody may see, yet it is found again only by who began the list and asks the same
question: rights are looked at anew for each page. A list that another controller began cannot be known here: it goes on
with what is found here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from translator.metricsapi.bodies import Moment
from translator.metricsapi.items import Item
from translator.metricsapi.status import Refused

KEPT_SECONDS: Final = 60.0
"""After its latest page, which some clients take their time to read. The API server keeps its own for minutes."""

MOST_LISTS: Final = 32
MOST_OF_ONE: Final = 8
"""Of one user: who reads more at once loses the first of them."""

MOST_ITEMS: Final = 100_000
"""In all lists together. The latest is kept, however long it is."""

EXPIRED: Final = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)
"""In the words of the API server (``k8s.io/apiserver``), which its clients' users know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Who asks for what. ``query`` has what decides about what is found, not how it is shown."""

    user: Hashable
    version: str
    segments: tuple[str, ...]
    query: tuple[tuple[str, str], ...]


DECIDING: Final = ("fieldSelector", "labelSelector", "t")


def question_of(user: object, version: str, segments: tuple[str, ...], query: Mapping[str, str]) -> Question:
    """Of a request."""
    deciding = tuple((name, query[name]) for name in DECIDING if query.get(name))
    return Question(user=user, version=version, segments=segments, query=deciding)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What was found, in order, and when. Not to be changed."""

    found: Sequence[Item]
    moment: Moment


class Listings:
    """Those begun lately. ``life``: eight hexadecimal digits, this process' own; ``clock`` gives monotonic seconds."""

    def __init__(self, life: str, clock: Callable[[], float]) -> None:
        self._life, self._clock = life, clock
        self._begun = 0
        self._kept: dict[str, tuple[float, Question, Listing]] = {}

    def name(self) -> str:
        """For a list that begins."""
        self._begun += 1
        return f"{self._life}-{self._begun}"

    def get(self, name: str, question: Question, skip: int) -> Listing | None:
        """The list of that name; None where it has to be made. Raises ``Refused`` (410) if it is not kept any more.

        Of several controllers each gets some of a list's pages, with names that another gave: any answer to the same
        question does then.
        """
        if not name:
            return None
        self.forget()
        if not name.startswith(f"{self._life}-"):
            return next((listing for _, of, listing in reversed(self._kept.values()) if of == question), None)
        kept = self._kept.get(name)
        if kept is None or kept[1] != question:
            raise Refused(410, EXPIRED, token=str(skip))
        return kept[2]

    def keep(self, name: str, question: Question, listing: Listing) -> None:
        """For its next pages. Whatever is then too much goes, what was not asked for the longest first."""
        self.forget()
        self._kept.pop(name, None)
        self._kept[name] = self._clock() + KEPT_SECONDS, question, listing
        own = [one for one, (_, of, _) in self._kept.items() if of.user == question.user]
        for one in own[:-MOST_OF_ONE]:
            del self._kept[one]
        while len(self._kept) > 1 and (len(self._kept) > MOST_LISTS or self.items > MOST_ITEMS):
            del self._kept[next(iter(self._kept))]

    @property
    def items(self) -> int:
        """How many are kept."""
        return sum(len(listing.found) for _, _, listing in self._kept.values())

    def forget(self) -> None:
        """Drops those whose time is over."""
        now = self._clock()
        for name in [name for name, (until, _, _) in self._kept.items() if until <= now]:
            del self._kept[name]
