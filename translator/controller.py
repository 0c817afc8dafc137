"""The controller process: sources in, sidecars out, an API beside.

Wires what others do: ``smi.sources.directory`` and ``translator.runtime`` give
snapshots of manifests and pods, both together a ``World``; ``translator.reconcile``
compiles it for each sidecar, ``translator.push`` sends it,
``translator.identity`` says who is who, ``translator.collect`` keeps what sidecars
counted, ``translator.api`` shows it all.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
from aiohttp import web

from proxy.contract.config import File, Trust
from smi.problems import Problem
from smi.sources.directory import DirectorySource
from smi.sources.snapshot import Snapshot
from smi.workloads import Pod
from translator import api, control, problems
from translator.collect import Collector
from translator.compiler import compile_sidecar
from translator.identity import tokens
from translator.identity.rotation import IdentityShown, Outlets, Rotation
from translator.identity.serving import ControlSite
from translator.identity.subject import SidecarIdentity
from translator.identity.wanted import IdentityOptions
from translator.local.records import MeshRecord
from translator.local.state import MeshState
from translator.reconcile import Reconciler
from translator.roster import Roster
from translator.runtime import PodsFile
from translator.settings import Settings
from translator.traffic import Traffic
from translator.world import World

FIRST_SEEN_FILE = "first-seen.json"

log = logging.getLogger("translator.controller")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the controller was started. ``manifests`` are folders, ``state`` the mesh's own folder.

    ``report_seconds``: sidecars report what they counted this often at least. Also the resolution of what is kept.
    """

    state: MeshState
    mesh: MeshRecord
    manifests: tuple[Path, ...]
    settings: Settings = field(default_factory=Settings)
    identity: IdentityOptions = field(default_factory=IdentityOptions)
    report_seconds: float = 5.0


class Controller:
    """Manifests and pods as last seen, and the world made of them once both have been read.

    ``rotation`` says who signs certificates and whom the mesh trusts.
    """

    def __init__(self, options: Options, rotation: Rotation) -> None:
        self.reconciler = Reconciler(compile_sidecar)
        self.problems: tuple[Problem, ...] = ()
        """What is wrong with the manifests and with the files of the CA."""
        self.state = options.state
        self._rotation = rotation
        self.roster = Roster()
        traffic = Traffic(options.report_seconds, time.monotonic())
        self.collector = Collector(traffic, options.report_seconds, time.monotonic)
        self._settings = options.settings
        self._snapshot: Snapshot | None = None
        self._pods: tuple[Pod, ...] | None = None

    @property
    def identity(self) -> IdentityShown:
        """For the API."""
        return self._rotation.shown()

    def sidecar_file(self, pod: Pod) -> File | None:
        """For the API."""
        path = self.state.pod(pod.meta.namespace, pod.meta.name).sidecar
        try:
            return msgspec.json.decode(path.read_bytes(), type=File)
        except (OSError, msgspec.MsgspecError):
            return None

    def trust_changed(self, trust: Trust) -> None:
        """Other roots or another issuer are in force."""
        federated = tuple(sorted(trust.federated))
        self.reconciler.trust_changed(trust)
        if federated != self._settings.federated:
            self._settings = replace(self._settings, federated=federated)
            self._changed()

    def look_for_problems(self) -> None:
        """Says what is new about the problems."""
        manifests = self._snapshot.problems if self._snapshot is not None else ()
        found = (*manifests, *self._rotation.problems)
        for line in problems.news(self.problems, found):
            print(line, file=sys.stderr, flush=True)
        self.problems = found

    def manifests_changed(self, snapshot: Snapshot) -> None:
        """The folder was read: says what is new about its problems, and reconciles."""
        known = self._snapshot.ignored if self._snapshot is not None else ()
        for line in snapshot.ignored:
            if line not in known:
                log.info("left alone %s", line)
        self._snapshot = snapshot
        self.look_for_problems()
        self._changed()

    def pods_changed(self, pods: tuple[Pod, ...]) -> None:
        """The supervisor wrote down other pods."""
        self._pods = pods
        self.roster.update(pods, time.monotonic())
        self._changed()

    def _changed(self) -> None:
        if self._snapshot is None or self._pods is None:
            return
        known, objects = self.reconciler.world, self._snapshot.objects.values()
        if known is None:
            log.info("sources read objects=%d pods=%d", len(objects), len(self._pods))
        if known is None or known.settings != self._settings:
            self.reconciler.world_changed(World.of(objects, self._pods, self._settings))
        else:
            self.reconciler.world_changed(*known.become(objects, self._pods))


async def run(options: Options) -> None:
    """Runs until SIGTERM or SIGINT.

    Raises ``OSError`` when a port is taken, ``AuthorityError`` or ``TokenKeyDamaged`` when the CA's or the mesh's own
    files are damaged.
    """
    control.map_large_blocks()
    stop = control.stop_signals()
    directory, trust_domain = options.state.directory, options.settings.trust_domain
    rotation = await asyncio.to_thread(Rotation, directory, options.identity, trust_domain)
    controller = Controller(options, rotation)
    site, runners = await _serve(controller, rotation, options)
    log.info("serving control=%s:%d api=%s", options.mesh.control_address, options.mesh.control_port, options.mesh.url)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_follow_pods(controller), name="pods"),
                group.create_task(_follow_manifests(controller, options), name="manifests"),
                group.create_task(controller.reconciler.run(), name="reconcile"),
                group.create_task(_keep_identity(controller, rotation), name="identity"),
                group.create_task(control.keep_tidy(controller.collector, controller.reconciler), name="traffic"),
            ]
            await stop.wait()
            for task in tasks:
                task.cancel()
    finally:
        site.close()
        for runner in runners:
            await runner.cleanup()
    log.info("ended")


async def _serve(
    controller: Controller, rotation: Rotation, options: Options
) -> tuple[ControlSite, list[web.AppRunner]]:
    key, mesh = tokens.token_key(options.state.directory), options.mesh

    async def verify(token: str) -> SidecarIdentity:
        return tokens.verify(key, token)

    runners = await control.set_up(
        control.control_application(
            rotation, controller.reconciler, controller.collector, verify, options.identity.lifetime
        ),
        api.application(controller, mesh.api_port),
    )
    site = ControlSite(runners[0], mesh.control_address, mesh.control_port)
    await rotation.start(
        Outlets(
            serve=site.serve, publish=controller.trust_changed, sidecars=controller.reconciler.sidecar_trust
        )
    )  # fmt: skip
    await web.TCPSite(runners[1], api.ADDRESS, mesh.api_port).start()
    return site, runners


async def _follow_pods(controller: Controller) -> None:
    async for pods in PodsFile(controller.state.pods).watch():
        controller.pods_changed(pods)


async def _follow_manifests(controller: Controller, options: Options) -> None:
    source = DirectorySource(options.manifests, options.state.directory / FIRST_SEEN_FILE)
    controller.manifests_changed(await asyncio.to_thread(source.load))
    async for snapshot in source.watch():
        controller.manifests_changed(snapshot)


async def _keep_identity(controller: Controller, rotation: Rotation) -> None:
    while True:
        delay = await rotation.advance()
        controller.look_for_problems()
        await asyncio.sleep(delay)
