"""Which sidecars a change concerns: they alone are compiled anew, and nobody who is concerned is left out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from fractions import Fraction

from eventually import eventually

from proxy.contract.messages import Hello
from smi.meta import Meta
from smi.split import SplitBackend, TrafficSplit
from smi.workloads import Pod, Service, ServicePort
from translator.compiler import Compiled, compile_sidecar
from translator.reconcile import MAX_HOSTS, Reconciler, Subscriber
from translator.world import Named, World


def service(name: str) -> Service:
    return Service(meta=Meta(name=name), ports=(ServicePort(port=80, target_port=8080),), selector={"app": name})


def split(weight: int) -> TrafficSplit:
    backends = (
        SplitBackend(service="v1", weight=Fraction(weight)),
        SplitBackend(service="v2", weight=Fraction(100 - weight)),
    )
    return TrafficSplit(meta=Meta(name="web"), api_version="", service="web", backends=backends)


def pod(name: str, *, ready: bool = True) -> Pod:
    return Pod(
        meta=Meta(name=name, labels={"app": name}),
        ip=f"10.0.0.{sum(map(ord, name)) % 250}",
        service_account=name,
        ready=ready,
        mesh_port=4143,
    )


class Scene:
    """Two callers: ``one`` has asked for web, which is split, ``other`` for api."""

    def __init__(self) -> None:
        self.reconciler = Reconciler(compile_sidecar)
        self.world = World.of([*map(service, ("web", "api", "v1", "v2")), split(90)], map(pod, ("v1", "one", "other")))

    def opened(self, name: str, *hosts: str) -> Subscriber:
        identity = f"spiffe://cluster.local/ns/default/sa/{name}"
        return self.reconciler.opened(f"default/{name}", identity, Hello(hosts=hosts))

    async def compiles(self, act: Callable[[], object]) -> int:
        """How many sidecars are compiled for because of it."""
        before = self.reconciler.counts.compiles
        act()
        await eventually(lambda: self.reconciler.settled)
        return self.reconciler.counts.compiles - before

    async def change(self, *present: Named, gone: tuple[Named, ...] = ()) -> int:
        self.world, changes = self.world.updated(present, gone)
        return await self.compiles(lambda: self.reconciler.world_changed(self.world, changes))


def play(scene: Callable[[Scene], object]) -> None:
    async def run() -> None:
        played = Scene()
        played.reconciler.world_changed(played.world)
        running = asyncio.create_task(played.reconciler.run())
        result = scene(played)
        assert asyncio.iscoroutine(result)
        await result
        running.cancel()

    asyncio.run(run())


def weights(of: Subscriber) -> list[int]:
    assert of.slot.desired is not None
    return [backend.weight for backend in of.slot.desired.services["default/web"].ports[80].rules[0].backends]


def test_a_change_of_weights_concerns_who_calls_the_root() -> None:
    async def scene(mesh: Scene) -> None:
        one = mesh.opened("one", "web")
        assert await mesh.compiles(lambda: mesh.opened("other", "api")) == 2
        assert await mesh.change(split(50)) == 1
        assert weights(one) == [1, 1]
        assert await mesh.change(split(50)) == 0

    play(scene)


def test_what_was_asked_for_and_is_not_there_is_told_when_it_comes() -> None:
    async def scene(mesh: Scene) -> None:
        one = mesh.opened("one", "later")
        assert await mesh.compiles(lambda: mesh.opened("other", "api")) == 2
        assert await mesh.change(service("later")) == 1
        assert one.slot.desired is not None
        assert one.slot.desired.hosts["later"].service == "default/later"
        assert await mesh.change(gone=(service("later"),)) == 1
        assert one.slot.desired.services == {}

    play(scene)


def test_a_sidecar_whose_pod_comes_later_is_told_then() -> None:
    async def scene(mesh: Scene) -> None:
        early = mesh.opened("early", "web")
        assert await mesh.change(service("unrelated")) == 0
        assert early.slot.desired is None
        assert await mesh.change(pod("early")) == 1
        assert weights(early) == [9, 1]

    play(scene)


def test_who_is_away_is_compiled_for_when_it_is_back() -> None:
    async def scene(mesh: Scene) -> None:
        one = mesh.opened("one", "web")
        assert await mesh.compiles(lambda: None) == 1
        mesh.reconciler.closed(one)
        assert await mesh.change(split(50)) == 0
        assert await mesh.compiles(lambda: mesh.opened("one", "web")) == 1
        assert weights(one) == [1, 1]

    play(scene)


def test_who_is_away_and_whose_pod_goes_is_forgotten() -> None:
    async def scene(mesh: Scene) -> None:
        one = mesh.opened("one", "web")
        assert await mesh.compiles(lambda: None) == 1
        mesh.reconciler.closed(one)
        assert await mesh.change(gone=(pod("one"),)) == 0
        assert mesh.reconciler.subscribers == {}

    play(scene)


def test_who_asks_without_end_holds_nobody_up() -> None:
    async def scene() -> None:
        def compiling(world: World, of: Pod, hosts: frozenset[str]) -> Compiled:
            if of.meta.name == "one" and len(order) < 1000:
                reconciler.asked(asking, ("more",))  # its next message is there before this one is answered
                time.sleep(0.001)
            order.append(of.meta.name)
            return compile_sidecar(world, of, hosts)

        order: list[str] = []
        names = ("one", *(f"other-{number}" for number in range(20)))
        world = World.of(pods=map(pod, names))
        reconciler = Reconciler(compiling)
        asking, *_ = [
            reconciler.opened(f"default/{name}", f"spiffe://cluster.local/ns/default/sa/{name}", Hello())
            for name in names
        ]
        running = asyncio.create_task(reconciler.run())
        reconciler.world_changed(world)
        await eventually(lambda: len(set(order)) == len(names))
        order.clear()
        reconciler.world_changed(World.of(pods=map(pod, names)))
        await eventually(lambda: len(set(order)) == len(names))
        assert order.count("one") < 1000
        running.cancel()

    asyncio.run(scene())


def test_of_one_message_the_last_hosts_are_kept() -> None:
    reconciler = Reconciler(compile_sidecar)
    subscriber = reconciler.opened("default/one", "", Hello())
    reconciler.asked(subscriber, tuple(f"h{number}" for number in range(100_000)))
    assert list(subscriber.hosts) == [f"h{number}" for number in range(100_000 - MAX_HOSTS, 100_000)]
