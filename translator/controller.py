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
import signal
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from ssl import SSLContext

from aiohttp import web

from smi.problems import Problem
from smi.sources.directory import DirectorySource
from smi.sources.snapshot import Snapshot
from smi.workloads import Pod
from translator import api, problems
from translator.collect import Collector
from translator.compiler import compile_sidecar
from translator.identity import enrol, serving, tokens
from translator.identity.authority import Authority
from translator.local.records import MeshRecord
from translator.local.state import MeshState
from translator.push import STREAM_PATH, Publisher
from translator.reconcile import Reconciler
from translator.roster import Roster
from translator.runtime import PodsFile
from translator.settings import Settings
from translator.traffic import Traffic
from translator.world import World

FIRST_SEEN_FILE = "first-seen.json"

GOODBYE_SECONDS = 1.0
"""For streams and requests to end at shutdown; sidecars reconnect anyway."""

TIDY_SECONDS = 30.0
"""Between looks for counts that are too old: each is dropped half a minute late at most."""

RENEW_CHECK_SECONDS = 60.0
"""The clock is looked at this often for the controller's own certificate: it may be set, or the machine sleep."""

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
    report_seconds: float = 5.0


class Controller:
    """Manifests and pods as last seen, and the world made of them once both have been read."""

    def __init__(self, options: Options) -> None:
        self.reconciler = Reconciler(compile_sidecar)
        self.problems: tuple[Problem, ...] = ()
        self.state = options.state
        self.roster = Roster()
        traffic = Traffic(options.report_seconds, time.monotonic())
        self.collector = Collector(traffic, options.report_seconds, time.monotonic)
        self._settings = options.settings
        self._snapshot: Snapshot | None = None
        self._pods: tuple[Pod, ...] | None = None

    def manifests_changed(self, snapshot: Snapshot) -> None:
        """The folder was read: says what is new about its problems, and reconciles."""
        for line in problems.news(self.problems, snapshot.problems):
            print(line, file=sys.stderr, flush=True)
        known = self._snapshot.ignored if self._snapshot is not None else ()
        for line in snapshot.ignored:
            if line not in known:
                log.info("left alone %s", line)
        self.problems = snapshot.problems
        self._snapshot = snapshot
        self._changed()

    def pods_changed(self, pods: tuple[Pod, ...]) -> None:
        """The supervisor wrote down other pods."""
        self._pods = pods
        self.roster.update(pods, time.monotonic())
        self._changed()

    def _changed(self) -> None:
        if self._snapshot is None or self._pods is None:
            return
        if self.reconciler.world is None:
            log.info("sources read objects=%d pods=%d", len(self._snapshot.objects), len(self._pods))
        self.reconciler.world_changed(World.of(self._snapshot.objects.values(), self._pods, self._settings))


async def run(options: Options) -> None:
    """Runs until SIGTERM or SIGINT. Raises OSError when a port is taken."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    controller = Controller(options)
    authority = await asyncio.to_thread(Authority.create, options.state.directory, options.settings.trust_domain)
    context = serving.serving_context(authority)
    runners = await _serve(controller, authority, context, options.mesh)
    log.info("serving control=%s:%d api=%s", options.mesh.control_address, options.mesh.control_port, options.mesh.url)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_follow_pods(controller), name="pods"),
                group.create_task(_follow_manifests(controller, options), name="manifests"),
                group.create_task(controller.reconciler.run(), name="reconcile"),
                group.create_task(_keep_certificate(context, authority), name="own certificate"),
                group.create_task(_keep_tidy(controller), name="traffic"),
            ]
            await stop.wait()
            for task in tasks:
                task.cancel()
    finally:
        for runner in runners:
            await runner.cleanup()
    log.info("ended")


async def _serve(
    controller: Controller, authority: Authority, context: SSLContext, mesh: MeshRecord
) -> list[web.AppRunner]:
    control = web.Application()
    control.router.add_post(
        enrol.PATH, enrol.enrolment(authority, lambda token: tokens.verify(authority.token_key, token))
    )
    control.router.add_get(STREAM_PATH, Publisher(controller.reconciler, authority, controller.collector).handle)
    runners = []
    for app, address, port, ssl_context in (
        (control, mesh.control_address, mesh.control_port, context),
        (api.application(controller, mesh.api_port), api.ADDRESS, mesh.api_port, None),
    ):
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=GOODBYE_SECONDS)
        await runner.setup()
        await web.TCPSite(runner, address, port, ssl_context=ssl_context).start()
        runners.append(runner)
    return runners


async def _follow_pods(controller: Controller) -> None:
    async for pods in PodsFile(controller.state.pods).watch():
        controller.pods_changed(pods)


async def _follow_manifests(controller: Controller, options: Options) -> None:
    source = DirectorySource(options.manifests, options.state.directory / FIRST_SEEN_FILE)
    controller.manifests_changed(await asyncio.to_thread(source.load))
    async for snapshot in source.watch():
        controller.manifests_changed(snapshot)


async def _keep_tidy(controller: Controller) -> None:
    while True:
        await asyncio.sleep(TIDY_SECONDS)
        for _ in controller.collector.tidy(controller.reconciler.subscribers):
            await asyncio.sleep(0)


async def _keep_certificate(context: SSLContext, authority: Authority) -> None:
    due = serving.renew(context, authority)
    while True:
        await asyncio.sleep(RENEW_CHECK_SECONDS)
        if datetime.now(UTC) >= due:
            due = serving.renew(context, authority)
