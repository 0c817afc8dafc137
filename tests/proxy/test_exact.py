"""A split's weights, counted at the applications."""

from __future__ import annotations

import asyncio

import pytest
from ports import free_port
from wire import OK, App, End, Playing, play, playing, split, to

from proxy.contract.config import Endpoint, HttpMatch

GET = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"


async def repeated(mesh: Playing, times: int, request: bytes = GET) -> None:
    client: End = await mesh.client()
    for _ in range(times):
        client.send(request)
        await client.got(OK)


def test_a_thousand_requests_one_after_the_other_are_split_exactly() -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as one, App(lambda _: OK) as two:
            async with playing(split((9, [one]), (1, [two]))) as mesh:
                await repeated(mesh, 1000)
            assert (len(one.requests), len(two.requests)) == (900, 100)

    play(scene())


def test_sixteen_clients_at_once_share_the_split() -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as one, App(lambda _: OK) as two:
            async with playing(split((9, [one]), (1, [two]))) as mesh:
                await asyncio.gather(*(repeated(mesh, 125) for _ in range(16)))
            assert len(one.requests) + len(two.requests) == 2000
            assert abs(len(two.requests) - 200) <= 2

    play(scene())


def test_a_connection_for_each_request_changes_nothing() -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as one, App(lambda _: OK) as two, App(lambda _: OK) as three:
            async with playing(split((5, [one]), (3, [two]), (2, [three]))) as mesh:
                for _ in range(100):
                    await mesh.ask(GET)
            assert [len(app.requests) for app in (one, two, three)] == [50, 30, 20]

    play(scene())


def test_a_weight_of_nothing_gets_nothing_and_a_backend_without_endpoints_leaves_its_share() -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as one, App(lambda _: OK) as two, App(lambda _: OK) as none:
            async with playing(split((1, [one]), (5, []), (1, [two]), (0, [none]))) as mesh:
                await repeated(mesh, 100)
            assert [len(app.requests) for app in (one, two, none)] == [50, 50, 0]

    play(scene())


def test_a_change_of_weights_holds_from_the_next_request_on() -> None:
    async def scene() -> None:
        async with (
            App(lambda _: OK) as one,
            App(lambda _: OK) as two,
            playing(split((1, [one]), (1, [two]))) as mesh,
        ):
            await repeated(mesh, 10)
            mesh.sidecar.apply(split((0, [one]), (1, [two]), version=2))
            await repeated(mesh, 10)
            assert [len(app.requests) for app in (one, two)] == [5, 15]
            mesh.sidecar.apply(split((1, [one]), (3, [two]), version=3))
            await repeated(mesh, 40)
            assert [len(app.requests) for app in (one, two)] == [15, 45]

    play(scene())


def test_an_unrelated_change_does_not_move_the_split() -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as one, App(lambda _: OK) as two:
            async with playing(split((3, [one]), (1, [two]))) as mesh:
                for version in range(2, 42):
                    await repeated(mesh, 1)
                    mesh.sidecar.apply(split((3, [one]), (1, [two]), version=version))
            assert [len(app.requests) for app in (one, two)] == [30, 10]

    play(scene())


def test_matches_decide_who_is_split() -> None:
    canary = HttpMatch(headers=(("x-canary", "yes|true"),), methods=("GET",), path="/shop/.*")

    async def scene() -> None:
        async with App(lambda _: OK) as new, playing(split((1, [new]), matches=(canary,))) as mesh:
            for request, status in [
                (b"GET /shop/a HTTP/1.1\r\nHost: web\r\nX-Canary: yes\r\n\r\n", 200),
                (b"GET /x/../shop/a HTTP/1.1\r\nHost: web\r\nX-Canary: true\r\n\r\n", 200),
                (b"GET /shop/a HTTP/1.1\r\nHost: web\r\nX-Canary: no\r\n\r\n", 503),
                (b"GET /shop HTTP/1.1\r\nHost: web\r\nX-Canary: yes\r\n\r\n", 503),
                (b"POST /shop/a HTTP/1.1\r\nHost: web\r\nX-Canary: yes\r\nContent-Length: 0\r\n\r\n", 503),
            ]:
                assert (await mesh.ask(request)).status == status, request

    play(scene())


@pytest.mark.parametrize("dead", [1, 2])
def test_a_pod_that_dies_loses_no_request(dead: int) -> None:
    """Endpoints of one backend that nobody has told the sidecar are gone."""

    async def scene() -> None:
        gone = [Endpoint(ip="127.0.0.1", port=free_port()) for _ in range(dead)]
        async with App(lambda _: OK) as app, playing(to(app, *gone)) as mesh:
            await asyncio.gather(*(repeated(mesh, 50) for _ in range(4)))
            assert len(app.requests) == 200

    play(scene())
