"""What each request is counted as, by a real sidecar: once, under the labels of what became of it."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace
from wire import OK, App, Playing, play, playing, split, to, under

from proxy.contract.config import Config, Endpoint, Grant, HttpMatch, Inbound, Retry, Source
from proxy.contract.report import Labels

GET = b"GET /beta?secret=1 HTTP/1.1\r\nHost: web\r\n\r\n"
MATCH = HttpMatch(name="routes/beta", path="/beta")
BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy"
MISSING = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
RETRY = Retry(
    limit=3,
    statuses=((500, 599),),
    connect_failure=True,
    backoff_min=0.0,
    backoff_max=0.0,
    budget_min=9.0,
    budget_ratio=0.0,
    budget_ttl=1.0,
)
A = "spiffe://cluster.local/ns/default/sa/a"


def counted(mesh: Playing) -> dict[Labels, dict[int, int]]:
    """How many ended with which status, by what they were counted as."""
    return {labels: totals.by_status for labels, totals in mesh.sidecar.counters.items() if totals.requests}


def outbound(**labels: str) -> Labels:
    return Labels(direction="outbound", destination="default/web:80", **labels)  # type: ignore[arg-type]


def dead() -> Endpoint:
    return Endpoint(ip="127.0.0.1", port=1)


def inbound(**labels: str) -> Labels:
    return Labels(direction="inbound", tls="no_identity", **labels)  # type: ignore[arg-type]


def test_a_request_to_a_service() -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as app:
            pod = Endpoint(ip="127.0.0.1", port=app.port, pod="default/web-1", workload="Deployment/web")
            async with playing(to(pod)) as mesh:
                await mesh.ask(GET)
                await mesh.ask(GET)
                assert counted(mesh) == {
                    outbound(pod="default/web-1", workload="Deployment/web", tls="no_identity"): {200: 2}
                }

    play(scene())


def test_a_split_and_the_match_by_which_it_applies() -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as app, playing(split((1, [app]), matches=(MATCH,))) as mesh:
            await mesh.ask(GET)
            await mesh.ask(GET.replace(b"/beta", b"/"))
            where = f"127.0.0.1:{app.port}"
            assert counted(mesh) == {
                outbound(
                    split="default/canary", match="routes/beta", backend="default/v0", pod=where, tls="no_identity"
                ): {200: 1},
                outbound(): {503: 1},
            }

    play(scene())


def test_a_request_that_moved_on_counts_once_where_it_was_answered() -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as app, playing(split((1, [dead()]), (1, [app]))) as mesh:
            for _ in range(4):
                assert (await mesh.ask(GET)).status == 200
            where = f"127.0.0.1:{app.port}"
            assert counted(mesh) == {
                outbound(split="default/canary", backend="default/v1", pod=where, tls="no_identity"): {200: 4}
            }

    play(scene())


def test_a_request_that_nobody_took() -> None:
    async def scene() -> None:
        async with playing(to(dead())) as mesh:
            assert (await mesh.ask(GET)).status == 502
            assert counted(mesh) == {outbound(pod="127.0.0.1:1", tls="no_identity"): {502: 1}}

    play(scene())


def test_requests_that_lead_nowhere_are_one_series() -> None:
    async def scene() -> None:
        async with playing(to()) as mesh:
            for name in (b"example.com", b"example.org", b"web:99"):
                await mesh.ask(GET.replace(b"web", name))
            assert counted(mesh) == {Labels(direction="outbound"): {502: 2, 503: 1}}

    play(scene())


def test_bytes_that_are_no_request_are_none() -> None:
    async def scene() -> None:
        async with playing(to()) as mesh:
            assert (await mesh.ask(b"nonsense\r\n\r\n")).status == 400
            assert counted(mesh) == {}
            assert mesh.sidecar.counters.refusals() == {("outbound", "bad-request"): 1}

    play(scene())


def test_a_client_that_leaves_is_counted_once() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(GET)
            await (await app.accepted()).until(b"\r\n\r\n")
            client.abort()
            await mesh.settled()
            assert counted(mesh) == {outbound(pod=f"127.0.0.1:{app.port}", tls="no_identity"): {499: 1}}

    play(scene())


def test_an_answer_that_breaks_off_is_a_failure() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(GET)
            upstream = await app.accepted()
            await upstream.until(b"\r\n\r\n")
            upstream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
            await client.until(b"half")
            upstream.abort()
            await client.wait(lambda: client.lost, "a reset")
            assert counted(mesh) == {outbound(pod=f"127.0.0.1:{app.port}", tls="no_identity"): {502: 1}}

    play(scene())


def retried(mesh: Playing) -> dict[str, int]:
    """The counters of retries as Prometheus reads them, for the only Service."""
    name = re.compile(r'outbound_http_route_retry_(\w+)_total{.*parent_namespace="default",parent_name="web"} (\d+)')
    return {found[1]: int(found[2]) for found in name.finditer("".join(mesh.sidecar.metrics()))}


@pytest.mark.parametrize(
    ("retry", "answers", "expected"),
    [
        pytest.param(RETRY, [OK], (0, 0, 0, 0), id="none"),
        pytest.param(RETRY, [BUSY, BUSY, OK], (2, 1, 0, 0), id="success"),
        pytest.param(RETRY, [BUSY], (3, 0, 1, 0), id="limit"),
        pytest.param(replace(RETRY, budget_min=0.2, budget_ttl=10.0), [BUSY], (2, 0, 0, 1), id="budget"),
        pytest.param(RETRY, [BUSY, MISSING], (1, 1, 0, 0), id="another answer"),
    ],
)
def test_retries(retry: Retry, answers: list[bytes], expected: tuple[int, int, int, int]) -> None:
    async def scene() -> None:
        turn = iter(answers)
        async with App(lambda _: next(turn, answers[-1])) as app, playing(under(to(app), retry)) as mesh:
            await mesh.ask(GET)
            names = ("requests", "successes", "limit_exceeded", "overflow")
            assert retried(mesh) == dict(zip(names, expected, strict=True))

    play(scene())


def test_retries_of_the_sidecars_own_failures() -> None:
    async def scene() -> None:
        async with playing(under(to(dead()), RETRY)) as mesh:
            assert (await mesh.ask(GET)).status == 502
            assert retried(mesh) == {"requests": 3, "successes": 0, "limit_exceeded": 1, "overflow": 0}
            mesh.sidecar.apply(under(to(dead(), version=2), replace(RETRY, limit=1)))
            assert (await mesh.ask(GET)).status == 502
            assert retried(mesh) == {"requests": 4, "successes": 0, "limit_exceeded": 2, "overflow": 0}

    play(scene())


def ruled(inbound: Inbound) -> Config:
    return Config(version=1, inbound=inbound)


def test_what_is_refused_and_what_is_let_in() -> None:
    named = Inbound(named=True, grants=(Grant(target="d/t", sources=(Source(identity=A),), http=(MATCH,)),))

    async def scene() -> None:
        async with App(lambda _: OK) as app, playing(ruled(named), app=app) as mesh:
            port = str(app.port)
            assert (await mesh.ask(GET, mesh.clear)).status == 403
            mesh.sidecar.apply(ruled(replace(named, audit=True)))
            assert (await mesh.ask(GET, mesh.clear)).status == 200
            mesh.sidecar.apply(ruled(replace(named, unmeshed=True)))
            assert (await mesh.ask(GET, mesh.clear)).status == 200
            assert (await mesh.ask(GET.replace(b"/beta", b"/a%2fb"), mesh.clear)).status == 400
            assert counted(mesh) == {
                inbound(destination=port, verdict="deny"): {403: 1},
                inbound(destination=port, verdict="audit"): {200: 1},
                inbound(destination=port, verdict="allow"): {200: 1},
                inbound(destination=port): {400: 1},
            }

    play(scene())
