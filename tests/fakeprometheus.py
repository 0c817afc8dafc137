"""A Prometheus as far as the controller asks it: instant queries over the pages of sidecars, as these write them.

Everything on a page has happened within the window, so ``increase`` is the value itself.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from msgspec.structs import replace as with_labels
from promql import Matcher, Sample, Selector, grouped_by, samples, selected, selectors

from proxy.contract.report import Labels
from proxy.counters import Totals
from proxy.prometheus import CONNECTED, Own, Snapshot, exposition
from translator.control import set_up
from translator.observed import Observed, totals
from translator.traffic import Entry

Answer = Callable[[str], Awaitable[web.StreamResponse] | web.StreamResponse]

_SHAPE = re.compile(r"(sum|max) by \(([^()]*)\) \((.*)\) (> 0|>= 2)", re.DOTALL)
_PART = r'(?:increase|count_over_time)\([a-z_]+\{(?:[^"{}]|"(?:[^"\\]|\\.)*")*\}\[\d+m?s\]\)'


def pages(observed: Observed) -> list[Sample]:
    """Every sidecar's page, read."""
    found: list[Sample] = []
    for key, pod in observed.pods.items():
        mine = [entry for entry in observed.entries if entry.pod == key]
        if not (pod.meshed or mine):
            continue
        series = [(_told(entry.labels, observed), _counted(entry)) for entry in mine]
        snapshot = Snapshot(series=series, transports=[], refusals={}, retried={}, gauges={CONNECTED: 1.0})
        own = Own(pod.meta.namespace, pod.meta.name, pod.workload_kind, pod.workload)
        found += samples("".join(exposition(own, snapshot)))
    return found


def _told(labels: Labels, observed: Observed) -> Labels:
    """With what a config says of the endpoint."""
    pod = observed.pods.get(labels.pod)
    return labels if pod is None else with_labels(labels, workload=f"{pod.workload_kind}/{pod.workload}")


def _counted(entry: Entry) -> Totals:
    added = totals([entry])
    return Totals({200: added.successes, 500: added.failures}, dict(added.histogram), added.microseconds / 1e6)


class FakePrometheus:
    """``answers`` may be set to answer a query otherwise, ``handling`` to do so by hand. ``asked`` has all queries."""

    def __init__(self, found: list[Sample]) -> None:
        self.pages = found
        self.asked: list[str] = []
        self.answers: Answer | None = None
        self.handling: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
        self.warnings: list[str] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """``POST /api/v1/query``."""
        query = str((await request.post())["query"])
        self.asked.append(query)
        if self.handling is not None:
            return await self.handling(request)
        if self.answers is not None:
            answer = self.answers(query)
            return answer if isinstance(answer, web.StreamResponse) else await answer
        return web.json_response(self.answer(query))

    def answer(self, query: str) -> dict[str, Any]:
        """The body that a query is answered with."""
        shape = _SHAPE.fullmatch(query)
        assert shape is not None, query
        assert re.fullmatch(rf"{_PART}( or {_PART})*", shape[3], re.DOTALL), query
        by = sorted(grouped_by(query))
        added: dict[tuple[tuple[str, str], ...], float] = {}
        for sample in {
            id(one): one for part in selectors(query) for one in selected(self.pages, _plain(part))
        }.values():
            key = tuple((label, sample.labels[label]) for label in by if label in sample.labels)
            value = sample.value if shape[1] == "sum" else 2.0
            added[key] = added.get(key, 0.0) + value if shape[1] == "sum" else value
        vector = [{"metric": dict(key), "value": [1.5, f"{value:.17g}"]} for key, value in added.items() if value > 0]
        body: dict[str, Any] = {"status": "success", "data": {"resultType": "vector", "result": vector}}
        return body | ({"warnings": self.warnings} if self.warnings else {})


def _plain(selector: Selector) -> Selector:
    """With values as they are meant: string literals have Go's escapes."""
    return Selector(selector.metric, tuple(map(_unquoted, selector.matchers)))


def _unquoted(matcher: Matcher) -> Matcher:
    return matcher._replace(value=unquoted(matcher.value))


def unquoted(literal: str) -> str:
    """What is between the quotes, without escapes."""
    return re.sub(
        r'\\(x[0-9a-f]{2}|["\\])', lambda one: chr(int(one[1][1:], 16)) if one[1][0] == "x" else one[1], literal
    )


@asynccontextmanager
async def fake_prometheus(observed: Observed) -> AsyncIterator[FakePrometheus]:
    """Over the loopback."""
    fake = FakePrometheus(pages(observed))
    app = web.Application()
    app.router.add_post("/api/v1/query", fake.handle)
    [runner] = await set_up(app)
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        await runner.cleanup()
