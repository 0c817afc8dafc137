"""The life of one pod: its sidecar first, then its containers, readiness, restarts, and an end without loss.

Started and stopped by ``translator.local.supervisor``. What to run is decided in ``environment`` and
``sidecar``, how in ``processes``, whether it is ready in ``probes``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp

from smi.workloads import Container, Workload
from translator.local import podfiles
from translator.local.addresses import listen_port
from translator.local.apphints import address_in_use, last_line
from translator.local.desired import Desired
from translator.local.environment import (
    INSTANCE,
    NO_COMMAND,
    AppProcess,
    NotStartable,
    PodFacts,
    app_process,
    has_command,
    mounted_files,
    no_command,
)
from translator.local.inherit import inherited
from translator.local.listening import Listening
from translator.local.own import own_variables
from translator.local.plan import Instance, owner_of
from translator.local.probes import Pace, Target, http_check, pace_of, readiness_check, watch
from translator.local.processes import APP_BACKOFF, AT_ONCE, Command, Kept, Process
from translator.local.records import PENDING, RUNNING, TERMINATING, PodRecord
from translator.local.settings import Settings
from translator.local.sidecar import Surroundings, Wanted, access_log, clear_ports, sidecar_file

SIDECAR = "proxy"
"""The sidecar's name among the containers of a pod, as in ``smi local logs -c proxy``."""

SIDECAR_PACE = Pace(period=2.0, failure_threshold=2)
"""A sidecar says itself when it is not ready; its death is noticed without asking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What all pods of a mesh share. ``desired`` gives the newest; ``changed`` is told of every new record."""

    settings: Settings
    around: Surroundings
    token_key: bytes
    http: aiohttp.ClientSession
    listening: Listening
    desired: Callable[[], Desired]
    changed: Callable[[], None]
    say: Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """What a pod is made of. ``base`` is the environment it inherits."""

    workload: Workload
    template: str
    serial: int
    base: Mapping[str, str]


class RunningPod:
    """One pod, from its record to its end. ``record`` is replaced with every change."""

    def __init__(self, birth: Birth, record: PodRecord, context: Context) -> None:
        self.birth = birth
        self.record = record
        self._context = context
        meta = record.pod.meta
        self._folder = context.around.state.pod(meta.namespace, meta.name)
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._sidecar_answered = asyncio.Event()
        self._kept: dict[str, Kept] = {}
        self._waits_for: dict[str, tuple[str, str]] = {}
        self._told: Wanted | None = None
        self._last_delay: dict[str, float] = {}

    @property
    def instance(self) -> Instance:
        """The pod as the plan sees it."""
        return Instance(
            owner=owner_of(self.birth.workload),
            name=self.record.pod.meta.name,
            template=self.birth.template,
            ready=self.record.pod.ready,
            stopping=self._stopping.is_set(),
            serial=self.birth.serial,
        )

    def stop(self, *, drain: bool) -> None:
        """Ends the pod; with ``drain`` only after the other sidecars have learnt that it leaves."""
        self._stopping.set()
        if not drain:
            self._hurry.set()

    async def run(self) -> None:
        """Returns when the pod was stopped and all its processes are gone."""
        podfiles.make_folder(self._folder)
        try:
            async with asyncio.TaskGroup() as tasks:
                starting = tasks.create_task(self._start(tasks))
                await self._stopping.wait()
                starting.cancel()
                was_ready = self.record.pod.ready
                self._publish()
                if was_ready:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._hurry.wait(), self._context.settings.drain_grace)
                await self._end()
        finally:
            podfiles.remove_folder(self._folder)

    async def refresh(self) -> None:
        """Follows a change of Services (clear listeners), Namespaces (access log) and ConfigMaps (mounted files)."""
        if SIDECAR in self._kept and self._wanted() != self._told:
            await self._kept[SIDECAR].restart(self._context.settings.app_grace)
        for container in self.birth.workload.containers:
            if container.name in self._kept:
                with contextlib.suppress(NotStartable):  # the running process keeps what it has
                    files = mounted_files(
                        container, self.record.pod.meta.namespace, self._context.desired().config_maps
                    )
                    podfiles.write_mounts(self._folder, container.name, files)

    async def _start(self, tasks: asyncio.TaskGroup) -> None:
        workload = self.birth.workload
        for index, container in enumerate(workload.containers):
            if not has_command(container, workload.template.annotations, index == 0):
                self._refuse(container.name, no_command(container.name))
                return
        if not workload.containers:
            self._refuse("pod", "it has no containers")
            return
        names = [container.name for container in workload.containers]
        self._waits_for = dict.fromkeys(names, ("Starting", "waits for the sidecar"))
        if self.record.pod.meshed:
            podfiles.write_token(self._folder, self.record, self._context.token_key)
            self._waits_for = {SIDECAR: ("SidecarNotReady", "the sidecar starts"), **self._waits_for}
            self._keep(tasks, SIDECAR, Kept(self._start_sidecar, self._watch_sidecar, self._ended(SIDECAR), AT_ONCE))
            await self._sidecar_answered.wait()
        for index, container in enumerate(workload.containers):
            log = self._folder.app_log(container.name if index else "")
            self._keep(tasks, container.name, self._app(container, log, first=index == 0))

    def _keep(self, tasks: asyncio.TaskGroup, name: str, kept: Kept) -> None:
        self._kept[name] = kept
        tasks.create_task(kept.run())

    async def _end(self) -> None:
        hurry = self._hurry.is_set()
        grace = self._context.settings.down_grace if hurry else self._context.settings.app_grace
        await asyncio.gather(*(kept.end(grace) for name, kept in self._kept.items() if name != SIDECAR))
        if SIDECAR in self._kept:
            await self._kept[SIDECAR].end(grace)

    # The sidecar.

    def _start_sidecar(self) -> Process:
        self._told = self._wanted()
        around = self._context.around
        podfiles.write_sidecar(self._folder, sidecar_file(self.record, self._told, around))
        moved = {port: listen_port(port, around.first_unprivileged) for port in self._told.clear}
        self.record = replace(
            self.record,
            pod=replace(self.record.pod, listen_ports={port: to for port, to in moved.items() if port != to}),
        )
        return Process.start(
            Command(
                argv=(*self._context.settings.sidecar, "--config", str(self._folder.sidecar)),
                variables=own_variables(around.mesh.instance),
                folder=str(self._folder.directory),
                log=self._folder.proxy_log,
            )
        )

    async def _watch_sidecar(self, _process: Process) -> None:
        def tell(state: str) -> None:
            if not state:
                self._sidecar_answered.set()
            self._wait_for(SIDECAR, "SidecarNotReady" if state else "", state)

        self._publish()
        check = http_check(self._context.http, f"{self.record.admin}/ready", timeout=2.0)
        await watch(check, SIDECAR_PACE, tell)

    def _wanted(self) -> Wanted:
        workload, desired = self.birth.workload, self._context.desired()
        namespace = desired.namespaces.get(workload.meta.namespace)
        return Wanted(clear_ports(workload, desired.services), access_log(workload, namespace))

    # The containers.

    def _app(self, container: Container, log: Path, *, first: bool) -> Kept:
        printed = 0

        def start() -> Process:
            nonlocal printed
            process = self._process_of(container, first=first)
            podfiles.write_mounts(self._folder, container.name, process.files)
            if first:
                podfiles.write_environment(self._folder, container.name, process.variables)
            printed = log.stat().st_size if log.exists() else 0
            return Process.start(self._command(process.argv, process.variables, log))

        async def beside(_process: Process) -> None:
            self._publish()
            check = readiness_check(self._target(container, first=first), self._context.http, self._context.listening)
            await watch(
                check,
                pace_of(container),
                lambda state: self._wait_for(container.name, "NotReady" if state else "", state),
            )

        return Kept(start, beside, self._ended(container.name, lambda: (log, printed)), APP_BACKOFF)

    def _process_of(self, container: Container, *, first: bool) -> AppProcess:
        return app_process(container, self._facts(), self._context.desired().config_maps, first)

    def _command(self, argv: tuple[str, ...], variables: Mapping[str, str], log: Path) -> Command:
        return Command(
            argv=argv,
            variables={**app_base(self.birth.base), **variables, INSTANCE: self._context.around.mesh.instance},
            folder=self.birth.workload.folder,
            log=log,
        )

    def _target(self, container: Container, *, first: bool) -> Target:
        def command(argv: tuple[str, ...]) -> Command:
            return self._command(argv, self._process_of(container, first=first).variables, Path(os.devnull))

        return Target(
            address=self.record.app_address,
            container=container,
            first_unprivileged=self._context.around.first_unprivileged,
            command=command,
        )

    def _facts(self) -> PodFacts:
        workload = self.birth.workload
        return PodFacts(
            pod=self.record.pod,
            uid=self.record.uid,
            app_address=self.record.app_address,
            files=str(self._folder.files),
            first_unprivileged=self._context.around.first_unprivileged,
            ports=tuple(port.port for one in workload.containers for port in one.ports if port.protocol == "TCP"),
        )

    # What is told.

    def _refuse(self, name: str, message: str) -> None:
        self._waits_for[name] = (NO_COMMAND, message)
        self._context.say(f"{self.record.key}: {NO_COMMAND}: {message}")
        self._publish()

    def _ended(
        self, name: str, printed: Callable[[], tuple[Path, int]] | None = None
    ) -> Callable[[str, str, float], None]:
        def ended(reason: str, message: str, delay: float) -> None:
            log, offset = printed() if printed else (self._folder.proxy_log, 0)
            if reason == "Exited":
                reason = "CrashLoopBackOff"
                line = "" if message.startswith("killed") else last_line(log, offset)  # a killed app says nothing of it
                message = f"{message}: {line}" if line else message
                if address_in_use(log, offset):
                    message += f"; it must listen on HOST and PORT only ({self.record.app_address}), not on 0.0.0.0"
            if delay != self._last_delay.get(name):
                self._context.say(f"{self.record.key}: {name}: {message}; starts again in {delay:g} s")
            self._last_delay[name] = delay
            self._wait_for(name, reason, message)

        return ended

    def _wait_for(self, name: str, reason: str, message: str) -> None:
        """Notes why one of the pod's processes keeps it from being ready; an empty reason: it does not."""
        self._waits_for[name] = (reason, message)
        self._publish()

    def _publish(self) -> None:
        unready = [(reason, message) for reason, message in self._waits_for.values() if reason]
        reason, message = unready[0] if unready else ("", "")
        stopping = self._stopping.is_set()
        apps = [kept for name, kept in self._kept.items() if name != SIDECAR]
        sidecar = self._kept.get(SIDECAR)
        record = replace(
            self.record,
            pod=replace(self.record.pod, ready=bool(self._waits_for) and not unready and not stopping),
            phase=TERMINATING if stopping else RUNNING if apps else PENDING,
            reason=reason,
            message=message,
            app_pid=apps[0].pid if apps else 0,
            sidecar_pid=sidecar.pid if sidecar else 0,
        )
        if record != self.record:
            self.record = record
            self._context.changed()


def app_base(base: Mapping[str, str]) -> dict[str, str]:
    """What an app inherits: ``smi local logs -f`` shows lines as they are printed, as images usually have it."""
    return {"PYTHONUNBUFFERED": "1", **inherited(base)}
