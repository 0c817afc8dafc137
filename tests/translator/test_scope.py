"""Scope: a config follows what a pod calls, not what there is."""

from __future__ import annotations

import random

import pytest
import scenes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import Scene

from proxy.contract.config import Host
from smi.access import Subject, TargetRule, TrafficTarget
from smi.meta import Meta
from smi.specs import TCPRoute
from smi.workloads import Pod, Service, ServicePort
from translator.compiler import compile_sidecar
from translator.world import World


def pod(name: str, ip: str, namespace: str = "default", **more: object) -> Pod:
    labels = {"app": name.rpartition("-")[0]}
    meta = Meta(name=name, namespace=namespace, labels=labels)
    return Pod(meta=meta, ip=ip, ready=True, mesh_port=4143, ports={"http": 8080}, **more)  # type: ignore[arg-type]


def service(name: str, namespace: str = "default", cluster_ip: str = "") -> Service:
    return Service(
        meta=Meta(name=name, namespace=namespace),
        ports=(ServicePort(port=80, target_port="http"),),
        selector={"app": name},
        cluster_ip=cluster_ip,
    )


CALLER = pod("client-0", "127.80.0.2")
DB = pod("db-0", "127.80.0.3")
OBJECTS = (service("web"), service("db", cluster_ip="None"), service("db", "other", cluster_ip="10.96.0.9"))
WORLD = World.of(OBJECTS, [CALLER, DB, pod("web-0", "127.80.0.4"), pod("web-1", "127.80.0.5", "other")])


def answer(host: str, caller: Pod = CALLER) -> Host:
    return compile_sidecar(WORLD, caller, frozenset({host})).config.hosts[host]


def test_a_name_is_a_service() -> None:
    assert answer("web.default") == Host(service="default/web")
    assert answer("web") == Host(service="default/web")


def test_a_cluster_address_is_a_service() -> None:
    assert answer("10.96.0.9") == Host(service="other/db")


def test_a_pod_address_and_a_pod_name_share_their_clusters() -> None:
    assert answer("127.80.0.3") == Host(pod={8080: "pod:127.80.0.3:8080"})
    assert answer("db-0.db.default") == Host(pod={8080: "pod:127.80.0.3:8080", 80: "pod:127.80.0.3:8080"})


def test_two_labels_are_a_service_before_they_are_a_pod() -> None:
    assert answer("db-0.db") == answer("db-0.db.default")
    assert answer("db.other") == Host(service="other/db")


def test_a_pod_name_is_searched_in_the_callers_namespace_only() -> None:
    assert answer("db-0.db", WORLD.index.pods["other/web-1"]) == Host()


@pytest.mark.parametrize(
    "host", ["web-0.web.default", "db-1.db.default", "nobody", "example.org", "127.80.0.77", "a.b.c.d"]
)
def test_what_is_not_of_this_mesh_is_answered_so(host: str) -> None:
    assert answer(host) == Host()


def test_a_pod_that_is_not_ready_keeps_its_name_and_its_endpoint() -> None:
    resting = Pod(meta=DB.meta, ip=DB.ip, ports=DB.ports, mesh_port=4143)
    config = compile_sidecar(World.of(OBJECTS, [CALLER, resting]), CALLER, frozenset({"db-0.db.default"})).config
    assert config.hosts["db-0.db.default"].pod[8080] == "pod:127.80.0.3:8080"
    assert [one.pod for one in config.clusters["pod:127.80.0.3:8080"].endpoints] == ["default/db-0"]


def test_a_config_does_not_grow_with_the_cluster() -> None:
    asked = frozenset({"web.default"})
    crowd = [pod(f"s{number}-0", f"127.80.1.{number}") for number in range(200)]
    many = World.of([*OBJECTS, *(service(f"s{number}") for number in range(200))], [*WORLD.pods, *crowd])
    assert compile_sidecar(many, CALLER, asked).config == compile_sidecar(WORLD, CALLER, asked).config


def test_a_grant_brings_only_the_services_of_its_destination_into_scope() -> None:
    target = TrafficTarget(
        meta=Meta(name="t"),
        api_version="access.smi-spec.io/v1alpha4",
        destination=Subject(kind="ServiceAccount", name="web"),
        sources=(Subject(kind="ServiceAccount", name="default"),),
        rules=(TargetRule(kind="TCPRoute", name="all"),),
    )
    route = TCPRoute(meta=Meta(name="all"), api_version="specs.smi-spec.io/v1alpha4")
    world = World.of([*OBJECTS, target, route], [CALLER, DB, pod("web-0", "127.80.0.4", service_account="web")])
    assert list(compile_sidecar(world, CALLER, frozenset()).config.services) == ["default/web"]
    assert compile_sidecar(world, world.index.pods["default/web-0"], frozenset()).config.services == {}


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(scene=scenes.access_scenes, order=st.randoms(use_true_random=False))
def test_the_order_in_which_objects_are_seen_changes_nothing(scene: Scene, order: random.Random) -> None:
    objects, pods = list(scene.objects), list(scene.pods)
    order.shuffle(objects)
    order.shuffle(pods)
    one, other = World.of(scene.objects, scene.pods), World.of(objects, pods)
    hosts = frozenset({"web.one", "127.80.0.10"})
    for caller in scene.pods:
        assert compile_sidecar(one, caller, hosts) == compile_sidecar(other, caller, hosts)
