"""What a mirror of a collection gives out as news: everything once, as it was when last told and as it is."""

from __future__ import annotations

from typing import Any

from smi.workloads import Pod
from translator.kube.pods import running_pod
from translator.kube.source import Mirror


def pod(name: str, ip: str = "10.0.0.1") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": {}, "status": {"podIP": ip, "phase": "Running"}}


def news(mirror: Mirror) -> set[tuple[str, str]]:
    """Addresses before and after, empty where there was or is no pod."""
    found = [[one.ip if isinstance(one, Pod) else "" for one in pair] for pair in mirror.news()]
    return {(before, after) for before, after in found}


def mirrored(*names: str) -> Mirror:
    mirror = Mirror(running_pod, lambda: None)
    mirror.page([pod(name) for name in names], first=True)
    mirror.listed()
    return mirror


def test_everything_is_news_once() -> None:
    mirror = mirrored("a")
    assert news(mirror) == {("", "10.0.0.1")}
    assert news(mirror) == set()


def test_of_several_changes_the_first_state_and_the_last_are_told() -> None:
    mirror = mirrored("a")
    assert news(mirror)
    mirror.changed(pod("a", "10.0.0.2"))
    mirror.changed(pod("a", "10.0.0.3"))
    assert news(mirror) == {("10.0.0.1", "10.0.0.3")}
    mirror.changed(pod("a", "10.0.0.3"))
    assert news(mirror) == set()
    mirror.removed(pod("a"))
    assert news(mirror) == {("10.0.0.3", "")}


def test_what_came_and_went_unseen_was_and_is_nothing() -> None:
    mirror = mirrored()
    mirror.changed(pod("a"))
    mirror.removed(pod("a"))
    assert news(mirror) == {("", "")}


def test_a_list_of_several_pages_takes_out_what_is_on_none() -> None:
    mirror = mirrored("a", "b", "c")
    assert news(mirror)
    mirror.page([pod("a")], first=True)
    mirror.page([pod("c", "10.0.0.2")], first=False)
    assert set(mirror.objects) == {("shop", "a"), ("shop", "b"), ("shop", "c")}, (
        "nothing is missing before the last page"
    )
    mirror.listed()
    assert news(mirror) == {("10.0.0.1", ""), ("10.0.0.1", "10.0.0.2")}


def test_a_list_that_was_broken_off_keeps_nothing_for_the_next() -> None:
    mirror = mirrored("a")
    mirror.page([pod("a")], first=True)
    mirror.page([pod("b")], first=True)
    mirror.listed()
    assert set(mirror.objects) == {("shop", "b")}
