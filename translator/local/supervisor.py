"""Keeps a mesh as its folder asks: plans, starts and stops pods, keeps the controller, writes ``pods.json``.

``translator.local.up`` makes the surroundings and runs it; ``translator.local.control``
lets other processes ask something of it. Decisions are ``plan``'s.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from proxy.contract.ports import ADMIN, RESERVED
from smi.sources.directory import DirectorySource
from smi.sources.snapshot import Snapshot
from smi.workloads import Workload
from translator.local.addresses import MOST_PODS, Subnet, listen_port, next_host
from translator.local.controllerprocess import Listener, keep_controller
from translator.local.desired import Desired, desired_of
from translator.local.environment import NO_COMMAND
from translator.local.errors import NotReady, PodExists
from translator.local.foreseen import pod_of
from translator.local.listening import Listening
from translator.local.plan import Instance, Owner, Start, owner_of, plan, settled
from translator.local.pod import Birth, Context, RunningPod
from translator.local.processes import Kept
from translator.local.records import PodRecord, encode_mesh, encode_pods
from translator.local.settings import Settings
from translator.local.sidecar import Surroundings, container_ports, is_meshed
from translator.local.state import write_atomically

WRITE_AGAIN = 1.0
"""Seconds until the state of the mesh is written again after that has failed."""

SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""Kubernetes' own choice for pod names: no vowels, so no words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """A pod of ``smi local run``. ``base`` is the environment of who ran it."""

    workload: Workload
    base: Mapping[str, str]


class Supervisor:
    """One mesh. ``problems`` are those of its manifests, as far as they are known here."""

    def __init__(
        self,
        settings: Settings,
        around: Surroundings,
        subnet: Subnet,
        token_key: bytes,
        say: Callable[[str], None],
    ) -> None:
        self.settings = settings
        self.snapshot: Snapshot | None = None
        self._around = around
        self._mesh = around.mesh
        self._subnet = subnet
        self._token_key = token_key
        self._say = say
        self._pods: dict[tuple[str, str], RunningPod] = {}
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._added: dict[Owner, Added] = {}
        self._desired = Desired()
        self._remarks: set[str] = set()
        self._unplaced: tuple[Owner, ...] = ()
        self._serial = 0
        self._last_host = 1
        self._controller_state = "the controller starts"
        self._stale = asyncio.Event()
        self._unwritten = asyncio.Event()
        self._manifests_changed = asyncio.Event()
        self._progress = asyncio.Event()

    @property
    def records(self) -> tuple[PodRecord, ...]:
        """All pods, by name."""
        return tuple(self._pods[key].record for key in sorted(self._pods))

    async def run(self, stop: asyncio.Event) -> None:
        """Runs the mesh until ``stop`` is set and everything has ended."""
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        async with aiohttp.ClientSession(connector=connector) as http, asyncio.TaskGroup() as tasks:
            controller = self._controller(http)
            tasks.create_task(controller.run(), name="controller")
            writer = tasks.create_task(self._write_state(), name="state")
            loops = [
                tasks.create_task(self._follow_manifests(), name="manifests"),
                tasks.create_task(self._refresh_pods(), name="refresh"),
                tasks.create_task(self._reconcile(tasks, self._context(http)), name="reconcile"),
            ]
            await stop.wait()
            for loop in loops:
                loop.cancel()
            for pod in self._pods.values():
                pod.stop(drain=False)
            await asyncio.gather(*self._tasks.values())
            await controller.end(self.settings.down_grace)
            writer.cancel()

    async def until_ready(self) -> None:
        """Returns when the controller serves and every pod that can start is ready."""
        while not self._is_ready():
            await self._progress.wait()

    async def add(self, added: Added, patience: float) -> PodRecord:
        """Adds a pod and waits until it is ready; else it is taken away again and ``NotReady`` says why."""
        owner = owner_of(added.workload)
        key = owner[1], owner[2]
        if key in self._pods or owner in self._added:
            raise PodExists(*key)
        self._added[owner] = added
        self._changed()
        try:
            async with asyncio.timeout(patience):
                while not (key in self._pods and self._pods[key].record.pod.ready):
                    await self._progress.wait()
            return self._pods[key].record
        except TimeoutError:
            why = describe(self._pods[key].record) if key in self._pods else "it could not be started"
            raise NotReady(f"pod {owner[2]} is not ready after {patience:g} s: {why}") from None
        finally:
            if not (key in self._pods and self._pods[key].record.pod.ready):
                self._added.pop(owner, None)
                self._changed()

    def unready(self) -> tuple[str, ...]:
        """What keeps the mesh from being ready, one line each."""
        lines = [f"controller: {self._controller_state}"] if self._controller_state else []
        lines += [
            f"{record.key}: {describe(record)}"
            for record in self.records
            if not record.pod.ready and record.reason != NO_COMMAND
        ]
        lines += [self._no_room(owner) for owner in self._unplaced]
        return tuple(lines) or ("the manifests are being read",)

    # The loops.

    async def _follow_manifests(self) -> None:
        source = DirectorySource([Path(folder) for folder in self.settings.directories], None)
        self._take(await asyncio.to_thread(source.load))
        async for snapshot in source.watch():
            self._take(snapshot)

    def _take(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._desired = desired_of(snapshot.objects.values())
        self._manifests_changed.set()
        self._changed()

    async def _refresh_pods(self) -> None:
        while True:
            await self._manifests_changed.wait()
            self._manifests_changed.clear()
            await asyncio.gather(*(pod.refresh() for pod in self._pods.values()))

    async def _reconcile(self, tasks: asyncio.TaskGroup, context: Context) -> None:
        while True:
            await self._stale.wait()
            self._stale.clear()
            step = plan(self._workloads(), self._instances(), suffix, MOST_PODS - len(self._pods))
            self._unplaced = step.unplaced
            for owner in step.unplaced:
                self._remark(self._no_room(owner))
            for key in step.stop:
                self._pods[key].stop(drain=True)
                self._changed()
            for start in step.start:
                self._start(start, tasks, context)

    async def _write_state(self) -> None:
        """What other commands read. A full disk must not end the mesh: it is written when there is room again."""
        written, state = self._around.mesh, self._around.state
        while True:
            await self._unwritten.wait()
            self._unwritten.clear()
            mesh, data = self._mesh, encode_pods(self.records)
            try:
                if mesh != written:
                    await asyncio.to_thread(write_atomically, state.mesh, encode_mesh(mesh))
                    written = mesh
                await asyncio.to_thread(write_atomically, state.pods, data)
            except OSError as error:
                self._remark(f"{state.directory}: cannot be written: {error.strerror}; it is tried again")
                await asyncio.sleep(WRITE_AGAIN)
                self._unwritten.set()

    # Pods.

    def _start(self, start: Start, tasks: asyncio.TaskGroup, context: Context) -> None:
        record = self._new_record(start)
        if record is None:
            return
        owner = owner_of(start.workload)
        base = self._added[owner].base if owner in self._added else os.environ
        self._serial += 1
        birth = Birth(workload=start.workload, template=start.template, serial=self._serial, base=base)
        pod = RunningPod(birth, record, context)
        key = start.workload.meta.namespace, start.name
        self._pods[key] = pod
        self._tasks[key] = tasks.create_task(self._run(key, pod), name=f"pod {record.key}")
        self._changed()

    async def _run(self, key: tuple[str, str], pod: RunningPod) -> None:
        try:
            await pod.run()
        except* OSError as problems:
            self._say(f"{pod.record.key}: {problems.exceptions[0]}; starts again in 1 s")
            await asyncio.sleep(1.0)
        finally:
            del self._pods[key], self._tasks[key]
            self._changed()

    def _new_record(self, start: Start) -> PodRecord | None:
        workload = start.workload
        taken = {int(record.pod.ip.rpartition(".")[2]) for record in self.records}
        host = next_host(taken, self._last_host)
        if host is None:
            return None
        self._last_host = host
        meshed = is_meshed(workload, self._desired.namespaces.get(workload.meta.namespace))
        self._remark_ports(workload, meshed)
        ip = self._subnet.pod_ip(host)
        pod = pod_of(workload, start.name, ip, meshed=meshed, created=datetime.now(UTC))
        return PodRecord(
            pod=pod,
            uid=secrets.token_hex(16),
            app_address=self._subnet.app_address(host) if meshed else ip,
            admin=f"http://{ip}:{ADMIN}" if meshed else "",
        )

    def _no_room(self, owner: Owner) -> str:
        return f"{owner[1]}/{owner[2]}: not all of its pods start: all addresses of {self._subnet.cidr} are taken"

    def _remark_ports(self, workload: Workload, meshed: bool) -> None:
        for port in container_ports(workload.containers):
            moved = listen_port(port, self._around.first_unprivileged)
            if meshed and port in RESERVED:
                self._remark(f"{workload.meta.key}: containerPort {port} is the sidecar's own and cannot be reached")
            elif moved != port:
                self._remark(f"{workload.meta.key}: containerPort {port} needs root, {moved} takes its place (PORT)")

    def _remark(self, line: str) -> None:
        """Says what would otherwise be said for every replica once."""
        if line not in self._remarks:
            self._remarks.add(line)
            self._say(line)

    # What others are told.

    def _workloads(self) -> tuple[Workload, ...]:
        by_owner = {owner_of(workload): workload for workload in self._desired.workloads}
        return tuple((by_owner | {owner: added.workload for owner, added in self._added.items()}).values())

    def _instances(self) -> list[Instance]:
        return [pod.instance for pod in self._pods.values()]

    def _is_ready(self) -> bool:
        if self.snapshot is None or self._controller_state:
            return False
        hopeless = frozenset(pod.birth.template for pod in self._pods.values() if pod.record.reason == NO_COMMAND)
        return settled(self._workloads(), self._instances(), hopeless)

    def _controller(self, http: aiohttp.ClientSession) -> Kept:
        def runs(pid: int) -> None:
            self._mesh = replace(self._around.mesh, controller_pid=pid)
            self._unwritten.set()

        def serves(state: str) -> None:
            self._controller_state = state
            self._changed()

        listener = Listener(say=self._say, runs=runs, serves=serves)
        return keep_controller(self.settings, self._around.state, self._around.mesh, http, listener)

    def _context(self, http: aiohttp.ClientSession) -> Context:
        return Context(
            settings=self.settings,
            around=self._around,
            token_key=self._token_key,
            http=http,
            listening=Listening(),
            desired=lambda: self._desired,
            changed=self._changed,
            say=self._say,
        )

    def _changed(self) -> None:
        self._stale.set()
        self._unwritten.set()
        self._progress.set()
        self._progress = asyncio.Event()


def suffix() -> str:
    """Five letters that make a pod's name its own."""
    return "".join(secrets.choice(SUFFIX_LETTERS) for _ in range(5))


def describe(record: PodRecord) -> str:
    """Why a pod is not ready, in words."""
    return f"{record.reason}: {record.message}" if record.reason else record.phase
