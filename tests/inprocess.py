"""A whole mesh in this process: a sidecar for each pod at addresses of their own, mTLS between them, no controller.

Configs are the compiler's; every application says who it is and what it was asked, and fails where it is asked to.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import cast

from eventually import eventually
from msgspec.structs import replace as changed
from pair import contexts_of
from wire import PATIENCE, Answered, End

from proxy.contract.config import ClearListener, Config, File, Listeners, Sidecar, spiffe_id
from proxy.sidecar import Sidecar as Running
from smi.workloads import Pod
from translator.compiler import compile_sidecar
from translator.explain.mesh import Mesh
from translator.world import World

CONTAINER_PORTS = {8080: 8080, 9090: 9090, 80: 20080}
"""Where they are bound: 80 is for root alone."""
OUTBOUND, MESH = 4140, 4143


def free_net() -> str:
    """Three octets of the loopback where nobody listens; local meshes have others."""
    while True:
        net = f"127.85.{random.randrange(256)}"
        with socket.socket() as sock:
            if sock.connect_ex((f"{net}.10", MESH)) != 0:
                return net


def placed(pods: Sequence[Pod], net: str) -> tuple[Pod, ...]:
    """The same pods at addresses of ``net``."""
    return tuple(replace(pod, ip=f"{net}.{number + 10}", listen_ports={80: 20080}) for number, pod in enumerate(pods))


@dataclass
class Standing:
    """The running mesh; ``mesh`` is what explanations of it are made from, ``asked`` what applications were asked."""

    mesh: Mesh
    asked: list[str]

    async def ask(self, caller: Pod, request: bytes, direct: tuple[str, int] | None = None) -> Answered:
        """One request of a pod through its sidecar, or ``direct`` to an address."""
        address = direct or (caller.ip, OUTBOUND)
        _, end = await asyncio.get_running_loop().create_connection(End, *address)
        end.send(request)
        try:
            return await end.answer()
        finally:
            end.transport.abort()
            await end.wait(lambda: end.lost, "the end of a connection")


@asynccontextmanager
async def standing(world: World, hosts: frozenset[str]) -> AsyncIterator[Standing]:
    """All pods of ``world``, at the addresses they have, every sidecar having asked for ``hosts``."""
    files = {pod.meta.key: _file(world, pod, hosts) for pod in world.pods}

    def config(pod: Pod, _: str) -> Config:
        return files[pod.meta.key].config

    def settings(pod: Pod) -> Sidecar:
        return files[pod.meta.key].sidecar

    asked: list[str] = []
    async with AsyncExitStack() as stack:
        for pod in world.pods:
            await stack.enter_async_context(
                _applications(pod, settings(pod).app_address if pod.meshed else pod.ip, asked)
            )
            if pod.meshed:
                await stack.enter_async_context(_sidecar(pod, files[pod.meta.key]))
        yield Standing(Mesh(world=world, config=config, settings=settings), asked)


def _file(world: World, pod: Pod, hosts: frozenset[str]) -> File:
    sidecar = Sidecar(
        pod=pod.meta.name,
        namespace=pod.meta.namespace,
        service_account=pod.service_account,
        listeners=Listeners(
            address=pod.ip,
            outbound=OUTBOUND,
            mesh=MESH,
            admin=0,
            clear=tuple(ClearListener(port=bound, target=port) for port, bound in CONTAINER_PORTS.items()),
        ),
        app_ports={80: 20080},
        app_address=pod.ip.replace("127.85.", "127.86."),
    )
    return File(sidecar=sidecar, config=changed(compile_sidecar(world, pod, hosts).config, version=1))


@asynccontextmanager
async def _applications(pod: Pod, address: str, asked: list[str]) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(lambda port=port: _Application(f"{pod.meta.key} {port}", asked), address, bound)  # type: ignore[misc]
        for port, bound in CONTAINER_PORTS.items()
    ]
    try:
        yield
    finally:
        for server in servers:
            server.close()


class _Application(asyncio.Protocol):
    """Answers each head with its name and the request line's target; 503 where that ends in ``/fail``."""

    def __init__(self, name: str, asked: list[str]) -> None:
        self._name = name
        self._asked = asked
        self._received = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            method, target, _ = head.split(b" ", 2)
            self._asked.append(f"{method.decode()} {target.decode('latin-1')}")
            body = self._name.encode() + b" " + target
            status = b"503 Service Unavailable" if target.endswith(b"/fail") else b"200 OK"
            self.transport.write(b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body))


@asynccontextmanager
async def _sidecar(pod: Pod, file: File) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    sidecar = Running(file, loop)
    identity = spiffe_id("cluster.local", pod.meta.namespace, pod.service_account)
    sidecar.contexts = contexts_of(identity, f"{pod.meta.name}.{pod.meta.namespace}.pod")
    stop = asyncio.Event()
    running = asyncio.create_task(sidecar.run(stop))
    try:
        await eventually(lambda: running.done() or _listens(pod.ip, MESH), PATIENCE)
        assert not running.done(), running.exception()
        yield
    finally:
        stop.set()
        await running


def _listens(address: str, port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((address, port)) == 0
