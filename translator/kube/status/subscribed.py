"""How far this controller's own sidecars are, kept up to date.

After every change somebody looks, and in a mesh of thousands it has moved a few: only these are gone through again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

from translator.dependencies import NONE, ObjectKey, ObjectVersion
from translator.findings import Finding
from translator.kube.status.progress import SHOWN, Away, Progress, Row, key_of
from translator.reconcile import Reconciler, Subscriber

MOST_MOVED: Final = 10_000
"""Objects told by name, and sidecars not looked at yet: where nobody asks, neither may grow without end."""

UNREVIEWED: Final = frozenset({"Pod", "Namespace"})
"""Kinds that nobody looks through but the compiler: what is wrong with them, the sidecar's own controller knows."""


class _Share(NamedTuple):
    """What one sidecar adds. Its newest config is of ``objects``; ``behind`` are those that it does not run on yet."""

    connected: bool = False
    objects: frozenset[ObjectVersion] = NONE
    behind: frozenset[ObjectVersion] = NONE
    refuses: str | None = None
    findings: tuple[Finding, ...] = ()

    @classmethod
    def of(cls, known: Subscriber) -> _Share:
        if known.connected_since is None:
            return cls(objects=known.objects, findings=known.findings)
        behind = known.objects - known.programmed if known.programmed != known.objects else NONE
        refuses = known.refuses.reason if behind and known.refuses is not None else None
        return cls(True, known.objects, behind, refuses, known.findings)


_NOTHING = _Share()


@dataclass(slots=True)
class _Tally:
    """One version of one object. ``behind`` are pods and why they refuse; most only wait."""

    concerned: int = 0
    behind: dict[str, str | None] = field(default_factory=dict)


class Subscribed:
    """One controller's, as of the last ``look``."""

    def __init__(self, reconciler: Reconciler) -> None:
        self.reconciler = reconciler
        self._due = reconciler.follow()
        self._shares: dict[str, _Share] = {}
        self._tallies: dict[ObjectKey, dict[ObjectVersion, _Tally]] = {}
        self._connected: dict[str, None] = {}
        self._away: dict[str, Away] = {}
        self._refused: dict[str, frozenset[ObjectVersion]] = {}
        self._findings: Counter[Finding] = Counter()
        self._moved: set[ObjectKey] | None = set()

    def tidy(self) -> None:
        """For where nobody looks."""
        if len(self._due) > MOST_MOVED:
            self.look()

    @property
    def connected(self) -> Set[str]:
        """Pods."""
        return self._connected.keys()

    @property
    def away(self) -> tuple[Away, ...]:
        """Sidecars that were connected once."""
        return tuple(self._away.values())

    @property
    def refused(self) -> set[ObjectKey]:
        """The objects that any sidecar does not take."""
        return {key_of(version) for versions in self._refused.values() for version in versions}

    @property
    def findings(self) -> Set[Finding]:
        """What compiling for them has found, each once."""
        return self._findings.keys()

    def look(self) -> None:
        """Goes through those that have moved."""
        while self._due:
            pod = self._due.pop()
            known, before = self.reconciler.subscribers.get(pod), self._shares.pop(pod, _NOTHING)
            share = _Share.of(known) if known is not None else _NOTHING
            if known is not None:
                self._shares[pod] = share
            if share != before:
                self._take(pod, before, share)

    def news(self) -> set[ObjectKey] | None:
        """The objects of which the rows are other than at the last call; None: too many to name."""
        moved, self._moved = self._moved, set()
        return moved

    def rows(self, key: ObjectKey) -> Iterator[Row]:
        """Of one object, a row for each version of it that anybody runs on or should."""
        for version, tally in self._tallies.get(key, {}).items():
            behind = tally.behind.items()
            refused = ((pod, reason) for pod, reason in behind if reason is not None)
            yield Row(
                version=version,
                concerned=tally.concerned,
                programmed=tally.concerned - len(behind),
                waiting=tuple(islice((pod for pod, reason in behind if reason is None), SHOWN)),
                refused=tuple(islice(refused, SHOWN)),
            )

    def progress(self) -> Progress:
        """All of it, for other controllers."""
        self.look()
        return Progress(
            settled=self.reconciler.settled,
            connected=tuple(sorted(self.connected)),
            rows=tuple(row for key in self._tallies for row in self.rows(key)),
            away=self.away,
            findings=tuple(sorted(one for one in self.findings if one.kind in UNREVIEWED)),
        )

    def _take(self, pod: str, before: _Share, share: _Share) -> None:
        """``share`` instead of ``before``."""
        self._findings.update(share.findings)
        self._findings.subtract(before.findings)
        for one in before.findings:
            if not self._findings[one]:
                del self._findings[one]
        for kept in (self._connected, self._away, self._refused):
            kept.pop(pod, None)
        if share.connected:
            self._connected[pod] = None
        elif share.objects:
            self._away[pod] = Away(pod=pod, objects=tuple(sorted(share.objects)))
        if share.refuses is not None:
            self._refused[pod] = share.behind
        old, new = (one.objects if one.connected else NONE for one in (before, share))
        again = share.behind if share.refuses != before.refuses else share.behind - before.behind
        for version in new - old:
            self._tally(version).concerned += 1
        for version in before.behind - share.behind:
            del self._tally(version).behind[pod]
        for version in again:
            self._tally(version).behind[pod] = share.refuses
        for version in old - new:
            self._leave(version)

    def _tally(self, version: ObjectVersion) -> _Tally:
        key = key_of(version)
        if self._moved is not None:
            self._moved.add(key)
            if len(self._moved) > MOST_MOVED:
                self._moved = None
        return self._tallies.setdefault(key, {}).setdefault(version, _Tally())

    def _leave(self, version: ObjectVersion) -> None:
        tally, key = self._tally(version), key_of(version)
        tally.concerned -= 1
        if not tally.concerned:
            del self._tallies[key][version]
        if not self._tallies[key]:
            del self._tallies[key]
