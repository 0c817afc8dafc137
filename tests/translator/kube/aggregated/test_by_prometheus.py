"""The controller on a cluster answers TrafficMetrics out of the Prometheus that it was given, behind the same gate."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from apiserver import FakeApiServer, serving
from fakeprometheus import fake_prometheus
from metricsworld import V2, counts, shops
from ports import free_port

from translator.identity.rotation import Rotation
from translator.identity.wanted import IdentityOptions
from translator.kube import controller as kube
from translator.kube.aggregated.frontproxy import FrontProxy, User
from translator.kube.settings import Options

REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


class Believing(FrontProxy):
    """Everybody is who asks."""

    async def user(self, request: web.Request) -> User:
        del request
        return User(name="jane")


@pytest.mark.parametrize(("there", "allowed"), [(True, True), (True, False), (False, True)])
def test_what_the_controller_answers(tmp_path: Path, there: bool, allowed: bool) -> None:
    async def scene() -> None:
        server = FakeApiServer()
        server.answers[REVIEWS] = {"status": {"allowed": allowed}}
        async with fake_prometheus(shops()) as fake, serving(server) as api, aiohttp.ClientSession() as session:
            url = fake.url if there else f"http://127.0.0.1:{free_port()}"
            rotation = Rotation(tmp_path, IdentityOptions(), "cluster.local")
            controller = kube.Controller(api, Options(folder=tmp_path, prometheus=url), rotation)
            runners = await kube._runners(controller, api, Believing(api))
            try:
                await web.TCPSite(runners[3], "127.0.0.1", 0).start()
                base = f"http://127.0.0.1:{runners[3].addresses[0][1]}{V2}"

                async def asked(path: str) -> tuple[int, Any]:
                    async with session.get(base + path) as answer:
                        return answer.status, await answer.json()

                path = "/namespaces/shop/deployments/web"
                # No world yet: nobody knows what there is.
                assert (await asked(path))[0] == (503 if allowed else 403)
                assert fake.asked == []
                controller.roster.update(shops().pods.values(), 0.0)
                controller.reconciler.world_changed(shops().world)
                status, body = await asked(path)
                if not allowed:
                    # Who may not ask has nothing asked for them.
                    assert (status, fake.asked) == (403, [])
                elif there:
                    assert (status, counts(body)) == (200, (96, 3))
                    assert fake.asked
                else:
                    assert (status, body["message"]) == (503, f"Prometheus at {url} cannot be reached")
                assert (await asked(""))[0] == 200
            finally:
                for runner in runners:
                    await runner.cleanup()

    asyncio.run(scene())
