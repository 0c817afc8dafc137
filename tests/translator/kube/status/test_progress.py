"""How sidecars are counted, over several controllers."""

from __future__ import annotations

from msgspec import json

from proxy.contract.messages import Hello
from translator.compiler import Compiled
from translator.dependencies import ObjectVersion
from translator.kube.status.progress import Away, Count, Progress, Row, together
from translator.kube.status.subscribed import progress
from translator.reconcile import Reconciler

SPLIT = ObjectVersion(kind="TrafficSplit", namespace="shop", name="web", uid="u", generation=2)
KEY = ("TrafficSplit", "shop", "web")


def row(concerned: int, programmed: int, *waiting: str) -> Row:
    return Row(version=SPLIT, concerned=concerned, programmed=programmed, waiting=waiting)


def test_controllers_are_added_up() -> None:
    one = Progress(settled=True, connected=("shop/a",), rows=(row(1, 1),))
    other = Progress(settled=True, connected=("shop/b", "shop/c"), rows=(row(2, 1, "shop/c"),))
    assert together([one, other]) == {KEY: Count(concerned=3, versions={("u", 2): 2}, waiting=["shop/c"])}


def test_a_sidecar_that_went_to_another_controller_counts_there() -> None:
    away = Away(pod="shop/a", objects=(SPLIT,))
    left = Progress(settled=True, away=(away,))
    found = Progress(settled=True, connected=("shop/a",), rows=(row(1, 1),))
    assert together([left, found]) == {KEY: Count(concerned=1, versions={("u", 2): 1})}


def test_a_sidecar_that_nobody_hears_of_is_waited_for_once() -> None:
    away = Progress(settled=True, away=(Away(pod="shop/a", objects=(SPLIT,)),))
    assert together([away, away]) == {KEY: Count(concerned=1, waiting=["shop/a (not connected)"])}


def test_it_is_read_from_subscribers_and_travels_as_json() -> None:
    reconciler = Reconciler(lambda *_: Compiled(config=None))  # type: ignore[arg-type]
    for name in ("a", "b", "gone"):
        known = reconciler.opened(f"shop/{name}", "spiffe://cluster.local/ns/shop/sa/default", Hello())
        known.objects = frozenset({SPLIT})
    reconciler.subscribers["shop/a"].programmed = frozenset({SPLIT})
    reconciler.subscribers["shop/gone"].connected_since = None
    found = progress(reconciler)
    assert found == Progress(
        settled=False,
        connected=("shop/a", "shop/b"),
        rows=(row(2, 1, "shop/b"),),
        away=(Away(pod="shop/gone", objects=(SPLIT,)),),
    )
    assert json.decode(json.encode(found), type=Progress) == found
