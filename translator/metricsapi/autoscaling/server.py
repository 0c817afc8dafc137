"""The HTTP of ``custom.metrics.k8s.io`` and ``external.metrics.k8s.io``, beside that of TrafficMetrics.

An autoscaler asks for each of its objects every 15 s, so what was counted is looked at once for all that ask within
``REMEMBERED`` seconds. Whatever goes wrong is a ``metav1.Status``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
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
from translator.metricsapi.replies import Discovery, Handler, answered, json_reply
from translator.metricsapi.server import Attributes, Gate, Observe, Seen, known
from translator.metricsapi.status import Refused
from translator.resources import NAMESPACE

REMEMBERED: Final = 2.0
"""Seconds; sidecars report every 5 s at most, so little is missed."""


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
        all_groups = discovery.groups()
        all_groups["groups"] += [groups.group(name) for name in VERSIONS]
        self._discovery = Discovery(everything, all_groups)

    def routes(self) -> list[web.RouteDef]:
        """To be put before those of TrafficMetrics: what there is at ``/apis`` is said here for all."""
        found: list[web.RouteDef] = []
        handlers: dict[str, Handler] = {"/apis": self._discovery.handle}
        for name, versions in VERSIONS.items():
            handlers[f"/apis/{name}"] = _document(groups.group(name))
            for version in versions:
                handlers[f"/apis/{name}/{version}"] = _document(groups.resources(name, version))
        for path, handler in handlers.items():
            found += [web.route("*", one, answered(self._gate, handler)) for one in (path, f"{path}/")]
        for name in VERSIONS:
            values_of = answered(self._gate, self._values)
            found.append(web.route("*", rf"/apis/{{group:{name}}}/{{version}}/{{tail:[\s\S]*}}", values_of))
        return found

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
        return json_reply(list_of(found, metric, version, timestamp, seen.observed.seconds))


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
            seen = known(await self._observe(DEFAULT_SECONDS))
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
        return json_reply(body)

    return handle
