"""Which SMI objects, at which generation, the config of one sidecar is made of. Pure.

So that it can be said of an object that all sidecars it concerns run on what it says now: ``translator.compiler``
puts these beside each config, ``translator.reconcile`` keeps them until the sidecar has acknowledged it,
``translator.kube`` counts. Whatever would change the config if it were gone is among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from smi.access import TrafficTarget
from smi.meta import Meta
from smi.workloads import Pod
from translator.policy import targets_on
from translator.retries import route_groups
from translator.splits import effective_splits
from translator.subjects import bindings_of
from translator.world import Named, World


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ObjectVersion:
    """One generation of one object; ``uid`` is empty where no API server gave it one."""

    kind: str
    namespace: str
    name: str
    uid: str
    generation: int

    @classmethod
    def of(cls, kind: str, meta: Meta) -> ObjectVersion:
        """The version that ``meta`` is of."""
        return cls(kind=kind, namespace=meta.namespace, name=meta.name, uid=meta.uid, generation=meta.generation)


def dependencies(
    world: World, pod: Pod, services: Iterable[str], ways: Iterable[TrafficTarget]
) -> frozenset[ObjectVersion]:
    """What goes into the config of the sidecar of ``pod``, which knows ``services`` (by key).

    ``ways`` are the TrafficTargets that let it reach some (``translator.scope.ways``).
    """
    found = set(_of_services(world, services))
    targets = {target.meta.key: target for target in (*targets_on(world, pod), *ways)}
    for target in targets.values():
        found.update(_of_target(world, target))
    return frozenset(found)


def _of_services(world: World, services: Iterable[str]) -> Iterator[ObjectVersion]:
    for key in services:
        service = world.objects.services[key]
        names = set(route_groups(service))
        for split in effective_splits(world, service)[0]:
            yield ObjectVersion.of("TrafficSplit", split.meta)
            names.update(reference.name for reference in split.matches if reference.kind == "HTTPRouteGroup")
        yield from _of_routes(world, service.meta.namespace, (("HTTPRouteGroup", name) for name in names))


def _of_target(world: World, target: TrafficTarget) -> Iterator[ObjectVersion]:
    yield ObjectVersion.of("TrafficTarget", target.meta)
    for binding in bindings_of(world, target):
        yield ObjectVersion.of("IdentityBinding", binding.meta)
    yield from _of_routes(world, target.meta.namespace, ((rule.kind, rule.name) for rule in target.rules))


def _of_routes(world: World, namespace: str, references: Iterable[tuple[str, str]]) -> Iterator[ObjectVersion]:
    tables: dict[str, Mapping[str, Named]] = {
        "HTTPRouteGroup": world.objects.groups,
        "TCPRoute": world.objects.tcp_routes,
    }
    for kind, name in references:
        route = tables[kind].get(f"{namespace}/{name}") if kind in tables else None
        if route is not None:
            yield ObjectVersion.of(kind, route.meta)
