"""The controller as a process: manifests in a folder, a supervisor's files, sidecars that subscribe."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from control import ACCOUNT, NAMESPACE, Applied, contexts, sidecar, subscribed
from eventually import eventually
from ports import free_port

from smi.meta import Meta
from smi.workloads import Pod
from translator.identity.authority import Authority
from translator.local.records import MeshRecord, PodRecord, encode_mesh, encode_pods
from translator.local.state import MeshState, write_atomically

ROOT = Path(__file__).parents[2]

SERVICES = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: web-v2, namespace: shop}
spec: {selector: {app: web-v2}, ports: [{port: 80, targetPort: 8080}]}
"""

SPLIT = """
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {name: web, namespace: shop}
spec:
  service: web
  backends:
  - {service: web, weight: WEIGHT}
  - {service: web-v2, weight: 1}
"""


class Mesh:
    """A mesh's folders, and the controller that follows them."""

    def __init__(self, folder: Path) -> None:
        self.state = MeshState(directory=folder / "state")
        self.manifests = folder / "manifests"
        self.state.directory.mkdir()
        self.manifests.mkdir()
        self.authority = Authority.create(self.state.directory)
        self.record = MeshRecord(
            name="test",
            instance="i",
            pid=os.getpid(),
            api_port=free_port(),
            directories=(str(self.manifests),),
            control_address="127.0.0.1",
            control_port=free_port(),
        )
        self.state.mesh.write_bytes(encode_mesh(self.record))
        self.save("services.yaml", SERVICES)
        self.errors: list[str] = []

    def save(self, name: str, text: str) -> None:
        (self.manifests / name).write_text(text)

    def split(self, weight: int) -> None:
        self.save("split.yaml", SPLIT.replace("WEIGHT", str(weight)))

    def pods(self, *names: str) -> None:
        """The supervisor writes down which pods run."""
        records = tuple(
            PodRecord(
                pod=Pod(
                    meta=Meta(name=name, namespace=NAMESPACE, labels={"app": "web"}),
                    ip="127.80.0.2",
                    service_account=ACCOUNT,
                    ready=True,
                    mesh_port=4143,
                ),
                uid=name,
                app_address="127.81.0.2",
            )
            for name in names
        )
        write_atomically(self.state.pods, encode_pods(records))

    async def ask(self, path: str) -> object:
        """The API's answer; None while there is none."""
        try:
            async with aiohttp.ClientSession() as session, session.get(self.record.url + path) as answer:
                return await answer.json(content_type=None) if answer.status == 200 else None
        except (aiohttp.ClientError, json.JSONDecodeError):
            return None

    @asynccontextmanager
    async def controlled(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """The controller's process; ended at the end if it has not ended before."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "translator", "--state", str(self.state.directory),
            cwd=ROOT, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        reading = asyncio.create_task(self._read(process))
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await reading

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            self.errors.append(line.decode().rstrip())


@pytest.fixture
def mesh(tmp_path: Path) -> Mesh:
    return Mesh(tmp_path)


def weights(applied: Applied) -> list[int]:
    """The weights in force for web:80."""
    if not applied.configs or "shop/web" not in applied.configs[-1].services:
        return []
    return [
        backend.weight for rule in applied.configs[-1].services["shop/web"].ports[80].rules for backend in rule.backends
    ]


def test_a_saved_split_reaches_the_sidecar_and_a_wrong_one_does_not(mesh: Mesh) -> None:
    async def main() -> None:
        applied = Applied()
        settings = sidecar(mesh.record.control_port)
        own = contexts(mesh.authority, "web-0")
        async with mesh.controlled() as process, subscribed(settings, own, applied) as subscription:
            await eventually(lambda: subscription.connected, timeout=20)
            mesh.pods("web-0")
            await eventually(lambda: applied.configs)
            await subscription.resolve("web.shop", 5)
            assert weights(applied) == []
            mesh.split(9)
            await eventually(lambda: weights(applied) == [9, 1])

            mesh.split(-3)
            await eventually(lambda: mesh.errors)
            (line,) = mesh.errors
            assert line.startswith(f"{mesh.manifests}/split.yaml:8: spec.backends[0].weight: ")
            problems = await mesh.ask("/problems")
            assert isinstance(problems, list)
            (problem,) = problems
            assert line == "{file}:{line}: {field}: {message}".format(**problem)
            mesh.save("other.yaml", SERVICES.replace("name: web", "name: other"))
            await asyncio.sleep(0.2)
            assert weights(applied) == [9, 1]
            assert mesh.errors == [line], "said once"

            mesh.split(4)
            await eventually(lambda: weights(applied) == [4, 1])
            await eventually(lambda: mesh.errors == [line, f"resolved: {line}"])
            (mesh.manifests / "split.yaml").unlink()
            await eventually(lambda: weights(applied) == [])

            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 10) == 0

    asyncio.run(main())


def test_a_killed_controller_comes_back_without_an_empty_world(mesh: Mesh) -> None:
    async def main() -> None:
        mesh.split(9)
        mesh.pods("web-0")
        applied = Applied()
        settings = sidecar(mesh.record.control_port)
        async with subscribed(settings, contexts(mesh.authority, "web-0"), applied) as subscription:
            async with mesh.controlled() as process:
                await eventually(lambda: subscription.connected, timeout=20)
                await subscription.resolve("web.shop", 5)
                assert weights(applied) == [9, 1]
                process.kill()
            await eventually(lambda: not subscription.connected)
            count, version = len(applied.configs), subscription.current.version

            mesh.state.pods.rename(mesh.state.directory / "aside")
            mesh.split(7)
            async with mesh.controlled():
                await eventually(lambda: subscription.connected, timeout=20)
                assert await mesh.ask("/healthz") is None, "pods.json has not been read"
                await asyncio.sleep(0.2)
                assert len(applied.configs) == count
                (mesh.state.directory / "aside").rename(mesh.state.pods)
                await eventually(lambda: len(applied.configs) == count + 1)
                assert weights(applied) == [7, 1]
                assert subscription.current.version == version + 1

    asyncio.run(main())


def test_a_state_without_mesh_is_said(mesh: Mesh) -> None:
    async def main() -> None:
        mesh.state.mesh.unlink()
        async with mesh.controlled() as process:
            assert await asyncio.wait_for(process.wait(), 20) == 1
        assert "mesh.json" in mesh.errors[0]

    asyncio.run(main())


def test_a_taken_port_is_said(mesh: Mesh) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", mesh.record.control_port)):
            async with mesh.controlled() as process:
                assert await asyncio.wait_for(process.wait(), 20) == 1
        assert str(mesh.record.control_port) in mesh.errors[0]

    asyncio.run(main())
