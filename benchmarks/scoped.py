"""Memory of real sidecars at rest, in a cluster of so many Services of which each calls ten.

They are ``python -m proxy``, enrolled with the controller of a ``Plane`` by tokens, as in a pod. Used by
``control.py``, at each size as many: they share pages with each other, and with whatever else runs on the same Python.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from benchmarks.gauges import private_dirty, pss
from benchmarks.peers.processes import free_port
from benchmarks.plane import ROOT, Plane, until_ready
from benchmarks.swarm import Pod
from proxy.contract.config import Control, File, Listeners, Sidecar, TlsFiles
from translator.kube.names import AUDIENCE
from translator.kube.tokenreview import PATH as REVIEWS
from translator.kube.tokenreview import POD_NAME

SIDECARS = 3
START_SECONDS = 30.0
"""For a key, a certificate and the first config."""

REST = 8.0
"""Seconds until what starting needed has been given back and reports have begun."""

STOP_SECONDS = 15.0
HOST = "127.0.0.1"

NO_PORT = 81
"""None of the Services has it: a request there asks the controller for the name, and then goes nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """One sidecar's process, and where it listens."""

    process: asyncio.subprocess.Process
    outbound: int
    admin: int


async def memory_of_sidecars(of: Plane, pods: Sequence[Pod]) -> dict[str, list[float]]:
    """MB of a sidecar for each of ``pods``: proportional set size, and what it has written to and shares with none."""
    of.server.answers[REVIEWS] = reviewed(pods)
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack, aiohttp.ClientSession() as session:
            sidecars = [await stack.enter_async_context(_running(of, pod, Path(folder, pod.name))) for pod in pods]
            for one, pod in zip(sidecars, pods, strict=True):
                await until_ready("a sidecar", one.process, partial(_ready, one, session), START_SECONDS)
                await _ask(one, pod.hosts, session)
            await asyncio.sleep(REST)
            pids = [one.process.pid for one in sidecars]
            return {"pss": [pss(pid) for pid in pids], "private_dirty": [private_dirty(pid) for pid in pids]}


def reviewed(pods: Sequence[Pod]) -> Any:
    """What the API server says of a token, which here is the name of its pod."""
    by_name = {pod.name: pod for pod in pods}

    def answer(review: Mapping[str, Any]) -> dict[str, Any]:
        pod = by_name.get(review["spec"]["token"])
        if pod is None:
            return {"status": {"authenticated": False}}
        user = {
            "username": f"system:serviceaccount:{pod.namespace}:{pod.account}",
            "extra": {POD_NAME: [pod.name]},
        }
        return {"status": {"authenticated": True, "audiences": [AUDIENCE], "user": user}}

    return answer


def _sidecar_file(of: Plane, pod: Pod, folder: Path, ports: tuple[int, int, int]) -> File:
    """What its process is told; ``ports`` are those for its application, its peers and its admin pages."""
    outbound, mesh, admin = ports
    return File(
        sidecar=Sidecar(
            pod=pod.name,
            namespace=pod.namespace,
            service_account=pod.account,
            listeners=Listeners(address=HOST, outbound=outbound, mesh=mesh, admin=admin),
            tls=TlsFiles(
                bundle=str(folder / "bundle.pem"),
                certificate=str(folder / "tls.crt"),
                key=str(folder / "tls.key"),
                token=str(folder / "token"),
            ),
            control=Control(
                address=HOST, port=of.options.control_port, identity=of.authority.controller_identity
            ),
            state=str(folder),
            log_level="warning",
        )
    )  # fmt: skip


def _prepared(of: Plane, pod: Pod, folder: Path, ports: tuple[int, int, int]) -> Path:
    folder.mkdir()
    (folder / "bundle.pem").write_text(of.authority.bundle)
    (folder / "token").write_text(pod.name)
    settings = folder / "sidecar.json"
    settings.write_bytes(msgspec.json.encode(_sidecar_file(of, pod, folder, ports)))
    return settings


@asynccontextmanager
async def _running(of: Plane, pod: Pod, folder: Path) -> AsyncIterator[Running]:
    ports = free_port(), free_port(), free_port()
    command = [sys.executable, "-P", "-m", "proxy", "--config", str(_prepared(of, pod, folder, ports))]
    process = await asyncio.create_subprocess_exec(*command, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        yield Running(process=process, outbound=ports[0], admin=ports[2])
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def _ready(one: Running, session: aiohttp.ClientSession) -> bool:
    async with session.get(f"http://{HOST}:{one.admin}/ready") as answer:
        return answer.status == 200


async def _ask(one: Running, hosts: Sequence[str], session: aiohttp.ClientSession) -> None:
    """Has it learn these names as its application's first requests would, without a connection to the endpoints."""
    for host in hosts:
        url = f"http://{HOST}:{one.outbound}/"
        async with session.get(url, headers={"Host": f"{host}:{NO_PORT}"}) as answer:
            said = await answer.text()
        if f"has no port {NO_PORT}" not in said:
            raise SystemExit(f"a sidecar that asked for {host} was not told of it: {answer.status} {said[:200]!r}")
    async with session.get(f"http://{HOST}:{one.admin}/config") as answer:
        known = len((await answer.json())["hosts"])
    if known != len(hosts):
        raise SystemExit(f"a sidecar that asked for {len(hosts)} names knows {known}")
