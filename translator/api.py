"""The controller's HTTP API on the loopback: health, metrics and what it knows. Reading only.

A browser on the same machine can be made to send requests here by any page it
shows, so the Host header must be the loopback's (DNS rebinding) and nothing can
be changed. Neighbours: ``translator.reconcile``, ``translator.collect`` and
``translator.controller``, whose state is shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from ipaddress import ip_address

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from proxy.contract.config import Config, Sidecar
from smi.workloads import Pod
from translator import question as counting
from translator.explain import question as explaining
from translator.explain.explain import explain
from translator.explain.mesh import Mesh, compiled, knows
from translator.explain.permissions import check
from translator.identity.rotation import IdentityShown
from translator.knowledge import METRICS, Knowledge
from translator.local.errors import NoSuchPod
from translator.metricsapi import alone
from translator.metricsapi.server import MetricsApi, Open, Seen
from translator.observed import Observed
from translator.reconcile import Reconciler, Subscriber
from translator.review import review
from translator.views import NotThere
from translator.world import World

ADDRESS = "127.0.0.1"
_READING = ("GET", "HEAD")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(knowledge: Knowledge, port: int, public: frozenset[str] = frozenset()) -> web.Application:
    """The API to be served at ``port``: to the loopback, but for the paths in ``public``, which anybody may read."""
    views = _Views(knowledge)
    app = web.Application(middlewares=[_guard(port, public)])
    app.router.add_get("/healthz", views.healthz)
    app.router.add_get("/readyz", views.healthz)
    app.router.add_get("/metrics", views.metrics)
    app.router.add_get("/problems", views.problems)
    app.router.add_get("/findings", views.findings)
    app.router.add_get("/identity", views.identity)
    app.router.add_get("/debug/sidecars", views.sidecars)
    app.router.add_get("/debug/world", views.world)
    app.router.add_get("/debug/config/{pod:.+}", views.config)
    app.router.add_get("/debug/traffic", views.traffic)
    app.router.add_get("/explain", views.explain)
    app.router.add_get("/permissions", views.permissions)
    app.router.add_routes(MetricsApi(Open(), views.seen).routes())
    app.router.add_routes(alone.routes(Open(), views.seen))
    return app


def _guard(port: int, public: frozenset[str]) -> Middleware:
    hosts = frozenset(f"{name}:{port}" for name in (ADDRESS, "localhost", "[::1]"))

    @web.middleware
    async def guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
        if request.path not in public:
            if not _is_loopback(request.remote):
                return web.Response(status=403, text="this is told to the loopback only\n")
            if request.headers.get("Host", "").lower() not in hosts:
                return web.Response(status=403, text=f"the Host header must be one of {', '.join(sorted(hosts))}\n")
        if request.method not in _READING and not _is_kubernetes(request.path):
            return web.Response(status=405, text="this API is for reading\n", headers={"Allow": ", ".join(_READING)})
        response = await handler(request)
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return guard


def _is_kubernetes(path: str) -> bool:
    """Whether clients of Kubernetes ask there: all handlers refuse to change anything, by a ``metav1.Status``."""
    return path in ("/api", "/apis") or path.startswith(("/api/", "/apis/"))


def _is_loopback(remote: str | None) -> bool:
    try:
        return ip_address((remote or "").removeprefix("::ffff:")).is_loopback
    except ValueError:
        return False


class _Views:
    """One method per path."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge

    async def healthz(self, _: web.Request) -> web.Response:
        """200 as soon as the sources have been read."""
        ready = self._knowledge.reconciler.world is not None
        return web.Response(status=200 if ready else 503, text="ok\n" if ready else "the manifests are being read\n")

    async def metrics(self, _: web.Request) -> web.Response:
        """The Prometheus text format 0.0.4."""
        lines: list[str] = []
        for metric in METRICS:
            value = metric.read(self._knowledge)
            lines += [
                f"# HELP {metric.name} {metric.help}",
                f"# TYPE {metric.name} {metric.kind}",
                f"{metric.name} {value:g}",
            ]
        return web.Response(
            body="\n".join((*lines, "")).encode(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    async def problems(self, _: web.Request) -> web.Response:
        """What is wrong with the manifests."""
        return _json(self._knowledge.problems)

    async def findings(self, _: web.Request) -> web.Response:
        """What the compiler remarks on the world."""
        world = self._knowledge.reconciler.world
        remarks = {finding for known in self._subscribers() for finding in known.findings}
        return _json(sorted(remarks.union(review(world) if world is not None else ())))

    async def sidecars(self, _: web.Request) -> web.Response:
        """What each sidecar runs on."""
        return _json([_shown(known) for known in self._subscribers()])

    async def identity(self, _: web.Request) -> web.Response:
        """The trusted roots, the issuer, and what an exchange of them waits for."""
        return _json(_identity(self._knowledge.identity))

    async def world(self, _: web.Request) -> web.Response:
        """The objects and pods that configs are compiled from."""
        world = self._knowledge.reconciler.world
        if world is None:
            return web.Response(status=503, text="the manifests are being read\n")
        return _json({"objects": world.objects, "pods": world.pods, "settings": world.settings})

    async def config(self, request: web.Request) -> web.Response:
        """A sidecar's config as ``python -m proxy --config FILE`` takes it."""
        wanted = request.match_info["pod"]
        reconciler = self._knowledge.reconciler
        pod = _found(reconciler.world, wanted) if reconciler.world is not None else None
        if pod is None:
            return web.Response(status=404, text=f"there is no pod {wanted!r}\n")
        file = self._knowledge.sidecar_file(pod)
        if file is None:
            return web.Response(status=404, text=f"pod {wanted!r} has no sidecar, as far as is known here\n")
        return _json(msgspec.structs.replace(file, config=_config_of(reconciler, pod)))

    async def traffic(self, request: web.Request) -> web.Response:
        """What the sidecars counted (``translator.question`` says how to ask). Worked out beside the loop."""
        world = self._knowledge.reconciler.world
        if world is None:
            return web.Response(status=503, text="the manifests are being read\n")
        try:
            asked = counting.question(request.query)
            window, pods = self._knowledge.collector.window(asked.seconds), self._knowledge.roster.known()
            return _json(await asyncio.to_thread(lambda: counting.answer(asked, Observed.of(window, pods, world))))
        except counting.BadQuestion as error:
            return web.Response(status=400, text=f"{error}\n")
        except NotThere as error:
            return web.Response(status=404, text=f"{error}\n")

    async def seen(self, seconds: float) -> Seen | None:
        """What this controller's sidecars counted in the last ``seconds``; None while the world is not known."""
        world = self._knowledge.reconciler.world
        if world is None:
            return None
        window, pods = self._knowledge.collector.window(seconds), self._knowledge.roster.known()
        return Seen(await asyncio.to_thread(Observed.of, window, pods, world))

    async def explain(self, request: web.Request) -> web.Response:
        """What would become of a request, and why (``translator.explain``)."""
        return self._told(lambda mesh: explain(mesh, explaining.question(request.query.items())))

    async def permissions(self, request: web.Request) -> web.Response:
        """Who may call whom, and by what (``translator.explain.permissions``)."""
        return self._told(lambda mesh: check(mesh, explaining.check_of(request.query.items())))

    def _told(self, tell: Callable[[Mesh], object]) -> web.Response:
        mesh = self._mesh()
        if mesh is None:
            return web.Response(status=503, text="the manifests are being read\n")
        try:
            return _json(tell(mesh))
        except NoSuchPod as error:
            return web.Response(status=404, text=f"{error}\n")
        except explaining.BadQuestion as error:
            return web.Response(status=400, text=f"{error}\n")

    def _mesh(self) -> Mesh | None:
        """What explanations are made from: the sidecars as they are now."""
        reconciler = self._knowledge.reconciler
        if reconciler.world is None:
            return None
        foreseen = compiled(reconciler.world)

        def config(pod: Pod, host: str) -> Config:
            return _config_of(reconciler, pod, host)

        def settings(pod: Pod) -> Sidecar:
            file = self._knowledge.sidecar_file(pod)
            return file.sidecar if file is not None else foreseen.settings(pod)

        return replace(foreseen, config=config, settings=settings)

    def _subscribers(self) -> list[Subscriber]:
        subscribers = self._knowledge.reconciler.subscribers
        return [subscribers[key] for key in sorted(subscribers)]


def _config_of(reconciler: Reconciler, pod: Pod, host: str = "") -> Config:
    """What the sidecar acknowledged; where it has not, or would first have to ask for ``host``, what it would get."""
    known = reconciler.subscribers.get(pod.meta.key)
    acknowledged = known.acknowledged if known is not None else None
    hosts = frozenset(known.hosts if known is not None else ())
    if acknowledged is not None and (not host or knows(acknowledged, host)):
        return acknowledged
    compiled = reconciler.compiled(pod, hosts | {host} if host else hosts)
    if compiled is None:
        return acknowledged or Config()
    return msgspec.structs.replace(compiled.config, version=acknowledged.version if acknowledged is not None else 0)


def _found(world: World, wanted: str) -> Pod | None:
    """By ``namespace/name``, ``namespace.name`` or ``name`` (first in ``default``, else in the first namespace)."""
    exact = world.index.pods.get(wanted)
    if exact is not None:
        return exact
    named = [pod for pod in world.pods if wanted in (pod.meta.name, f"{pod.meta.namespace}.{pod.meta.name}")]
    return min(named, key=lambda pod: (pod.meta.namespace != "default", pod.meta.namespace), default=None)


def _shown(known: Subscriber) -> dict[str, object]:
    namespace, _, name = known.pod.partition("/")
    desired = known.slot.desired
    return {
        "namespace": namespace,
        "name": name,
        "identity": known.identity,
        "connectedSince": known.connected_since,
        "acknowledged": known.acknowledged.version if known.acknowledged is not None else 0,
        "desired": desired.version if desired is not None else 0,
        "hosts": len(known.hosts),
        "nack": known.refusal,
    }


def _identity(shown: IdentityShown) -> dict[str, object]:
    return {
        "trustDomain": shown.trust_domain,
        "generation": shown.generation,
        "stage": shown.stage,
        "waitingFor": shown.waiting,
        "roots": shown.roots,
        "issuer": shown.issuer,
        "federated": shown.federated,
    }


def _json(value: object) -> web.Response:
    body = msgspec.json.encode(value, enc_hook=_plain, order=None if isinstance(value, msgspec.Struct) else "sorted")
    return web.Response(body=body, content_type="application/json")


def _plain(value: object) -> object:
    """Types that msgspec does not know: read-only mappings as objects, exact weights as text (``9/10``)."""
    return dict(value) if isinstance(value, Mapping) else str(value)
