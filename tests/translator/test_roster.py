"""Who is remembered, and for how long."""

from __future__ import annotations

from smi.meta import Meta
from smi.workloads import Pod
from translator.roster import REMEMBERED_SECONDS, Roster


def pod(name: str, workload: str = "web") -> Pod:
    return Pod(meta=Meta(name=name, namespace="shop"), ip="127.80.0.2", workload=workload, workload_kind="Deployment")


def test_a_pod_that_went_is_remembered_as_long_as_what_it_counted() -> None:
    roster = Roster()
    roster.update([pod("a"), pod("b")], 0.0)
    roster.update([pod("b")], 10.0)
    assert roster.known().keys() == {"shop/a", "shop/b"}
    roster.update([pod("b")], 10.0 + REMEMBERED_SECONDS)
    assert roster.known().keys() == {"shop/a", "shop/b"}
    roster.update([pod("b")], 11.0 + REMEMBERED_SECONDS)
    assert roster.known().keys() == {"shop/b"}


def test_a_pod_that_comes_again_is_the_new_one() -> None:
    roster = Roster()
    roster.update([pod("a", "old")], 0.0)
    roster.update([], 1.0)
    roster.update([pod("a", "new")], 2.0)
    roster.update([pod("a", "new")], 3.0 + REMEMBERED_SECONDS)
    assert roster.known()["shop/a"].workload == "new"
