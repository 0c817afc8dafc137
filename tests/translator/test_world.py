"""The world's indexes: who is selected by what, and which split is asked first."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from smi.meta import Meta
from smi.split import RouteRef, TrafficSplit
from smi.workloads import Namespace, Pod, Service
from translator.world import World


def pod(name: str, namespace: str = "default", **labels: str) -> Pod:
    return Pod(meta=Meta(name=name, namespace=namespace, labels=labels), ip="127.80.0.2")


def service(name: str, namespace: str = "default", **selector: str) -> Service:
    return Service(meta=Meta(name=name, namespace=namespace), selector=selector)


def split(name: str, root: str = "web", day: int | None = None, matches: str = "") -> TrafficSplit:
    return TrafficSplit(
        meta=Meta(name=name, created=datetime(2024, 1, day, tzinfo=UTC) if day else None),
        api_version="split.smi-spec.io/v1alpha4",
        service=root,
        backends=(),
        matches=(RouteRef(kind="HTTPRouteGroup", name=matches),) if matches else (),
    )


def asked_in_order(*splits: TrafficSplit) -> list[str]:
    return [one.meta.name for one in World.of(splits).index.splits_by_root["default/web"]]


def test_a_service_selects_the_pods_that_carry_all_its_labels_in_its_namespace() -> None:
    both, one, abroad = (
        pod("both", app="web", tier="x"),
        pod("one", app="web"),
        pod("both", "other", app="web", tier="x"),
    )
    web = service("web", app="web", tier="x")
    world = World.of([web], [abroad, one, both])
    assert world.pods_of(web) == (both,)
    assert world.services_of(both) == (web,)
    assert world.services_of(one) == ()
    assert world.services_of(abroad) == ()


def test_an_empty_selector_selects_nothing() -> None:
    bare = service("bare")
    world = World.of([bare], [pod("a", app="web")])
    assert world.pods_of(bare) == ()
    assert world.services_of(world.pods[0]) == ()


def test_pods_come_in_the_order_of_their_names() -> None:
    web = service("web", app="web")
    world = World.of([web], [pod("c", app="web"), pod("a", app="web"), pod("b", app="web")])
    assert [one.meta.name for one in world.pods_of(web)] == ["a", "b", "c"]


def test_splits_with_matches_are_asked_before_older_plain_ones() -> None:
    assert asked_in_order(split("plain", day=1), split("special", day=2, matches="beta")) == ["special", "plain"]


def test_the_older_split_is_asked_first_then_the_name_decides() -> None:
    assert asked_in_order(split("b", day=2), split("c", day=1), split("a", day=2)) == ["c", "a", "b"]


def test_a_split_of_unknown_age_is_asked_last() -> None:
    assert asked_in_order(split("a"), split("b", day=1)) == ["b", "a"]


def test_a_time_without_zone_is_utc() -> None:
    naive = TrafficSplit(
        meta=Meta(name="naive", created=datetime(2024, 1, 1)),  # noqa: DTZ001
        api_version="split.smi-spec.io/v1alpha4",
        service="web",
        backends=(),
    )
    assert asked_in_order(split("aware", day=2), naive) == ["naive", "aware"]


@pytest.mark.parametrize("root", ["web", "Web.default", "web.default.svc", "web.default.svc.cluster.local."])
def test_a_root_has_many_spellings(root: str) -> None:
    assert asked_in_order(split("s", root)) == ["s"]


@pytest.mark.parametrize("root", ["web.other", "web.default.svc.example.org", "web.default.pod", "a.web.default.svc"])
def test_a_root_outside_the_namespace_is_none(root: str) -> None:
    assert World.of([split("s", root)]).index.splits_by_root == {}


def test_namespaces_are_known_by_name() -> None:
    world = World.of([Namespace(meta=Meta(name="team", namespace=""))])
    assert world.objects.namespaces["team"].meta.name == "team"


def test_the_first_of_two_objects_of_one_name_counts() -> None:
    world = World.of([service("web", app="first"), service("web", app="second")])
    assert world.objects.services["default/web"].selector == {"app": "first"}
