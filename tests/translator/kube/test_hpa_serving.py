"""On a cluster: rights are asked for by the metric's own group, and the CA gets to those APIServices that are ours."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from apiserver import FakeApiServer, serving
from eventually import eventually

from translator.identity.rotation import Rotation
from translator.identity.wanted import IdentityOptions
from translator.kube import __main__ as process
from translator.kube import controller as kube
from translator.kube.admission import authority
from translator.kube.admission.authority import (
    API_SERVICES,
    APISERVICES,
    CONFIGURATIONS,
    HPA_SERVICES,
    WebhookAuthority,
)
from translator.kube.aggregated.access import review_of, verdict
from translator.kube.aggregated.frontproxy import FrontProxy, User
from translator.kube.settings import Options
from translator.metricsapi.autoscaling.groups import CUSTOM, EXTERNAL
from translator.metricsapi.server import Attributes

COLLECTION = APISERVICES.removesuffix("/")
OURS = {"name": "smi-mesh-metrics", "namespace": "smi-mesh"}
HPA = User(name="system:serviceaccount:kube-system:horizontal-pod-autoscaler")


def test_a_review_is_about_the_metrics_own_group() -> None:
    wanted = Attributes(group=CUSTOM, verb="get", resource="pods", subresource="success_rate", namespace="a", name="*")
    asked = review_of(HPA, wanted)["spec"]["resourceAttributes"]
    assert (asked["group"], asked["subresource"], asked["name"]) == (CUSTOM, "success_rate", "*")
    assert CUSTOM in verdict({"status": {"allowed": False}}, HPA, wanted)
    plain = review_of(HPA, Attributes(verb="list", resource="pods"))["spec"]["resourceAttributes"]
    assert plain["group"] == "metrics.smi-spec.io"


def cluster() -> FakeApiServer:
    """The mesh as it is installed without what autoscalers read."""
    mutating, validating = (path.rpartition("/") for path in CONFIGURATIONS)
    server = FakeApiServer("/api/v1/namespaces/smi-mesh/secrets", COLLECTION, mutating[0], validating[0])
    for collection, _, name in (mutating, validating):
        server.put(collection, name, {"webhooks": []})
    for path in API_SERVICES:
        server.put(COLLECTION, path.removeprefix(APISERVICES), {"spec": {"service": OURS}})
    return server


def patched(server: FakeApiServer) -> set[str]:
    return {path.removeprefix(APISERVICES) for method, path in server.asked if method == "PATCH"}


def heal(server: FakeApiServer, monkeypatch: pytest.MonkeyPatch, *, hpa_metrics: bool, rounds: int = 3) -> None:
    """Lets the CA be written into what there is, several times over."""
    monkeypatch.setattr(authority, "POLL", 0.01)

    async def scene() -> None:
        async with serving(server) as api:
            webhooks = WebhookAuthority(api, "smi-mesh", hpa_metrics=hpa_metrics)
            await webhooks.load()
            task = asyncio.create_task(webhooks.heal())
            await eventually(lambda: server.asked.count(("GET", CONFIGURATIONS[0])) > rounds)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    asyncio.run(scene())


def test_without_the_option_nobody_asks_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    server = cluster()
    heal(server, monkeypatch, hpa_metrics=False)
    assert patched(server) == {path.removeprefix(APISERVICES) for path in API_SERVICES}
    assert not {path for _, path in server.asked} & set(HPA_SERVICES)


def test_one_that_is_missing_is_said_once_and_another_adapters_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, second, third = (path.removeprefix(APISERVICES) for path in HPA_SERVICES)
    server = cluster()
    server.put(COLLECTION, first, {"spec": {"service": OURS}})
    server.put(COLLECTION, second, {"spec": {"service": {"name": "adapter", "namespace": "monitoring"}}})
    with caplog.at_level(logging.WARNING):
        heal(server, monkeypatch, hpa_metrics=True)
    assert first in patched(server)
    assert second not in patched(server)
    assert server.asked.count(("GET", f"{APISERVICES}{third}")) > 2
    assert caplog.text.count("caBundle not written") == 1


class Believing(FrontProxy):
    """Takes everybody for the autoscaler."""

    async def user(self, request: web.Request) -> User:
        del request
        return HPA


@pytest.mark.parametrize("hpa_metrics", [False, True])
def test_the_controller_serves_them_where_it_is_told_to(tmp_path: Path, hpa_metrics: bool) -> None:
    """Beside TrafficMetrics, and by the same gate: the API server is asked, and says no."""

    async def scene() -> None:
        server = FakeApiServer()
        server.answers["/apis/authorization.k8s.io/v1/subjectaccessreviews"] = {"status": {"allowed": False}}
        async with serving(server) as api, aiohttp.ClientSession() as session:
            rotation = Rotation(tmp_path, IdentityOptions(), "cluster.local")
            controller = kube.Controller(api, Options(folder=tmp_path, hpa_metrics=hpa_metrics), rotation)
            runners = await kube._runners(controller, api, Believing(api))
            await web.TCPSite(runners[3], "127.0.0.1", 0).start()

            async def asked(path: str) -> tuple[int, Any]:
                url = f"http://127.0.0.1:{runners[3].addresses[0][1]}{path}"
                async with session.get(url) as answer:
                    return answer.status, await answer.json()

            _, groups = await asked("/apis")
            named = {one["name"] for one in groups["groups"]}
            assert named == ({"metrics.smi-spec.io", CUSTOM, EXTERNAL} if hpa_metrics else {"metrics.smi-spec.io"})
            status, said = await asked(f"/apis/{CUSTOM}/v1beta2/namespaces/a/pods/*/success_rate")
            assert (status, said["kind"]) == (403 if hpa_metrics else 404, "Status")
            if hpa_metrics:
                assert f'"pods/success_rate" in API group "{CUSTOM}"' in said["message"]
            for runner in runners:
                await runner.cleanup()

    asyncio.run(scene())


@pytest.mark.parametrize(("arguments", "wanted"), [([], False), (["--hpa-metrics"], True)])
def test_it_is_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], wanted: bool) -> None:
    found: list[Options] = []

    async def run(api: Any, options: Options) -> None:
        del api
        found.append(options)

    monkeypatch.setattr(process, "run", run)
    (tmp_path / "config").write_text(
        "{apiVersion: v1, kind: Config, current-context: a, clusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}],"
        " users: [{name: a, user: {}}], contexts: [{name: a, context: {cluster: a, user: a}}]}"
    )
    assert process.main(["--kubeconfig", str(tmp_path / "config"), *arguments]) == 0
    assert [options.hpa_metrics for options in found] == [wanted]
