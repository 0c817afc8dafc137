"""A reconciler behind a real control port, for tests of its streams; only the compiler and the clock are fakes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

from control import ACCOUNT, NAMESPACE, listening
from msgspec.structs import replace

from proxy.contract.config import Cluster, Config, Endpoint, Host
from proxy.subscribe import Subscription
from smi.meta import Meta
from smi.workloads import Pod
from translator.collect import Collector
from translator.compiler import Compiled
from translator.identity.authority import Authority
from translator.push import Publisher
from translator.reconcile import Reconciler, Subscriber
from translator.traffic import Traffic
from translator.world import World

PODS = ("web-0", "web-1", "web-2")


def config(number: int) -> Config:
    return Config(clusters={"shop/web:80": Cluster(endpoints=(Endpoint(ip="10.0.0.1", port=number),))})


def pod(name: str, account: str = ACCOUNT) -> Pod:
    return Pod(meta=Meta(name=name, namespace=NAMESPACE), ip="127.80.0.2", service_account=account, mesh_port=4143)


class Control:
    """A reconciler behind a listener. Every sidecar is to have ``wanted``, with an answer to each host it asked for."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.time: Callable[[], float] = asyncio.get_running_loop().time
        self.reconciler = Reconciler(self.compile, clock=self.now)
        self.wanted = config(1)
        self.answers: dict[str, Host] = {}
        self.broken: set[str] = set()
        self.collector = Collector(Traffic(1.0, self.now()), interval=0.1, clock=self.now)

    def now(self) -> float:
        return self.time()

    def compile(self, _: World, of: Pod, hosts: frozenset[str]) -> Compiled:
        if of.meta.name in self.broken:
            raise KeyError("a mistake of the compiler")
        return Compiled(config=replace(self.wanted, hosts={host: self.answers.get(host, Host()) for host in hosts}))

    def want(self, wanted: Config, *pods: Pod) -> None:
        """The world changes."""
        self.wanted = wanted
        self.reconciler.world_changed(World.of(pods=pods or tuple(map(pod, PODS))))

    def known(self, name: str) -> Subscriber:
        return self.reconciler.subscribers.get(f"{NAMESPACE}/{name}") or Subscriber("", "")

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[int]:
        reconciling = asyncio.create_task(self.reconciler.run())
        publisher = Publisher(self.reconciler, self.authority, self.collector)
        async with listening(self.authority, publisher, port) as bound:
            yield bound
        reconciling.cancel()
        await asyncio.gather(reconciling, return_exceptions=True)


def run(scene: Callable[[Control], Coroutine[None, None, None]], authority: Authority) -> None:
    async def main() -> None:
        await scene(Control(authority))

    asyncio.run(main())


def ports(subscription: Subscription) -> list[int]:
    """What tells the test's configs apart."""
    return [end.port for cluster in subscription.current.clusters.values() for end in cluster.endpoints]
