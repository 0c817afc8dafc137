"""The API out of a Prometheus says what it says out of the controller's memory; and what it says if that fails."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest
import yaml
from aiohttp import web
from fakeprometheus import FakePrometheus, fake_prometheus
from hypothesis import given
from hypothesis import strategies as st
from metricsworld import ROOT, V1, V2, WORLD, Answer, Body, Client, counts, observed_of, served, shops, status_of
from ports import free_port
from promql import histogram_quantile

from proxy.contract.report import bucket_of
from proxy.prometheus import BOUNDS as BUCKETS
from translator.metricsapi.bodies import PARTIAL
from translator.metricsapi.prometheus.answers import spread
from translator.metricsapi.prometheus.backend import backend
from translator.metricsapi.prometheus.client import Prometheus
from translator.metricsapi.prometheus.queries import TIMES
from translator.observed import Observed
from translator.resources import TEMPLATE_HASH

BOTH = """
- {by: shop/client-1, to: 10.9.9.9:443, ok: 3}
- {by: shop/gone-1, to: shop/web-1, asked: shop/web, ok: 4}
- {by: shop/web-1, from: shop/gone, ok: 4}
- {by: shop/gone-1, from: "", ok: 2}
- {by: shop/web-0, from: shop/client, ok: 5}
- {by: shop/client-1, to: shop/web-0, asked: shop/web, split: shop/rollout, backend: shop/canary, ok: 5, failed: 1}
"""
"""Beside ``WORLD``: an endpoint that is no pod, what the other backend got, and pods that have gone and are known."""

PATHS = [
    "/namespaces", "/nodes", "/nodes/one", "/nodes/two/edges", "/namespaces/shop", "/namespaces/shop/edges",
    "/deployments", "/pods", "/services", "/trafficsplits", "/trafficmetrics", "/replicasets", "/jobs",
    *(f"/namespaces/{namespace}/{kind}" for namespace in ("shop", "vault", "elsewhere")
      for kind in ("trafficmetrics", "deployments", "statefulsets", "pods", "replicasets", "services",
                   "trafficsplits")),
    *(f"/namespaces/shop/{name}{edges}" for edges in ("", "/edges")
      for name in ("deployments/web", "deployments/client", "pods/web-1", "replicasets/web-x", "services/web",
                   "services/canary", "trafficsplits/rollout", "trafficmetrics/deployment.web",
                   "trafficmetrics/service.web", "trafficmetrics/trafficsplit.rollout", "statefulsets/db")),
    "/namespaces/vault/deployments/safe/edges", "/namespaces/vault/services/safe/edges",
    "/namespaces/shop/trafficsplits/rollout.canary", "/namespaces/shop/trafficmetrics/trafficsplit.rollout.web",
    "/namespaces/shop/pods?labelSelector=tier%3Dback",
]  # fmt: skip


def world() -> Observed:
    case = yaml.safe_load(WORLD + BOTH)
    case["gone"] = [
        {"pod": "shop/gone-1", "as": "gone", "workload": "Deployment/client", "labels": {"app": "client"}},
        {"pod": "shop/web-0", "as": "web", "workload": "Deployment/web", "labels": {"app": "web", TEMPLATE_HASH: "w"}},
    ]
    return observed_of(case)


@dataclass(frozen=True)
class Pair:
    """The API out of memory and out of Prometheus, and that Prometheus."""

    memory: Client
    other: Client
    fake: FakePrometheus


@asynccontextmanager
async def both(observed: Observed, **given: Any) -> AsyncIterator[Pair]:
    """``given`` is for the client of Prometheus."""
    async with fake_prometheus(observed) as fake:
        prometheus = Prometheus(fake.url, **given)
        asked = backend(prometheus, lambda: (observed.world, observed.pods))
        async with served(observed) as memory, served(observed, backend=asked, opened=prometheus.opened) as other:
            yield Pair(memory, other, fake)


def played(play: Callable[[Pair], Awaitable[None]], observed: Observed | None = None, **given: Any) -> None:
    async def run() -> None:
        async with both(observed or shops(), **given) as pair:
            await play(pair)

    asyncio.run(run())


def rows(answer: Answer) -> list[Body]:
    """Of a 200, without its moment and its times. Of a Status all of it."""
    if answer.status != 200:
        return [answer.body]
    found = []
    for item in answer.body.get("items", [answer.body]):
        meta = {key: value for key, value in item["metadata"].items() if key != "creationTimestamp"}
        told = {key: item[key] for key in ("kind", "apiVersion", "resource", "edge", "backend", "window")}
        found.append({**told, "metadata": meta, "counts": counts(item)})
    return found


@pytest.mark.parametrize("user", ["admin", "tenant"])
@pytest.mark.parametrize("version", [V2, V1])
def test_every_request_is_answered_as_out_of_memory(version: str, user: str) -> None:
    async def play(pair: Pair) -> None:
        counted = 0
        for path in PATHS:
            wanted, found = [await one.ask(version + path, user=user) for one in (pair.memory, pair.other)]
            assert (found.status, rows(found)) == (wanted.status, rows(wanted)), path
            counted += sum(sum(row.get("counts", ())) for row in rows(found))
        assert counted > 1000

    played(play, world())


def test_pods_that_nobody_remembers_count_by_their_labels() -> None:
    """As when the controller has just begun: the same Deployment, with the labels that its pods have."""
    observed = world()
    fresh = replace(observed, pods={pod.meta.key: pod for pod in observed.world.pods})

    async def run() -> None:
        async with fake_prometheus(observed) as fake:
            prometheus = Prometheus(fake.url)
            asked = backend(prometheus, lambda: (fresh.world, fresh.pods))
            async with served(fresh, backend=asked, opened=prometheus.opened) as client:
                client_of = f"{V2}/namespaces/shop/deployments/client"
                [edge] = [
                    item
                    for item in (await client.get(f"{client_of}/edges"))["items"]
                    if item["edge"]["direction"] == "to" and item["edge"]["resource"]
                ]
                # 92 and 4 by the pod that there is, 4 by the one that was; to web-0, which was, too.
                assert counts(edge) == (96, 4)
                received = await client.get(client_of)
                assert (counts(received), received["metadata"]["labels"]) == (
                    (2, 0),
                    {"app": "client", "tier": "front"},
                )
                # Which ReplicaSet a pod was of its labels do not say.
                assert counts(await client.get(f"{V2}/namespaces/shop/deployments/web")) == (105, 3)
                sets = (await client.get(f"{V2}/namespaces/shop/replicasets"))["items"]
                assert [(item["metadata"]["name"], counts(item)) for item in sets] == [("web-x", (100, 3))]
                assert [item["metadata"]["name"] for item in (await client.get(f"{V2}/pods"))["items"]] == [
                    item.meta.name for item in sorted(fresh.world.pods, key=lambda one: one.meta.key)
                ]

    asyncio.run(run())


BOUNDS = (0.0, *BUCKETS)


def test_percentiles_are_within_the_bucket_of_the_right_one() -> None:
    """And where many requests are, they are what ``histogram_quantile`` says, but for the 1 % of our own buckets."""
    times = [0.4] * 100 + [12.0] * 300 + [33.0] * 590 + [4200.0] * 10
    case = {
        "pods": [{"pod": "shop/web-1", "as": "web", "workload": "Deployment/web"}],
        "counted": [{"by": "shop/web-1", "from": "", "ok": len(times), "ms": times}],
    }
    cumulative = {bound: float(sum(ms <= bound for ms in times)) for bound in (*BUCKETS, float("inf"))}

    async def play(pair: Pair) -> None:
        path = f"{V2}/namespaces/shop/pods/web-1"
        exact, found = [await one.get(path) for one in (pair.memory, pair.other)]
        for share, right, said in zip((0.99, 0.9, 0.5), values(exact), values(found), strict=False):
            low, high = next((a, b) for a, b in pairwise(BOUNDS) if a < right <= b)
            assert low * 0.99 <= said <= high * 1.01
            assert said == pytest.approx(histogram_quantile(share, cumulative), rel=0.03)

    played(play, observed_of(case))


def values(item: Body) -> list[float]:
    units = {"m": 1e-3, "u": 1e-6}
    texts = [metric["value"] for metric in item["metrics"]]
    return [float(text.rstrip("mu")) * units.get(text[-1], 1.0) for text in texts]


@given(
    st.dictionaries(st.sampled_from((*BUCKETS, float("inf"))), st.floats(0, 1e6), max_size=26),
    st.integers(1, 10_000),
)
def test_a_histogram_has_all_requests_or_no_time(bounds: dict[float, float], requests: int) -> None:
    histogram = spread(bounds, requests)
    assert sum(histogram.values()) == (requests if any(bounds.values()) else 0)
    assert all(count > 0 for count in histogram.values())
    # What took longer than the last bound is said to have taken as long.
    assert max(histogram, default=0) <= bucket_of(50.0) + 1


def test_what_is_known_by_bucket_alone_is_taken_to_be_in_the_middle_of_its_part() -> None:
    assert spread({10.0: 0.0, 20.0: 1.0}, 1) == {bucket_of(0.015): 1}
    assert spread({10.0: 2.0, 20.0: 6.0}, 2) == {bucket_of(0.005): 1, bucket_of(0.015): 1}
    assert spread({float("inf"): 3.0, 50_000.0: 0.0}, 3) == {bucket_of(50.0): 3}
    # Estimated each by itself: there is no bucket with less than nothing.
    assert spread({10.0: 4.0, 20.0: 3.0}, 4) == spread({10.0: 4.0}, 4)


def test_what_is_missing_is_said() -> None:
    async def play(pair: Pair) -> None:
        path = f"{V2}/namespaces/shop/deployments"
        whole = await pair.other.ask(path)
        assert "annotations" not in whole.body["metadata"]

        pages = pair.fake.pages
        pair.fake.pages = [page for page in pages if page.labels["pod"] != "web-2"]
        found = await pair.other.ask(path)
        assert "not read all sidecars twice within 30 s" in found.body["metadata"]["annotations"][PARTIAL]
        assert "not read all sidecars" in found.headers["Warning"]
        # The other tenant's are not.
        assert "annotations" not in (await pair.other.get(f"{V2}/namespaces/vault/deployments"))["metadata"]

        pair.fake.pages = [page for page in pages if page.metric != TIMES]
        found = await pair.other.ask(path)
        assert "no times" in found.body["metadata"]["annotations"][PARTIAL]
        assert [counts(item) for item in found.body["items"]] == [counts(item) for item in whole.body["items"]]

        pair.fake.pages, pair.fake.warnings = pages, ['store "10.0.0.7" did not answer\r\n']
        found = await pair.other.ask(path)
        assert found.headers["Warning"] == '299 - "Prometheus says that its answer is not complete"'

    played(play)


def vector(*samples: Any) -> Body:
    return {"status": "success", "data": {"resultType": "vector", "result": list(samples)}}


def sample(value: Any, **labels: Any) -> Body:
    return {"metric": {"namespace": "shop", "pod": "web-1", **labels}, "value": [1, value]}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"status":"success","data":{"resultType":"vector","result":' + b"[" * 100_000,
        {"status": "error", "errorType": "bad_data", "error": "x"},
        {"status": "success"},
        {"status": "success", "data": {"resultType": "matrix", "result": []}},
        {"status": "success", "data": {"resultType": "scalar", "result": [1, "2"]}},
        vector(None),
        vector({"metric": {}}),
        vector({"metric": {"pod": 1}, "value": [1, "2"]}),
        vector({"metric": {}, "value": [1, 2]}),
        vector({"metric": {}, "value": ["1", "2"]}),
        vector({"metric": {}, "value": [1, "2", "3"]}),
        *(vector(sample(value, classification="success", le="1")) for value in ("x", "", "NaN", "+Inf", "-1", "1e99")),
        *(vector(sample("1", classification="success", le=bound)) for bound in ("x", "", "NaN", "-1", "0")),
        {**vector(), "warnings": "none"},
    ],
    ids=lambda body: str(body)[:60],
)
def test_an_answer_that_is_none_is_no_answer(body: Any) -> None:
    async def play(pair: Pair) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        pair.fake.answers = lambda _: web.Response(body=content)
        said = status_of(await pair.other.ask(f"{V2}/namespaces/shop/pods"), 503)
        assert said["message"] == f"Prometheus at {pair.fake.url} answered what cannot be understood"
        assert said["reason"] == "ServiceUnavailable"
        pair.fake.answers = None
        assert len((await pair.other.get(f"{V2}/namespaces/shop/pods"))["items"]) == 4

    played(play)


def refusal(status: int, kind: str) -> Callable[[str], web.Response]:
    body = {"status": "error", "errorType": kind, "error": "a secret of the server's"}
    return lambda _: web.json_response(body, status=status)


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (refusal(400, "bad_data"), 503, "refused the query: HTTP 400"),
        (refusal(422, "execution"), 503, "refused the query: HTTP 422"),
        (refusal(503, "timeout"), 504, "needs too long for this; ask for less"),
        (lambda _: web.Response(status=401, text="a secret"), 503, "refused the query: HTTP 401"),
        (lambda _: web.Response(status=302, headers={"Location": "/elsewhere"}), 503, "refused the query: HTTP 302"),
        (lambda _: web.Response(body=b" " * 2_000_000), 503, "has more than 1 MiB to say; ask for less"),
    ],
)
def test_a_refusal_is_a_status_that_names_who_refused(
    answer: Callable[[str], web.Response], code: int, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def play(pair: Pair) -> None:
        pair.fake.answers = answer
        for _ in range(2):
            found = await pair.other.ask(f"{V2}/namespaces/shop/pods")
            status = status_of(found, code)
            assert status["message"] == f"Prometheus at {pair.fake.url} {said}"
            assert "secret" not in found.text
        pair.fake.answers = None
        await pair.other.get(f"{V2}/namespaces/shop/pods")

    with caplog.at_level(logging.INFO, "translator.metricsapi"):
        played(play, most_bytes=1 << 20)
    # Said once, however many ask, with what the server had to say; and that it is over.
    first, last = [record.getMessage() for record in caplog.records if record.name == "translator.metricsapi"]
    assert first.startswith("prometheus ")
    assert last.startswith("prometheus answers again")


def test_a_slow_one_is_not_waited_for() -> None:
    async def play(pair: Pair) -> None:
        release = asyncio.Event()

        async def wait(_: str) -> web.Response:
            await release.wait()
            return web.json_response(vector())

        pair.fake.answers = wait
        # More than may ask at once: those that wait for their turn are not kept for longer.
        asked = [pair.other.ask(f"{V2}/namespaces/shop/pods") for _ in range(6)]
        for found in await asyncio.gather(*asked):
            status = status_of(found, 504)
            assert status["message"] == f"Prometheus at {pair.fake.url} did not answer within 0.3 s"
            assert status["reason"] == "Timeout"
        release.set()

    played(play, seconds=0.3)


def test_one_that_is_not_there_harms_nothing_else() -> None:
    async def run() -> None:
        prometheus = Prometheus(f"http://127.0.0.1:{free_port()}")
        asked = backend(prometheus, lambda: (shops().world, shops().pods))
        async with served(backend=asked, opened=prometheus.opened) as client:
            status = status_of(await client.ask(f"{V2}/namespaces/shop/pods"), 503)
            assert status["message"] == f"Prometheus at {prometheus.url} cannot be reached"
            # Discovery, and the questions of the smi commands, which memory answers.
            for path in (ROOT, V2, "/apis", f"{V2}/namespaces/shop/traffic?resource=deploy"):
                assert (await client.ask(path)).status == 200
            status_of(await client.ask(f"{V2}/namespaces/shop/pods", user="tenants"), 401)
            watched = await client.ask(f"{V2}/namespaces/shop/pods?watch=1&timeoutSeconds=5")
            [line] = watched.text.splitlines()
            assert (json.loads(line)["type"], json.loads(line)["object"]["code"]) == ("ERROR", 503)

    asyncio.run(run())


def test_an_answer_that_breaks_off() -> None:
    async def play(pair: Pair) -> None:
        async def broken(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            await response.prepare(request)
            await response.write(b"{")
            assert request.transport is not None
            request.transport.abort()
            return response

        pair.fake.handling = broken
        status = status_of(await pair.other.ask(f"{V2}/namespaces/shop/pods"), 503)
        assert status["message"] == f"Prometheus at {pair.fake.url} broke off its answer"

    played(play)


def test_windows_reach_a_day_back() -> None:
    async def play(pair: Pair) -> None:
        found = await pair.other.get(f"{V2}/namespaces/shop/deployments?t=24h")
        assert {item["window"] for item in found["items"]} == {"24h"}
        assert all("[86400s]" in query for query in pair.fake.asked)
        status = status_of(await pair.other.ask(f"{V2}/namespaces/shop/deployments?t=24h1s"), 400)
        assert "1440m" in status["message"]
        assert "10m" in status_of(await pair.memory.ask(f"{V2}/namespaces/shop/deployments?t=24h"), 400)["message"]

    played(play)


def test_nothing_is_asked_while_the_cluster_is_being_read() -> None:
    async def run() -> None:
        async with fake_prometheus(shops()) as fake:
            prometheus = Prometheus(fake.url)
            async with served(backend=backend(prometheus, lambda: None), opened=prometheus.opened) as client:
                status_of(await client.ask(f"{V2}/namespaces/shop/pods"), 503)
            assert fake.asked == []

    asyncio.run(run())
