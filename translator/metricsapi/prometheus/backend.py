"""TrafficMetrics by Prometheus: asks what a request needs, and hands the counts on as if sidecars had reported them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from smi.workloads import Pod
from translator.metricsapi.asked import Asked
from translator.metricsapi.prometheus.answers import BadAnswer, Vector, departed, entries
from translator.metricsapi.prometheus.client import Prometheus
from translator.metricsapi.prometheus.queries import Plan, answers_query, pages_query, plan, times_query
from translator.metricsapi.server import Backend, Seen
from translator.observed import Observed
from translator.resources import covers, of_pod
from translator.world import World

LONGEST: Final = 24 * 3600.0
"""Seconds of the longest window: Prometheus keeps more than the controller, and pays for it at each question."""

WATCH_POLL: Final = 10.0
"""Seconds between looks for a watch: pages are not read more often."""

Known = Callable[[], tuple[World, Mapping[str, Pod]] | None]
"""The world and the pods there are or lately were; None while the cluster is being read."""


def backend(prometheus: Prometheus, known: Known) -> Backend:
    """For a ``MetricsApi``."""
    return Backend(measure=_Questions(prometheus, known).measure, longest=LONGEST, poll=WATCH_POLL)


class _Questions:
    def __init__(self, prometheus: Prometheus, known: Known) -> None:
        self._prometheus, self._known = prometheus, known

    async def measure(self, asked: Asked) -> Seen | None:
        """What Prometheus knows of it; None while the cluster is being read. Raises ``Refused`` (503, 504)."""
        known = self._known()
        if known is None:
            return None
        world, pods = known
        planned = plan(asked, pods.values())
        queries = [pages_query(planned.matching, planned.seconds)] if planned.matching else []
        for side in planned.sides:
            queries += [answers_query(side, planned.seconds), times_query(side, planned.seconds)]
        answers = await self._prometheus.ask(queries) if queries else []
        try:
            return await asyncio.to_thread(_seen, planned, answers, world, pods)
        except BadAnswer as error:
            raise self._prometheus.bad(error) from error


def _seen(planned: Plan, answers: list[Vector], world: World, pods: Mapping[str, Pod]) -> Seen:
    read = iter(answers)
    pages = next(read).samples if answers else []
    covered = {(page.metric.get("namespace"), page.metric.get("pod")) for page in pages}
    counted, known, missing = [], dict(pods), ""
    for side in planned.sides:
        totals, times = next(read).samples, next(read).samples
        found = entries(side.direction, totals, times)
        if found and not times:
            missing = "Prometheus has no times: response_latency_ms_bucket is not kept"
        counted += found
        known |= departed(totals, known)
    if not all((pod.meta.namespace, pod.meta.name) in covered for pod in _counting(planned, world)):
        missing = f"Prometheus has not read all sidecars twice within {planned.seconds:g} s"
    if not all(answer.complete for answer in answers):
        missing = "Prometheus says that its answer is not complete"
    observed = Observed(entries=counted, seconds=max(planned.seconds, 0.001), pods=known, world=world)
    return Seen(observed, missing)


def _counting(planned: Plan, world: World) -> list[Pod]:
    """The pods whose sidecars' pages should have been read."""
    meshed = [pod for pod in world.pods if pod.meshed and pod.ready]
    wanted = planned.counting
    if wanted is None:
        return meshed
    return [pod for pod in meshed if covers(wanted, of_pod(pod, wanted.kind))]
