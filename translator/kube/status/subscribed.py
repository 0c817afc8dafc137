"""How far this controller's own sidecars are."""

from __future__ import annotations

from collections.abc import Iterable

from translator.dependencies import ObjectVersion
from translator.kube.status.progress import SHOWN, Away, Progress, Row
from translator.reconcile import Reconciler, Subscriber


def progress(reconciler: Reconciler) -> Progress:
    """Of one controller."""
    subscribers = reconciler.subscribers.values()
    here = [known for known in subscribers if known.connected_since is not None]
    return Progress(
        settled=reconciler.settled,
        connected=tuple(sorted(known.pod for known in here)),
        rows=tuple(_rows(here)),
        away=tuple(
            Away(pod=known.pod, objects=tuple(sorted(known.objects)))
            for known in subscribers
            if known.connected_since is None and known.objects
        ),
    )


def _rows(here: Iterable[Subscriber]) -> Iterable[Row]:
    # Most sidecars depend on what many others depend on: they are gone through by the set and not by the object.
    known_by_set: dict[frozenset[ObjectVersion], list[Subscriber]] = {}
    for known in here:
        if known.objects:
            known_by_set.setdefault(known.objects, []).append(known)
    concerned: dict[ObjectVersion, int] = {}
    others: dict[ObjectVersion, list[Subscriber]] = {}
    for objects, several in known_by_set.items():
        behind = [known for known in several if known.programmed != objects]
        for version in objects:
            concerned[version] = concerned.get(version, 0) + len(several)
            others.setdefault(version, []).extend(known for known in behind if version not in known.programmed)
    for version, count in concerned.items():
        refusals = ((known.pod, known.refuses.reason) for known in others[version] if known.refuses is not None)
        yield Row(
            version=version,
            concerned=count,
            programmed=count - len(others[version]),
            waiting=tuple(known.pod for known in others[version] if known.refuses is None)[:SHOWN],
            refused=tuple(refusals)[:SHOWN],
        )
