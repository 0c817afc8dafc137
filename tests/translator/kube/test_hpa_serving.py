"""On a cluster: rights are asked for by the metric's own group, and the CA gets to those APIServices that are ours."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import pytest
from apiserver import FakeApiServer, serving
from eventually import eventually

from translator.kube.admission import authority
from translator.kube.admission.authority import (
    API_SERVICES,
    APISERVICES,
    CONFIGURATIONS,
    HPA_SERVICES,
    WebhookAuthority,
)
from translator.kube.aggregated.access import review_of, verdict
from translator.kube.aggregated.frontproxy import User
from translator.metricsapi.autoscaling.groups import CUSTOM
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
