"""Which SMI objects, at which generation, the config of one sidecar is made of. Pure.

So that it can be said of an object that all sidecars it concerns run on what it says now: ``translator.compiler``
puts these beside each config, ``translator.reconcile`` keeps them until the sidecar has acknowledged it,
``translator.kube`` counts. Whatever would change the config if it were gone is among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from msgspec import Struct

from smi.access import TrafficTarget
from smi.meta import Meta
from smi.workloads import Pod, Service
from translator.policy import targets_on
from translator.retries import route_groups
from translator.splits import effective_splits
from translator.subjects import bindings_of
from translator.world import Named, World

ObjectKey = tuple[str, str, str]
"""Kind, namespace and name."""


class ObjectVersion(Struct, frozen=True, kw_only=True, order=True, cache_hash=True):
    """One generation of one object; ``uid`` is empty where no API server gave it one.

    A Struct for its hash: progress is counted by these, for thousands of sidecars.
    """

    kind: str
    namespace: str
    name: str
    uid: str
    generation: int

    @classmethod
    def of(cls, kind: str, meta: Meta) -> ObjectVersion:
        """The version that ``meta`` is of."""
        return cls(kind=kind, namespace=meta.namespace, name=meta.name, uid=meta.uid, generation=meta.generation)


NONE: Final[frozenset[ObjectVersion]] = frozenset()
"""Of most Services: no two empty sets are one by themselves."""


def together(parts: Iterable[frozenset[ObjectVersion]]) -> frozenset[ObjectVersion]:
    """All of them; the very same object where only one says anything, for thousands of sidecars have it."""
    some = [part for part in parts if part]
    return some[0] if len(some) == 1 else NONE.union(*some)


def dependencies(
    world: World, pod: Pod, services: Iterable[str], ways: Iterable[TrafficTarget]
) -> frozenset[ObjectVersion]:
    """What goes into the config of the sidecar of ``pod``, which knows ``services`` (by key).

    ``ways`` are the TrafficTargets that let it reach some (``translator.scope.ways``).
    """
    parts = [objects_of_service(world, world.objects.services[key]) for key in services]
    return objects_of_targets(world, pod, ways).union(*parts)


def objects_of_targets(world: World, pod: Pod, ways: Iterable[TrafficTarget]) -> frozenset[ObjectVersion]:
    """Of the TrafficTargets that name ``pod`` as their destination, and of ``ways``."""
    targets = {target.meta.key for target in (*targets_on(world, pod), *ways)}
    return together([world.derived(_of_target, key) for key in targets])


def objects_of_service(world: World, service: Service) -> frozenset[ObjectVersion]:
    """What goes into what its callers are told of ``service``."""
    return frozenset(_calls_of(world, service)) or NONE


def _of_target(world: World, key: str) -> frozenset[ObjectVersion]:
    return frozenset(_rights_of(world, world.objects.targets[key]))


def _calls_of(world: World, service: Service) -> Iterator[ObjectVersion]:
    names = set(route_groups(service))
    for split in effective_splits(world, service)[0]:
        yield ObjectVersion.of("TrafficSplit", split.meta)
        names.update(reference.name for reference in split.matches if reference.kind == "HTTPRouteGroup")
    yield from _of_routes(world, service.meta.namespace, (("HTTPRouteGroup", name) for name in names))


def _rights_of(world: World, target: TrafficTarget) -> Iterator[ObjectVersion]:
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
