"""How sidecars are counted, over several controllers."""

from __future__ import annotations

from translator.dependencies import ObjectVersion
from translator.kube.status.progress import Away, Count, Progress, Row, by_object, not_connected, together

SPLIT = ObjectVersion(kind="TrafficSplit", namespace="shop", name="web", uid="u", generation=2)
KEY = ("TrafficSplit", "shop", "web")


def row(concerned: int, programmed: int, *waiting: str) -> Row:
    return Row(version=SPLIT, concerned=concerned, programmed=programmed, waiting=waiting)


def test_controllers_are_added_up() -> None:
    one = Progress(settled=True, connected=("shop/a",), rows=(row(1, 1),))
    other = Progress(settled=True, connected=("shop/b", "shop/c"), rows=(row(2, 1, "shop/c"),))
    rows = by_object([one, other])[KEY]
    assert together(rows, ()) == Count(concerned=3, versions={("u", 2): 2}, waiting=["shop/c"])


def test_a_sidecar_that_went_to_another_controller_counts_there() -> None:
    left = Away(pod="shop/a", objects=(SPLIT,))
    assert list(not_connected([left], {"shop/b"}, {"shop/a"})) == []


def test_a_sidecar_that_nobody_hears_of_is_waited_for_once() -> None:
    away = Away(pod="shop/a", objects=(SPLIT,))
    ((key, missing),) = not_connected([away, away], {"shop/b"})
    assert (key, missing) == (KEY, "shop/a (not connected)")
    assert together([row(1, 1)], [missing]) == Count(concerned=2, versions={("u", 2): 1}, waiting=[missing])
