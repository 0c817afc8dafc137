"""The controller process on Kubernetes: an API server in, sidecars out.

Wires what others do: ``translator.kube.source`` mirrors the cluster, which becomes a ``World``;
``translator.reconcile`` compiles it for each sidecar, ``translator.push`` sends it, ``translator.identity`` says who is
who, ``translator.collect`` keeps what sidecars counted. Local mode's counterpart is ``translator.controller``.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import msgspec
from aiohttp import web

from proxy.contract.config import File, Trust
from smi.problems import Problem
from smi.sources.apiserver import ApiServer
from smi.workloads import Pod
from translator import api as pages
from translator import control, problems
from translator.collect import Collector
from translator.compiler import compile_sidecar
from translator.explain.mesh import compiled
from translator.identity.authority import AuthorityError
from translator.identity.rotation import IdentityShown, Outlets, Rotation
from translator.identity.serving import ControlSite
from translator.identity.wanted import IdentityOptions
from translator.kube.admission import webhook as admission
from translator.kube.admission.authority import WebhookAuthority
from translator.kube.aggregated.access import AccessGate
from translator.kube.aggregated.frontproxy import FrontProxy
from translator.kube.casecret import CaSecret
from translator.kube.leader import Leader
from translator.kube.names import CA_SECRET, CONTROLLER
from translator.kube.offline import SigningKeys
from translator.kube.pace import rest
from translator.kube.peers import TIMEOUT, Peers, complete, for_peers, read
from translator.kube.settings import Options
from translator.kube.source import KubernetesSource
from translator.kube.status.progress import Progress
from translator.kube.status.subscribed import Subscribed
from translator.kube.status.writer import StatusWriter, calm
from translator.kube.tokenreview import TokenReviews
from translator.metricsapi.asked import Asked
from translator.metricsapi.autoscaling.server import AutoscalingApi
from translator.metricsapi.items import of_servers
from translator.metricsapi.prometheus.backend import backend
from translator.metricsapi.prometheus.client import Prometheus
from translator.metricsapi.server import MAX_HEADERS, WATCH_POLL, Backend, MetricsApi, Seen
from translator.observed import Observed, inbound
from translator.reconcile import Reconciler
from translator.roster import Roster
from translator.traffic import KEPT_SECONDS, Entry, Traffic
from translator.world import World

PUBLIC = frozenset({"/healthz", "/readyz", "/metrics"})
"""Pages for the kubelet and for Prometheus."""

PROGRESS_SECONDS = TIMEOUT / 2
"""For such a moment, until another controller is told that there is none."""

PROGRESS_PATH = "/v1/progress"
TRAFFIC_PATH = "/v1/traffic"
RECEIVED = "received"
"""On the control port, for other controllers: how far their sidecars are, and what these counted; with the parameter,
how much each pod received alone."""

RARELY: Final = (700, 10, 500)
"""Thresholds of the garbage collector: of the last generation, what is known of sidecars, fifty times the usual one. A
change that a thousand of them take makes as many new configs, none of them in a cycle; every few changes all of it was
gone through, a pause of 100 ms."""

log = logging.getLogger("translator.controller")


class Controller:
    """What the controller knows; each part says itself what it is."""

    def __init__(self, api: ApiServer, options: Options, rotation: Rotation) -> None:
        self.options = options
        self.problems: tuple[Problem, ...] = ()
        """What is wrong with SMI objects and with the CA."""
        self.reconciler = Reconciler(compile_sidecar)
        self.subscribed = Subscribed(self.reconciler)
        self.rotation = rotation
        self.roster = Roster()
        self.collector = Collector(
            Traffic(options.report_seconds, time.monotonic()), options.report_seconds, time.monotonic
        )
        self.keys = SigningKeys(api)
        self.reviews = TokenReviews(api, lambda token: self.keys.verify(token, self._uid))
        self.source = KubernetesSource(api, self._changed)
        self.peers = Peers(
            options.pod, options.namespace, options.control_port, self._controllers, lambda: rotation.authority
        )
        self._settings = options.mesh
        self._foreseen = compiled(World.of(settings=options.mesh), transparent=True)
        self._dirty = asyncio.Event()

    @property
    def identity(self) -> IdentityShown:
        """Who signs certificates, and whom the mesh trusts."""
        return self.rotation.shown()

    def sidecar_file(self, pod: Pod) -> File | None:
        """What is known of it here: the pod may have been injected with other settings."""
        return File(sidecar=self._foreseen.settings(pod)) if pod.meshed else None

    def trust_changed(self, trust: Trust) -> None:
        """Other roots or another issuer are in force."""
        federated = tuple(sorted(trust.federated))
        self.reconciler.trust_changed(trust)
        if federated != self._settings.federated:
            self._settings = replace(self._settings, federated=federated)
            self._changed()

    def _controllers(self) -> tuple[Pod, ...]:
        """The pods of this mesh's controllers: asked for often, and few among all."""
        world = self.reconciler.world
        return () if world is None else world.pods_as(self.options.namespace, CONTROLLER)

    def look_for_problems(self) -> None:
        """Says what is new about the problems."""
        found = (*self.source.problems, *self.rotation.problems)
        for line in problems.news(self.problems, found):
            log.warning("%s", line)
        self.problems = found

    def _uid(self, pod: str) -> str:
        known = self.reconciler.world.index.pods.get(pod) if self.reconciler.world is not None else None
        return known.meta.uid if known is not None else ""

    @property
    def fresh(self) -> bool:
        """Whether the world is what the source has."""
        return self.source.synced and not self._dirty.is_set()

    async def progress(self) -> Progress:
        """How far this controller's sidecars are, for another one, if possible at a moment at which it is known."""
        await calm(lambda: self.fresh and self.reconciler.settled, PROGRESS_SECONDS)
        found = self.subscribed.progress()
        return msgspec.structs.replace(found, settled=found.settled and self.fresh, seen=self.source.fingerprint)

    async def progress_elsewhere(self) -> list[Progress] | None:
        """How far the other controllers' sidecars are, None if not all answer."""
        return complete(read(await self.peers.ask(PROGRESS_PATH), msgspec.json.Decoder(Progress).decode))

    def known(self) -> tuple[World, Mapping[str, Pod]] | None:
        """The world, and the pods there are or lately were; None while the cluster is being read."""
        world = self.reconciler.world
        return None if world is None else (world, self.roster.known())

    async def measure(self, wanted: Asked) -> Seen | None:
        """Of what all controllers' sidecars counted lately as much as is needed for the answer."""
        return await self.seen(wanted.seconds, received=of_servers(wanted))

    async def seen(self, seconds: float, *, received: bool = False) -> Seen | None:
        """What all controllers' sidecars counted lately; None while the cluster is being read.

        ``received``: only how much each pod received. A controller of an older version says more, which adds up to it.
        """
        world = self.reconciler.world
        if world is None:
            return None
        answers = await self.peers.ask(TRAFFIC_PATH, {"seconds": str(seconds)} | ({RECEIVED: "1"} if received else {}))
        window, pods = self.collector.window(seconds), self.roster.known()

        def put_together() -> Seen:
            told = read(answers, msgspec.msgpack.Decoder(list[Entry]).decode)
            elsewhere = [entry for one in told if one is not None for entry in one]
            missing = told.count(None)
            partial = f"{missing} of {len(answers) + 1} replicas did not answer" if missing else ""
            observed = Observed(
                entries=[] if received else window.entries() + elsewhere,
                seconds=window.seconds,
                pods=pods,
                world=world,
                received=window.received() + inbound(elsewhere),
            )
            return Seen(observed, partial)

        return await asyncio.to_thread(put_together)

    def _changed(self) -> None:
        self._dirty.set()

    async def follow(self) -> None:
        """Makes a world of what changed, until cancelled."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            if not self.source.synced:
                continue
            began, counts = time.monotonic(), self.reconciler.counts
            compiled = counts.compile_seconds
            self._follow_once()
            self.subscribed.tidy()
            self.look_for_problems()
            taken = time.monotonic() - began
            # While one waits, sidecars are compiled for: that counts, too.
            while (left := began + rest(taken + counts.compile_seconds - compiled) - time.monotonic()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(left)

    def _follow_once(self) -> None:
        known, now = self.reconciler.world, time.monotonic()
        present, gone = self.source.news()
        if known is None or known.settings != self._settings:
            pods = self.source.pods
            self.roster.update(pods, now)
            self.reconciler.world_changed(World.of(self.source.objects, pods, self._settings))
            if known is None:
                log.info("sources read pods=%d", len(pods))
                # What a cluster has is there to stay: looking through all of it for cycles would hold up every push.
                gc.collect()
                gc.freeze()
                gc.set_threshold(*RARELY)
            return
        self.roster.changed(
            [pod for pod in present if isinstance(pod, Pod)], [pod for pod in gone if isinstance(pod, Pod)], now
        )
        self.reconciler.world_changed(*known.updated(present, gone))


async def run(api: ApiServer, options: Options) -> None:
    """Runs until SIGTERM or SIGINT. Raises ``OSError``, ``ApiError`` or ``AuthorityError`` when it cannot begin."""
    control.map_large_blocks()
    stop = control.stop_signals()
    webhooks = WebhookAuthority(api, options.namespace, hpa_metrics=options.hpa_metrics)
    await webhooks.load()
    secret = CaSecret(api, options.namespace, options.folder / "ca", options.mesh.trust_domain)
    await secret.load()
    rotation = await _rotation(secret, options)
    controller = Controller(api, options, rotation)
    proxy = FrontProxy(api)
    runners = await _runners(controller, api, proxy)
    site = ControlSite(runners[0], "", options.control_port)
    await rotation.start(
        Outlets(
            serve=site.serve, publish=controller.trust_changed, sidecars=controller.reconciler.sidecar_trust
        )
    )  # fmt: skip
    await web.TCPSite(runners[1], None, options.admin_port).start()
    context = webhooks.context()
    await web.TCPSite(runners[2], None, options.webhook_port, ssl_context=context).start()
    metrics = ControlSite(runners[3], "", options.metrics_port)
    leader = Leader(api, options.namespace, options.pod)
    writer = StatusWriter(
        api,
        controller.source,
        controller.subscribed,
        fresh=lambda: controller.fresh,
        peers=controller.progress_elsewhere,
        several=lambda: bool(controller.peers.others()),
        instance=options.pod,
    )
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
                group.create_task(_keep_identity(controller), name="identity"),
                group.create_task(controller.keys.follow(), name="signing keys"),
                group.create_task(proxy.follow(webhooks.certify, metrics.serve), name="front proxy"),
                group.create_task(leader.lead(writer.run), name="status"),
                group.create_task(control.keep_tidy(controller.collector, controller.reconciler), name="traffic"),
            ]
            await stop.wait()
            for task in tasks:
                task.cancel()
    finally:
        site.close()
        metrics.close()
        for runner in runners:
            await runner.cleanup()
    log.info("ended")


async def _rotation(secret: CaSecret, options: Options) -> Rotation:
    try:
        return await asyncio.to_thread(
            Rotation, options.folder, IdentityOptions(ca=secret.folder), options.mesh.trust_domain
        )
    except AuthorityError as error:
        raise AuthorityError(f"Secret {CA_SECRET}, as it is in {error}") from error


async def _runners(controller: Controller, api: ApiServer, proxy: FrontProxy) -> list[web.AppRunner]:
    """Control, admin, webhooks and the aggregated API."""
    rotation = controller.rotation

    async def annotations(namespace: str) -> Mapping[str, str]:
        known = controller.source.namespace_annotations(namespace)
        if known is not None:
            return known
        found = await api.get(f"/api/v1/namespaces/{namespace}")
        return found["metadata"].get("annotations") or {}

    async def own_progress(_: web.Request) -> bytes:
        return msgspec.json.encode(await controller.progress())

    streams = control.control_application(
        rotation, controller.reconciler, controller.collector, controller.reviews.verify
    )

    async def own_traffic(request: web.Request) -> bytes:
        window = controller.collector.window(float(request.query["seconds"]))
        entries = window.received if RECEIVED in request.query else window.entries
        return await asyncio.to_thread(lambda: msgspec.msgpack.encode(entries()))

    streams.router.add_get(TRAFFIC_PATH, for_peers(lambda: rotation.authority, own_traffic))
    streams.router.add_get(PROGRESS_PATH, for_peers(lambda: rotation.authority, own_progress))
    options = controller.options
    gate, exact = AccessGate(api, proxy), options.spec_exact_discovery
    prometheus = Prometheus(options.prometheus) if options.prometheus else None
    asked = (
        Backend(measure=controller.measure, longest=KEPT_SECONDS, poll=WATCH_POLL)
        if prometheus is None
        else backend(prometheus, controller.known)
    )
    metrics = MetricsApi(gate, controller.seen, spec_exact=exact, backend=asked)
    scaling = AutoscalingApi(gate, controller.seen, spec_exact=exact).routes() if options.hpa_metrics else ()
    aggregated = metrics.application(scaling)
    if prometheus is not None:
        aggregated.cleanup_ctx.append(prometheus.opened)
    return await control.set_up(
        streams,
        pages.application(controller, options.admin_port, PUBLIC),
        admission.application(
            options.injected, annotations, lambda: rotation.trust.bundle, lambda: controller.source.linkerd.present
        ),
        aggregated,
        max_headers=MAX_HEADERS,
    )


async def _keep_identity(controller: Controller) -> None:
    while True:
        delay = await controller.rotation.advance()
        controller.look_for_problems()
        await asyncio.sleep(delay)
