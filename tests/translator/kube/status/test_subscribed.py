"""One controller's own sidecars are counted as they move, and come to the same as if all were gone through."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json

from proxy.contract.config import Config, Host, spiffe_id
from proxy.contract.messages import Hello, Nack
from translator.compiler import Compiled
from translator.dependencies import ObjectKey, ObjectVersion
from translator.findings import Finding, Reason
from translator.kube.status.progress import SHOWN, Away, Progress, Row, key_of
from translator.kube.status.subscribed import Subscribed
from translator.reconcile import Reconciler, Subscriber

PODS = ("shop/a", "shop/b", "shop/c")
NAMES = ("web", "api")
FINDING = Finding(
    kind="TrafficSplit", namespace="shop", name="web", reason=Reason.SERVICE_NOT_FOUND, message="no Service v2"
)


def version(name: str, generation: int) -> ObjectVersion:
    return ObjectVersion(kind="TrafficSplit", namespace="shop", name=name, uid="u", generation=generation)


class Mesh:
    """Sidecars of a reconciler that compiles nothing by itself."""

    def __init__(self) -> None:
        self.reconciler = Reconciler(lambda *_: Compiled(config=Config()))
        self.configs = 0

    def open(self, pod: str) -> Subscriber:
        return self.reconciler.opened(pod, spiffe_id("cluster.local", "shop", "default"), Hello())

    def offer(self, pod: str, objects: Iterable[ObjectVersion], *findings: Finding) -> None:
        """Compiles something new for it."""
        self.configs += 1
        config = Config(hosts={f"h{self.configs}": Host()})
        known = self.reconciler.subscribers[pod]
        known.offer(Compiled(config=config, findings=findings, objects=frozenset(objects)), urgent=True)
        self.reconciler._moved(pod)

    def answer(self, pod: str, *, takes: bool) -> None:
        """The sidecar says what it makes of what is sent to it, if anything is."""
        known = self.reconciler.subscribers[pod]
        if known.slot.wait(1e9) is None:
            return
        sent = known.slot.take(1e9).version
        if takes:
            self.reconciler.acked(known, sent)
        else:
            current = known.slot.acknowledged.version if known.slot.acknowledged else 0
            self.reconciler.nacked(known, Nack(reason="no", current=current, version=sent))


def recounted(reconciler: Reconciler) -> Progress:
    """By going through every sidecar."""
    here = [known for known in reconciler.subscribers.values() if known.connected_since is not None]
    rows = []
    for one in {one for known in here for one in known.objects}:
        concerned = [known for known in here if one in known.objects]
        behind = [known for known in concerned if one not in known.programmed]
        waiting = tuple(known.pod for known in behind if known.refuses is None)
        refused = tuple((known.pod, known.refuses.reason) for known in behind if known.refuses is not None)
        rows.append(
            Row(
                version=one,
                concerned=len(concerned),
                programmed=len(concerned) - len(behind),
                waiting=waiting,
                refused=refused,
            )
        )
    away = [
        Away(pod=known.pod, objects=tuple(sorted(known.objects)))
        for known in reconciler.subscribers.values()
        if known.connected_since is None and known.objects
    ]
    connected = tuple(known.pod for known in here)
    return Progress(settled=reconciler.settled, connected=connected, rows=tuple(rows), away=tuple(away))


def in_order(found: Progress) -> Progress:
    """There is none: sorted, then."""
    rows = [
        Row(
            version=row.version,
            concerned=row.concerned,
            programmed=row.programmed,
            waiting=tuple(sorted(row.waiting)),
            refused=tuple(sorted(row.refused)),
        )
        for row in sorted(found.rows, key=lambda row: row.version)
    ]
    return Progress(
        settled=found.settled,
        connected=tuple(sorted(found.connected)),
        rows=tuple(rows),
        away=tuple(sorted(found.away, key=lambda gone: gone.pod)),
    )


ACTIONS = ("open", "close", "forget", "offer", "ack", "nack", "look")
OBJECTS = st.frozensets(st.builds(version, st.sampled_from(NAMES), st.integers(1, 3)))


@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.sampled_from(PODS), OBJECTS), max_size=30))
@settings(max_examples=300, deadline=None)
def test_it_is_what_going_through_all_of_them_gives(steps: list[tuple[str, str, frozenset[ObjectVersion]]]) -> None:
    mesh = Mesh()
    reconciler = mesh.reconciler
    own = Subscribed(reconciler)
    for action, pod, objects in steps:
        known = reconciler.subscribers.get(pod)
        if action == "look":
            own.look()
        elif action == "open":
            mesh.open(pod)
        elif known is None:
            continue
        elif action == "close":
            reconciler.closed(known)
        elif action == "forget":
            reconciler._forget(pod)
        elif action == "offer":
            mesh.offer(pod, objects, *([FINDING] if objects else []))
        else:
            mesh.answer(pod, takes=action == "ack")
    found = in_order(own.progress())
    assert found == in_order(recounted(reconciler))
    assert own.findings == {one for known in reconciler.subscribers.values() for one in known.findings}
    assert own.refused == {key_of(row.version) for row in found.rows if row.refused}


def test_what_moved_is_told_by_object() -> None:
    mesh = Mesh()
    own = Subscribed(mesh.reconciler)

    def moved() -> set[ObjectKey]:
        own.look()
        found = own.news()
        assert found is not None
        return found

    web, api = key_of(version("web", 1)), key_of(version("api", 1))
    for pod in PODS:
        mesh.open(pod)
        mesh.offer(pod, {version("api", 1)})
        mesh.answer(pod, takes=True)
    assert moved() == {api}
    mesh.offer("shop/a", {version("api", 1), version("web", 1)})
    assert moved() == {web}, "what it ran on before stays in force"
    mesh.answer("shop/a", takes=False)
    assert moved() == {web}
    mesh.answer("shop/a", takes=True)
    assert moved() == set(), "what was refused is not sent again"
    mesh.reconciler.closed(mesh.reconciler.subscribers["shop/a"])
    assert moved() == {api, web}
    mesh.reconciler.asked(mesh.reconciler.subscribers["shop/b"], ["more"])
    assert moved() == set()


def test_of_too_many_that_moved_it_is_told_that_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("translator.kube.status.subscribed.MOST_MOVED", 3)
    mesh = Mesh()
    own = Subscribed(mesh.reconciler)
    mesh.open("shop/a")
    for number in range(10):
        mesh.offer("shop/a", {version(f"web-{number}", 1)})
        own.look()
    assert own.news() is None
    assert own.news() == set()


def test_of_many_that_wait_some_are_named() -> None:
    mesh = Mesh()
    own = Subscribed(mesh.reconciler)
    for number in range(SHOWN + 2):
        mesh.open(f"shop/p{number}")
        mesh.offer(f"shop/p{number}", {version("web", 1)})
    own.look()
    (row,) = own.rows(key_of(version("web", 1)))
    assert (row.concerned, row.programmed, len(row.waiting)) == (SHOWN + 2, 0, SHOWN)


def test_it_travels_as_json() -> None:
    mesh = Mesh()
    for pod in PODS:
        mesh.open(pod)
        mesh.offer(pod, {version("web", 2)})
    mesh.answer("shop/a", takes=True)
    mesh.reconciler.closed(mesh.reconciler.subscribers["shop/c"])
    found = Subscribed(mesh.reconciler).progress()
    assert found == Progress(
        settled=False,
        connected=("shop/a", "shop/b"),
        rows=(Row(version=version("web", 2), concerned=2, programmed=1, waiting=("shop/b",)),),
        away=(Away(pod="shop/c", objects=(version("web", 2),)),),
    )
    assert json.decode(json.encode(found), type=Progress) == found
