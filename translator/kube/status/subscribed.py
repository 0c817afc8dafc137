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
    known_by_version: dict[ObjectVersion, list[Subscriber]] = {}
    for known in here:
        for version in known.objects:
            known_by_version.setdefault(version, []).append(known)
    for version, concerned in known_by_version.items():
        others = [known for known in concerned if version not in known.programmed]
        refusals = ((known.pod, known.refuses.reason) for known in others if known.refuses is not None)
        yield Row(
            version=version,
            concerned=len(concerned),
            programmed=len(concerned) - len(others),
            waiting=tuple(known.pod for known in others if known.refuses is None)[:SHOWN],
            refused=tuple(refusals)[:SHOWN],
        )
