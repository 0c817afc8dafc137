"""What a config is made of: whatever would change it if it were gone. Asked of every golden case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from goldencases import CASES, GOLDEN, load_case

from smi.meta import Meta
from smi.specs import HTTPRouteGroup
from smi.split import SplitBackend, TrafficSplit
from smi.workloads import Pod, Service, ServicePort
from translator.compiler import compile_sidecar
from translator.dependencies import ObjectVersion
from translator.world import Named, World

SMI = ("TrafficSplit", "TrafficTarget", "IdentityBinding", "HTTPRouteGroup", "TCPRoute", "UDPRoute")


def smi_objects(world: World) -> list[tuple[str, Named]]:
    objects = world.objects
    tables: tuple[Mapping[str, Named], ...] = (
        objects.splits,
        objects.targets,
        objects.bindings,
        objects.groups,
        objects.tcp_routes,
        objects.udp_routes,
    )
    return [(kind, thing) for kind, table in zip(SMI, tables, strict=True) for thing in table.values()]


def everything(world: World) -> list[Named]:
    objects = world.objects
    return [
        *(thing for _, thing in smi_objects(world)),
        *objects.services.values(),
        *objects.slices.values(),
        *objects.namespaces.values(),
    ]


@pytest.mark.parametrize("path", CASES, ids=lambda path: str(path.relative_to(GOLDEN).with_suffix("")))
def test_what_a_config_would_be_another_without_is_among_its_objects(path: Path) -> None:
    world, pod, hosts = load_case(path)
    compiled = compile_sidecar(world, pod, hosts)

    for kind, thing in smi_objects(world):
        rest = [other for other in everything(world) if other is not thing]
        without = compile_sidecar(World.of(rest, world.pods, world.settings), pod, hosts)
        if without.config != compiled.config:
            assert ObjectVersion.of(kind, thing.meta) in compiled.objects


def meta(name: str, generation: int = 1, uid: str = "u", **annotations: str) -> Meta:
    return Meta(
        name=name, namespace="shop", labels={"app": name}, annotations=annotations, generation=generation, uid=uid
    )


def test_generation_and_uid_are_those_of_the_object_and_what_does_not_count_is_left_out() -> None:
    backends = (SplitBackend(service="web", weight=Fraction(1)),)
    split = TrafficSplit(meta=meta("a", 7, "u7"), api_version="", service="web", backends=backends)
    ignored = replace(split, meta=meta("b", 1, "u1"))
    group = HTTPRouteGroup(meta=meta("get", 3, "u3"), api_version="")
    unused = HTTPRouteGroup(meta=meta("post"), api_version="")
    service = Service(
        meta=Meta(name="web", namespace="shop", annotations={"retry.smi-mesh.io/routes": "get, gone/x"}),
        ports=(ServicePort(port=80),),
        selector={"app": "web"},
    )
    pod = Pod(meta=meta("web"), ip="10.0.0.1", ready=True, mesh_port=4143)
    world = World.of([split, ignored, group, unused, service], [pod])

    found = compile_sidecar(world, pod, frozenset({"web"})).objects

    assert {(one.kind, one.name, one.generation, one.uid) for one in found} == {
        ("TrafficSplit", "a", 7, "u7"),
        ("HTTPRouteGroup", "get", 3, "u3"),
    }
    assert compile_sidecar(world, pod, frozenset()).objects == frozenset()
