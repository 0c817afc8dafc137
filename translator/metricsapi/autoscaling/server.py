"""The HTTP of ``custom.metrics.k8s.io`` and ``external.metrics.k8s.io``, beside that of TrafficMetrics.

An autoscaler asks for each of its objects every 15 s, so what was counted is looked at once for all that ask within
``REMEMBERED`` seconds. Whatever goes wrong is a ``metav1.Status``.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from translator.metricsapi import discovery
from translator.metricsapi.asked import DEFAULT_SECONDS
from translator.metricsapi.autoscaling import groups
from translator.metricsapi.autoscaling.bodies import list_of
from translator.metricsapi.autoscaling.groups import CUSTOM, EXTERNAL, VERSIONS
from translator.metricsapi.autoscaling.measured import values
from translator.metricsapi.autoscaling.wanted import Metric, wanted
from translator.metricsapi.server import Attributes, Gate, Observe, Seen
from translator.metricsapi.status import Refused, status_of
from translator.resources import NAMESPACE

REMEMBERED: Final = 2.0
"""Seconds; sidecars report every 5 s at most, so little is missed."""

JSON: Final = "application/json"
DISCOVERY: Final = frozenset({"as=APIGroupDiscoveryList", "g=apidiscovery.k8s.io", "v=v2"})

Handler = Callable[[web.Request, object], Awaitable[web.StreamResponse]]

log = logging.getLogger("translator.metricsapi")


class AutoscalingApi:
    """Routes of both groups, and of a discovery that has them beside TrafficMetrics (``spec_exact`` as there)."""

    def __init__(
        self,
        gate: Gate,
        observe: Observe,
        clock: Callable[[], float] = time.monotonic,
        *,
        spec_exact: bool = False,
    ) -> None:
        self._gate = gate
        self._recently = Recently(observe, clock)
        everything = discovery.aggregated(spec_exact=spec_exact)
        everything["items"] += [groups.discovered(name) for name in VERSIONS]
        self._discovered = json.dumps(everything).encode()
        self._etag = f'"{hashlib.sha256(self._discovered).hexdigest()[:32].upper()}"'
        self._groups = discovery.groups()
        self._groups["groups"] += [groups.group(name) for name in VERSIONS]

    def routes(self) -> list[web.RouteDef]:
        """To be put before those of TrafficMetrics: what there is at ``/apis`` is said here for all."""
        found: list[web.RouteDef] = []
        handlers: dict[str, Handler] = {"/apis": self._apis}
        for name, versions in VERSIONS.items():
            handlers[f"/apis/{name}"] = _document(groups.group(name))
            for version in versions:
                handlers[f"/apis/{name}/{version}"] = _document(groups.resources(name, version))
        for path, handler in handlers.items():
            found += [web.route("*", one, self._answered(handler)) for one in (path, f"{path}/")]
        for name in VERSIONS:
            values_of = self._answered(self._values)
            found.append(web.route("*", rf"/apis/{{group:{name}}}/{{version}}/{{tail:[\s\S]*}}", values_of))
        return found

    def _answered(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                user = await self._gate.user(request)
                if request.method not in ("GET", "HEAD"):
                    raise Refused(405, "the server does not allow this method on the requested resource")
                return await handler(request, user)
            except Refused as refused:
                return _json(status_of(refused), refused.code)
            except (ConnectionError, asyncio.CancelledError):
                raise
            except Exception:
                log.exception("not answered path=%r", request.path)
                return _json(status_of(Refused(500, "the controller could not answer; its log says why")), 500)

        return handle

    async def _apis(self, request: web.Request, _: object) -> web.Response:
        accepted = request.headers.get("Accept", "").split(",")
        if not any(set(map(str.strip, one.split(";"))) >= DISCOVERY for one in accepted):
            return _json(self._groups)
        if request.headers.get("If-None-Match") == self._etag:
            return web.Response(status=304, headers={"ETag": self._etag})
        headers = {"ETag": self._etag, "Vary": "Accept"}
        headers["Content-Type"] = f"{JSON};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        return web.Response(body=self._discovered, headers=headers)

    async def _values(self, request: web.Request, user: object) -> web.StreamResponse:
        group, version = request.match_info["group"], request.match_info["version"]
        if version not in VERSIONS[group]:
            raise Refused(
                404, f"the server could not find the requested resource: there is no version {version[:20]!r}"
            )
        metric = wanted(group, tuple(filter(None, request.match_info["tail"].split("/"))), request.query)
        why = await self._gate.may(user, attributes(metric, version))
        if why:
            raise Refused(403, why)
        seen, timestamp = await self._recently.seen()
        found = await asyncio.to_thread(values, seen.observed, metric)
        return _json(list_of(found, metric, version, timestamp, seen.observed.seconds))


class Recently:
    """What was counted in the last 30 s, looked at once for all who ask at about the same time."""

    def __init__(self, observe: Observe, clock: Callable[[], float]) -> None:
        self._observe, self._clock = observe, clock
        self._lock = asyncio.Lock()
        self._known: tuple[float, Seen, str] | None = None

    async def seen(self) -> tuple[Seen, str]:
        """With when that was. Raises ``Refused`` (503) while nothing is known, or not what all sidecars counted."""
        async with self._lock:
            now = self._clock()
            if self._known is not None and now - self._known[0] < REMEMBERED:
                return self._known[1], self._known[2]
            seen = await self._observe(DEFAULT_SECONDS)
            if seen is None:
                raise Refused(503, "the controller is still reading the cluster; try again in a moment")
            if seen.partial:
                # Half of the requests would let an autoscaler take away half of the pods.
                raise Refused(503, f"not all of the traffic is known: {seen.partial}")
            self._known = now, seen, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            return self._known[1], self._known[2]


def attributes(metric: Metric, version: str) -> Attributes:
    """As the API server parses the path, so that its own rights are those that are asked for."""
    if metric.resource is None:
        return Attributes(
            group=EXTERNAL, version=version, verb="list", resource=metric.metric, namespace=metric.namespace
        )
    whole = metric.resource.kind == NAMESPACE
    return Attributes(
        group=CUSTOM,
        version=version,
        verb="get",
        resource="metrics" if whole else metric.resource.name,
        subresource="" if whole else metric.metric,
        namespace=metric.name if whole else metric.namespace,
        name=metric.metric if whole else metric.name,
    )


def _document(body: dict[str, Any]) -> Handler:
    async def handle(_: web.Request, __: object) -> web.StreamResponse:
        return _json(body)

    return handle


def _json(body: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(
        status=status,
        body=json.dumps(body).encode(),
        content_type=JSON,
        headers={"Cache-Control": "no-cache, private", "X-Content-Type-Options": "nosniff"},
    )
