"""The controller process on Kubernetes: an API server in, sidecars out.

Wires what others do: ``translator.kube.source`` mirrors the cluster, which becomes a ``World``;
``translator.reconcile`` compiles it for each sidecar, ``translator.push`` sends it, ``translator.identity`` says who is
who, ``translator.collect`` keeps what sidecars counted. Local mode's counterpart is ``translator.controller``.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

from aiohttp import web

from proxy.contract.config import File, Trust
from smi.problems import Problem
from smi.sources.apiserver import ApiServer
from smi.workloads import Pod
from translator import api as pages
from translator.collect import Collector
from translator.compiler import compile_sidecar
from translator.explain.mesh import compiled
from translator.identity import enrol
from translator.identity.rotation import IdentityShown, Outlets, Rotation
from translator.identity.serving import ControlSite
from translator.identity.wanted import IdentityOptions
from translator.kube.admission import webhook as admission
from translator.kube.admission.authority import WebhookAuthority
from translator.kube.casecret import CaSecret
from translator.kube.settings import Options
from translator.kube.source import KubernetesSource
from translator.kube.tokenreview import TokenReviews
from translator.push import STREAM_PATH, Publisher
from translator.reconcile import Reconciler
from translator.roster import Roster
from translator.traffic import Traffic
from translator.world import World

GOODBYE_SECONDS = 1.0
"""For streams and requests to end at shutdown; sidecars reconnect anyway."""

TIDY_SECONDS = 30.0
"""Between looks for counts that are too old."""

QUIET_SECONDS = 0.1
"""Between two worlds at least. The first change after that long is taken at once, what comes meanwhile together."""

PUBLIC = frozenset({"/healthz", "/readyz", "/metrics"})
"""Pages for the kubelet and for Prometheus."""

log = logging.getLogger("translator.controller")


class Controller:
    """What the controller knows; each part says itself what it is."""

    def __init__(self, api: ApiServer, options: Options, rotation: Rotation) -> None:
        self.options = options
        self.reconciler = Reconciler(compile_sidecar)
        self.rotation = rotation
        self.roster = Roster()
        self.collector = Collector(
            Traffic(options.report_seconds, time.monotonic()), options.report_seconds, time.monotonic
        )
        self.reviews = TokenReviews(api)
        self.source = KubernetesSource(api, self._changed)
        self._settings = options.mesh
        self._dirty = asyncio.Event()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with SMI objects and with the CA."""
        return (*self.source.problems, *self.rotation.problems)

    @property
    def identity(self) -> IdentityShown:
        """Who signs certificates, and whom the mesh trusts."""
        return self.rotation.shown()

    def sidecar_file(self, pod: Pod) -> File | None:
        """As the injector makes it; the pod may have been injected with other settings."""
        return File(sidecar=compiled(World.of(settings=self._settings)).settings(pod)) if pod.meshed else None

    def trust_changed(self, trust: Trust) -> None:
        """Other roots or another issuer are in force."""
        federated = tuple(sorted(trust.federated))
        self.reconciler.trust_changed(trust)
        if federated != self._settings.federated:
            self._settings = replace(self._settings, federated=federated)
            self._changed()

    def _changed(self) -> None:
        self._dirty.set()

    async def follow(self) -> None:
        """Makes a world of what changed, until cancelled."""
        said: tuple[Problem, ...] = ()
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            if not self.source.synced:
                continue
            first = self.reconciler.world is None
            pods = self.source.pods
            self.roster.update(pods, time.monotonic())
            self.reconciler.world_changed(World.of(self.source.objects, pods, self._settings))
            if first:
                log.info("sources read pods=%d", len(pods))
            for problem in self.source.problems:
                if problem not in said:
                    log.warning("object not used %s", problem)
            said = self.source.problems
            await asyncio.sleep(QUIET_SECONDS)


async def run(api: ApiServer, options: Options) -> None:
    """Runs until SIGTERM or SIGINT. Raises ``OSError``, ``ApiError`` or ``AuthorityError`` when it cannot begin."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    webhooks = WebhookAuthority(api, options.namespace)
    await webhooks.load()
    secret = CaSecret(api, options.namespace, options.folder / "ca", options.mesh.trust_domain)
    await secret.load()
    rotation = await asyncio.to_thread(
        Rotation, options.folder, IdentityOptions(ca=secret.folder), options.mesh.trust_domain
    )
    controller = Controller(api, options, rotation)
    runners = await _runners(controller, api)
    site = ControlSite(runners[0], "", options.control_port)
    await rotation.start(
        Outlets(
            serve=site.serve, publish=controller.trust_changed, sidecars=controller.reconciler.sidecar_trust
        )
    )  # fmt: skip
    await web.TCPSite(runners[1], None, options.admin_port).start()
    context = webhooks.context()
    await web.TCPSite(runners[2], None, options.webhook_port, ssl_context=context).start()
    log.info("serving control=%d admin=%d", options.control_port, options.admin_port)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(controller.source.run(), name="source"),
                group.create_task(controller.follow(), name="world"),
                group.create_task(controller.reconciler.run(), name="reconcile"),
                group.create_task(secret.follow(), name="CA secret"),
                group.create_task(webhooks.heal(), name="caBundle"),
                group.create_task(webhooks.keep(context), name="webhook certificate"),
                group.create_task(_keep_identity(rotation), name="identity"),
                group.create_task(_keep_tidy(controller), name="traffic"),
            ]
            await stop.wait()
            for task in tasks:
                task.cancel()
    finally:
        site.close()
        for runner in runners:
            await runner.cleanup()
    log.info("ended")


async def _runners(controller: Controller, api: ApiServer) -> list[web.AppRunner]:
    """Control, admin and webhooks."""
    rotation = controller.rotation

    async def annotations(namespace: str) -> Mapping[str, str]:
        known = controller.source.namespace_annotations(namespace)
        if known is not None:
            return known
        found = await api.get(f"/api/v1/namespaces/{namespace}")
        return found["metadata"].get("annotations") or {}

    webhooks = admission.application(controller.options.injected, annotations, lambda: rotation.trust.bundle)
    control = web.Application()
    control.router.add_post(enrol.PATH, enrol.enrolment(rotation.in_force, controller.reviews.verify))
    control.router.add_get(
        STREAM_PATH, Publisher(controller.reconciler, rotation.authority, controller.collector).handle
    )
    admin = pages.application(controller, controller.options.admin_port, PUBLIC)
    runners = [
        web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=GOODBYE_SECONDS)
        for app in (control, admin, webhooks)
    ]
    for runner in runners:
        await runner.setup()
    return runners


async def _keep_identity(rotation: Rotation) -> None:
    said: Iterable[Problem] = ()
    while True:
        delay = await rotation.advance()
        for problem in rotation.problems:
            if problem not in said:
                log.warning("CA %s", problem)
        said = rotation.problems
        await asyncio.sleep(delay)


async def _keep_tidy(controller: Controller) -> None:
    while True:
        await asyncio.sleep(TIDY_SECONDS)
        for _ in controller.collector.tidy(controller.reconciler.subscribers):
            await asyncio.sleep(0)
