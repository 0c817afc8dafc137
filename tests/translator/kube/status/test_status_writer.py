"""What the leader writes to an API server: once, by its own field manager, and only what is other than before."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from apiserver import FakeApiServer, serving
from eventually import eventually

from proxy.contract.messages import Hello
from translator.compiler import compile_sidecar
from translator.findings import Finding, Reason
from translator.kube.source import COLLECTIONS, KubernetesSource
from translator.kube.status.progress import Progress
from translator.kube.status.subscribed import Subscribed
from translator.kube.status.writer import StatusWriter
from translator.reconcile import Reconciler, Subscriber
from translator.world import World

SPLITS, SERVICES = "/apis/split.smi-spec.io/v1alpha4/trafficsplits", "/api/v1/services"
GROUPS, PODS = "/apis/specs.smi-spec.io/v1alpha4/httproutegroups", "/api/v1/pods"
UDP_ROUTES = "/apis/specs.smi-spec.io/v1alpha4/udproutes"
WEB = "/apis/split.smi-spec.io/v1alpha4/namespaces/shop/trafficsplits/web"
EVENTS = "/apis/events.k8s.io/v1/namespaces/shop/events"


def split(generation: int = 1, leaf: str = "v1") -> dict[str, Any]:
    spec = {"service": "web", "backends": [{"service": leaf, "weight": 1}]}
    return {"metadata": {"name": "web", "namespace": "shop", "uid": "u", "generation": generation}, "spec": spec}


def service(name: str) -> dict[str, Any]:
    spec = {"selector": {"app": name}, "clusterIP": "10.96.0.9", "ports": [{"port": 80}]}
    return {"metadata": {"name": name, "namespace": "shop", "uid": name}, "spec": spec}


def pod(name: str, *, sidecar: bool = True) -> dict[str, Any]:
    meta = {"name": name, "namespace": "shop", "uid": name, "annotations": {"smi-mesh.io/inject": "enabled"}}
    spec = {"containers": [{"name": "c"}], "initContainers": [{"name": "smi-mesh-proxy"}] if sidecar else []}
    conditions = [{"type": "Ready", "status": "True"}]
    return {
        "metadata": meta,
        "spec": spec,
        "status": {"podIP": "10.1.0.9", "phase": "Running", "conditions": conditions},
    }


class Looking:
    """Looks and counts, those too that came to nothing."""

    def __init__(self, writer: StatusWriter) -> None:
        self._look, self.looks, self.tries = writer.look, 0, 0

    async def __call__(self) -> bool:
        done = await self._look()
        self.looks += done
        self.tries += 1
        return done


class Controller:
    """A source, a reconciler and the writer, without the rest."""

    def __init__(self, server: FakeApiServer) -> None:
        self.server = server
        self.reconciler = Reconciler(compile_sidecar)
        self.elsewhere: list[Progress] | None = []
        self.source: KubernetesSource
        self.writer: StatusWriter

    def changed(self) -> None:
        self.reconciler.world_changed(World.of(self.source.objects, self.source.pods))

    async def look(self) -> None:
        """As soon as it can be said."""

        deadline = asyncio.get_running_loop().time() + 10
        while not await self.writer.look():
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.005)

    async def put(self, path: str, name: str, thing: dict[str, Any]) -> None:
        """Changes an object and waits until the controller has it."""
        revision = self.reconciler.revision
        self.server.put(path, name, thing)
        await eventually(lambda: self.reconciler.revision != revision)

    def status(self, path: str = SPLITS, name: str = "web") -> dict[str, Any]:
        found: dict[str, Any] = self.server.collections[path][name].get("status", {})
        return found

    def written(self) -> object:
        """The status of shop/web as the source has it."""
        found = self.source.smi_object(("TrafficSplit", "shop", "web"))
        return found and found[0].status

    def touched(self) -> set[tuple[str, str, str]]:
        """Which objects may be other than the writer knows."""
        return {(kind, *key) for kind, mirror in self.source._smi.items() for key in mirror.touched}

    def condition(self, kind: str, path: str = SPLITS, name: str = "web") -> tuple[str, str, str]:
        (found,) = [one for one in self.status(path, name)["conditions"] if one["type"] == kind]
        return found["status"], found["reason"], found["message"]

    def connected(self) -> Subscriber:
        """The sidecar of shop/client opens a stream and asks for the Service web."""
        return self.reconciler.opened("shop/client", "spiffe://cluster.local/ns/shop/sa/default", Hello(hosts=("web",)))

    def events(self) -> list[tuple[str, str, str]]:
        found = self.server.collections[EVENTS].values()
        return sorted((one["regarding"]["kind"], one["regarding"]["name"], one["reason"]) for one in found)

    def statuses_written(self) -> int:
        return sum(path.partition("?")[0].endswith("/status") for verb, path in self.server.asked if verb == "PATCH")


@asynccontextmanager
async def controller() -> AsyncIterator[Controller]:
    server = FakeApiServer(PODS, EVENTS, *(one.path for one in COLLECTIONS))
    for name in ("web", "v1"):
        server.put(SERVICES, name, service(name))
    server.put(SPLITS, "web", split())
    found = Controller(server)
    async with serving(server) as api:
        found.source = KubernetesSource(api, found.changed)
        found.writer = StatusWriter(
            api,
            found.source,
            Subscribed(found.reconciler),
            fresh=lambda: found.source.synced,
            peers=lambda: asyncio.sleep(0, found.elsewhere),
            several=lambda: False,
            instance="c-1",
        )
        tasks = [asyncio.ensure_future(found.source.run()), asyncio.ensure_future(found.reconciler.run())]
        try:
            await eventually(lambda: found.reconciler.world is not None)
            await eventually(lambda: server.watches == len(COLLECTIONS) + 1)
            yield found
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def test_a_status_is_written_once_under_our_own_name() -> None:
    async def scene() -> None:
        async with controller() as one:
            await one.look()
            assert one.status()["observedGeneration"] == 1
            assert one.status()["summary"] == "v1=1"
            assert one.condition("Programmed") == ("True", "NoSidecars", "it concerns no sidecar now")
            ((verb, path),) = [asked for asked in one.server.asked if "/status" in asked[1]]
            assert (verb, path) == (
                "PATCH",
                f"{WEB}/status?fieldManager=smi-mesh-controller&force=true",
            )
            (body,) = [body for body in one.server.bodies if "status" in body]
            assert set(body) == {"apiVersion", "kind", "metadata", "status"}, "the spec is its author's"
            await eventually(lambda: one.status() == one.written())
            await one.look()
            assert one.statuses_written() == 1

    asyncio.run(scene())


def test_programmed_waits_for_every_sidecar_and_this_generation() -> None:
    async def scene() -> None:
        async with controller() as one:
            await one.put(PODS, "client", pod("client"))
            sidecar = one.connected()
            await one.look()
            assert one.condition("Programmed") == (
                "False",
                "Pending",
                "0 of 1 sidecars run on it; waiting for shop/client",
            )
            one.reconciler.acked(sidecar, sidecar.slot.take(0.0).version)
            await one.look()
            assert one.condition("Programmed") == ("True", "Programmed", "1 of 1 sidecars run on it")
            await one.put(SPLITS, "web", split(generation=2, leaf="web"))
            await one.look()
            assert one.condition("Programmed")[:2] == ("False", "Pending")
            assert one.status()["observedGeneration"] == 2

    asyncio.run(scene())


def test_other_controllers_sidecars_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("translator.kube.status.writer.SILENT_SECONDS", 0.0)

    async def scene() -> None:
        async with controller() as one:
            one.elsewhere = None
            await one.look()
            assert one.condition("Programmed")[:2] == ("Unknown", "Unknown")
            one.elsewhere = [Progress(settled=False)]
            assert not await one.writer.look(), "it has not settled there"
            one.elsewhere = [Progress(settled=True, seen="something else")]
            assert not await one.writer.look(), "it does not know this generation yet, nor whom it concerns"
            one.elsewhere = [Progress(settled=True, seen=one.source.fingerprint)]
            await one.look()
            assert one.condition("Programmed")[:2] == ("True", "NoSidecars")
            one.elsewhere = [Progress(settled=True)]
            await one.look()
            assert one.condition("Programmed")[:2] == ("True", "NoSidecars")

    asyncio.run(scene())


@pytest.mark.parametrize("behind", [Progress(settled=False), Progress(settled=True, seen="something else")])
def test_a_controller_that_stays_behind_counts_as_one_that_does_not_answer(
    behind: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("translator.kube.status.writer.LAG_SECONDS", 0.1)

    async def scene() -> None:
        async with controller() as one:
            one.elsewhere = [behind]
            assert not await one.writer.look()
            await one.look()
            assert one.condition("Programmed")[:2] == ("Unknown", "Unknown")

    asyncio.run(scene())


def test_who_begins_to_lead_waits_for_the_sidecars_of_pods_that_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("translator.kube.status.writer.SETTLE_SECONDS", 0.0)

    async def scene() -> None:
        async with controller() as one:
            one.elsewhere = [Progress(settled=True, connected=("shop/other",))]
            for name in ("client", "other"):
                await one.put(PODS, name, pod(name))
            monkeypatch.setattr(one.writer, "look", looking := Looking(one.writer))
            running = asyncio.ensure_future(one.writer.run())
            await eventually(lambda: looking.tries >= 5)
            assert one.status() == {}, "of the client nothing is known yet, so nothing can be in force everywhere"
            one.connected()
            await eventually(one.status)
            assert one.condition("Programmed")[:2] == ("False", "Pending")
            running.cancel()

    asyncio.run(scene())


def test_sidecars_of_a_controller_that_is_gone_are_waited_for() -> None:
    async def scene() -> None:
        async with controller() as one:
            await one.put(PODS, "client", pod("client"))
            one.elsewhere = [Progress(settled=True, connected=("shop/client",))]
            await one.look()
            one.elsewhere = []
            await one.put(SPLITS, "web", split(generation=2, leaf="web"))
            assert not await one.writer.look(), "it is on its way here, and runs on the first generation"
            one.connected()
            await one.look()
            assert one.condition("Programmed")[:2] == ("False", "Pending")

    asyncio.run(scene())


def test_a_controller_that_misses_an_answer_changes_nothing() -> None:
    async def scene() -> None:
        async with controller() as one:
            await one.look()
            await eventually(lambda: one.status() == one.written())
            one.elsewhere = None
            assert not await one.writer.look()
            one.elsewhere = []
            await one.look()
            assert one.statuses_written() == 1

    asyncio.run(scene())


def test_what_another_controllers_sidecars_showed_is_an_event_too() -> None:
    async def scene() -> None:
        async with controller() as one:
            await one.put(PODS, "far", pod("far"))
            wrong = Finding(
                kind="Pod", namespace="shop", name="far", reason=Reason.INVALID_ANNOTATION, message="no such policy"
            )
            one.elsewhere = [Progress(settled=True, connected=("shop/far",), findings=(wrong,))]
            await one.look()
            assert ("Pod", "far", "InvalidAnnotation") in one.events()

    asyncio.run(scene())


def test_sidecars_that_do_not_come_are_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("translator.kube.status.writer.GATHER_SECONDS", 0.1)

    async def scene() -> None:
        async with controller() as one:
            await one.put(PODS, "client", pod("client"))
            running = asyncio.ensure_future(one.writer.run())
            await eventually(one.status)
            running.cancel()

    asyncio.run(scene())


def test_nothing_waits_for_a_pod_that_is_gone_though_its_stream_is_open() -> None:
    async def scene() -> None:
        async with controller() as one:
            await one.put(PODS, "client", pod("client"))
            sidecar = one.connected()
            await eventually(lambda: one.reconciler.settled)
            one.reconciler.acked(sidecar, sidecar.slot.take(0.0).version)
            revision = one.reconciler.revision
            one.server.delete(PODS, "client")
            await eventually(lambda: one.reconciler.revision != revision)
            await one.put(SPLITS, "web", split(generation=2, leaf="web"))
            await one.look()
            assert one.condition("Programmed")[:2] == ("True", "NoSidecars")

    asyncio.run(scene())


@pytest.mark.parametrize(
    "status",
    ["a text", [1], {"conditions": 5}, {"conditions": [None, {"type": ["x"]}]}],
    ids=["text", "list", "number", "type"],
)
def test_whatever_somebody_else_wrote_is_written_over(status: Any) -> None:
    async def scene() -> None:
        async with controller() as one:
            await one.look()
            await eventually(lambda: one.status() == one.written())
            one.server.put(SPLITS, "web", {**split(), "status": status})
            await eventually(lambda: one.written() == (status if isinstance(status, dict) else {}))
            await one.look()
            assert one.condition("Programmed")[:2] == ("True", "NoSidecars")

    asyncio.run(scene())


def test_where_nobody_leads_nothing_is_kept_of_what_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("translator.kube.status.subscribed.MOST_MOVED", 10)

    async def scene() -> None:
        async with controller() as one:
            own = Subscribed(one.reconciler)
            for number in range(30):
                name = f"web-{number}"
                thing = split()
                await one.put(SPLITS, name, {**thing, "metadata": {**thing["metadata"], "name": name}})
                revision = one.reconciler.revision
                one.server.delete(SPLITS, name)
                await eventually(lambda before=revision: one.reconciler.revision != before)  # type: ignore[misc]
                known = one.reconciler.opened(f"shop/{name}", "", Hello())
                one.reconciler.closed(known)
                own.tidy()
            assert one.touched() == {("TrafficSplit", "shop", "web")}
            assert len(own._due) <= 11

    asyncio.run(scene())


def test_nothing_is_looked_at_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the pods, for other controllers, nor the objects: a cluster may have tens of thousands."""
    monkeypatch.setattr("translator.kube.status.writer.POLL_SECONDS", 0.001)
    monkeypatch.setattr("translator.kube.status.writer.SETTLE_SECONDS", 0.0)
    asked = {"fresh": 0, "several": 0, "peers": 0}

    def counted(name: str) -> bool:
        asked[name] += 1
        return True

    async def peers() -> list[Progress]:
        counted("peers")
        return [Progress(settled=True)]

    async def scene() -> None:
        async with controller() as one:
            writer = StatusWriter(
                one.writer._api,
                one.source,
                Subscribed(one.reconciler),
                fresh=lambda: counted("fresh"),
                peers=peers,
                several=lambda: counted("several"),
                instance="c-1",
            )
            monkeypatch.setattr(writer, "look", looking := Looking(writer))
            running = asyncio.ensure_future(writer.run())
            await eventually(lambda: looking.looks and asked["fresh"] >= 100)
            looks = looking.looks
            asked.update(fresh=0, several=0, peers=0)
            await eventually(lambda: asked["fresh"] >= 300)
            assert (asked["several"], asked["peers"]) == (0, 0), "others are asked every other second"
            monkeypatch.setattr("translator.kube.status.writer.PEERS_SECONDS", 0.0)
            await eventually(lambda: asked["peers"] >= 10)
            assert looking.looks == looks, "the others say what they said before"
            running.cancel()

    asyncio.run(scene())


def test_while_something_changes_all_the_time_a_moment_is_waited_for_in_which_all_is_known() -> None:
    async def scene() -> None:
        async with controller() as one:
            asked = itertools.count()
            one.writer._fresh = lambda: next(asked) % 7 == 6
            for generation in (2, 3):
                await one.put(SPLITS, "web", split(generation=generation))
                assert await one.writer.look()
                assert one.status()["observedGeneration"] == generation

    asyncio.run(scene())


def test_nothing_is_put_together_before_every_sidecar_was_compiled_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("translator.kube.status.writer.CALM_SECONDS", 0.0)

    async def scene() -> None:
        async with controller() as one:
            await one.look()
            one.reconciler.asked(one.connected(), ("v1",))
            one.elsewhere = [Progress(settled=True)]
            assert not one.reconciler.settled
            assert not await one.writer.look()
            assert one.writer._heard == []

    asyncio.run(scene())


def test_what_is_wrong_is_said_once() -> None:
    async def scene() -> None:
        async with controller() as one:
            await one.put(SPLITS, "web", split(leaf="nowhere"))
            await one.put(GROUPS, "bad", {"metadata": {"name": "bad", "namespace": "shop"}, "spec": {"matches": "no"}})
            udp = {"metadata": {"name": "dns", "namespace": "shop"}, "spec": {"matches": {"ports": [53]}}}
            await one.put(UDP_ROUTES, "dns", udp)
            await one.put(PODS, "old", pod("old", sidecar=False))
            agent = pod("agent", sidecar=False)
            await one.put(PODS, "agent", {**agent, "spec": {**agent["spec"], "hostNetwork": True}})  # it can have none
            await one.look()
            await one.look()
            assert one.events() == [
                ("HTTPRouteGroup", "bad", "Invalid"),
                ("Pod", "old", "NotInjected"),
                ("TrafficSplit", "web", "ServiceNotFound"),
                ("TrafficSplit", "web", "WeightsZero"),
                ("UDPRoute", "dns", "UnsupportedProtocol"),
            ]
            assert one.condition("Accepted", UDP_ROUTES, "dns")[:2] == ("False", "UnsupportedProtocol")
            assert one.condition("Accepted", GROUPS, "bad")[:2] == ("False", "Invalid")
            assert one.condition("ResolvedRefs")[:2] == ("False", "ServiceNotFound")

    asyncio.run(scene())


@pytest.mark.parametrize("status", [403, 404, 409, 500])
def test_what_cannot_be_written_is_tried_again(status: int) -> None:
    async def scene() -> None:
        async with controller() as one:
            one.server.faults.append(web.Response(status=status, text=json.dumps({"message": "no"})))
            await one.look()
            assert one.status() == {}
            await one.look()
            assert one.status()["observedGeneration"] == 1

    asyncio.run(scene())
