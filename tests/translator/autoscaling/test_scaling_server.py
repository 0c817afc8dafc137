"""Who may ask for metrics, how often it is looked, and what clients discover; the answers are golden cases."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from scaleworld import Client, scene, shop

from translator.metricsapi.autoscaling.groups import CUSTOM, EXTERNAL, METRICS, RESOURCES, VERSIONS, resources
from translator.metricsapi.autoscaling.server import REMEMBERED
from translator.metricsapi.server import Attributes, Seen

PODS = f"/apis/{CUSTOM}/v1beta2/namespaces/shop/pods/*/requests_per_second"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@pytest.mark.parametrize(
    ("path", "attributes"),
    [
        (
            PODS,
            Attributes(
                group=CUSTOM,
                version="v1beta2",
                verb="get",
                resource="pods",
                subresource="requests_per_second",
                namespace="shop",
                name="*",
            ),
        ),
        (
            f"/apis/{CUSTOM}/v1beta2/namespaces/shop/metrics/success_rate",
            Attributes(
                group=CUSTOM, version="v1beta2", verb="get", resource="metrics", namespace="shop", name="success_rate"
            ),
        ),
        (
            f"/apis/{EXTERNAL}/v1beta1/namespaces/shop/p99_latency_ms?labelSelector=service%3Dweb",
            Attributes(group=EXTERNAL, version="v1beta1", verb="list", resource="p99_latency_ms", namespace="shop"),
        ),
    ],
)
def test_rights_are_asked_for_as_the_api_server_reads_the_path(path: str, attributes: Attributes) -> None:
    async def play(client: Client) -> None:
        assert (await client.ask(path, user="shop"))[0] == 200
        assert client.gate.asked == [attributes]
        status, body = await client.ask(path, user="vault")
        assert (status, body["kind"], body["reason"]) == (403, "Status", "Forbidden")
        assert (await client.ask(path, user="nobody"))[0] == 401

    scene(play)


def test_who_may_not_ask_costs_no_look_and_those_who_ask_together_share_one() -> None:
    async def play(client: Client) -> None:
        await client.ask(PODS, user="vault")
        assert client.looks == 0
        answers = await asyncio.gather(*(client.ask(PODS) for _ in range(20)))
        assert {status for status, _ in answers} == {200}
        assert client.looks == 1
        client.now += REMEMBERED
        await client.ask(PODS)
        assert client.looks == 2

    scene(play)


def test_what_is_not_whole_is_not_told() -> None:
    """An autoscaler that is told nothing leaves things as they are; told half of it, it would scale down."""

    async def play(client: Client) -> None:
        client.state = None
        assert (await client.ask(PODS))[0] == 503
        client.state = Seen(shop(), "1 of 2 replicas did not answer")
        status, body = await client.ask(PODS)
        assert (status, "1 of 2 replicas" in body["message"]) == (503, True)
        client.state = Seen(shop())
        assert (await client.ask(PODS))[0] == 200

    scene(play)


def test_a_failure_is_a_status_without_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    async def play(client: Client) -> None:
        client.state = Seen(replace(shop(), seconds=float("nan")))
        status, body = await client.ask(PODS)
        assert (status, body["kind"], "nan" in body["message"].lower()) == (500, "Status", False)

    scene(play)
    assert "not answered" in caplog.text


def test_only_reading() -> None:
    async def play(client: Client) -> None:
        for path in (PODS, "/apis", f"/apis/{CUSTOM}/", f"/apis/{EXTERNAL}/v1beta1"):
            assert (await client.ask(path, method="DELETE"))[0] == 405
            assert (await client.ask(path, method="HEAD"))[0] == 200

    scene(play)


def test_discovery_has_all_groups_in_both_forms() -> None:
    async def play(client: Client) -> None:
        names = {"metrics.smi-spec.io", CUSTOM, EXTERNAL}
        _, listed = await client.ask("/apis")
        assert {one["name"] for one in listed["groups"]} == names
        status, body = await client.ask("/apis", Accept=AGGREGATED)
        assert (status, body["kind"]) == (200, "APIGroupDiscoveryList")
        assert {one["metadata"]["name"] for one in body["items"]} == names
        async with client.session.get(client.base + "/apis", headers={"Accept": AGGREGATED}) as answer:
            etag = answer.headers["ETag"]
        assert (await client.ask("/apis", **{"Accept": AGGREGATED, "If-None-Match": etag}))[0] == 304
        old = AGGREGATED.replace("v=v2", "v=v2beta1")
        assert (await client.ask("/apis", Accept=old))[1]["kind"] == "APIGroupList"
        # TrafficMetrics and probes are where they were.
        assert (await client.ask("/apis/metrics.smi-spec.io/v1alpha2/namespaces/shop/pods"))[0] == 200
        async with client.session.get(client.base + "/readyz") as answer:
            assert answer.status == 200
        assert client.looks == 1

    scene(play)


def test_every_metric_that_is_advertised_is_answered() -> None:
    async def play(client: Client) -> None:
        for version in VERSIONS[CUSTOM]:
            for entry in resources(CUSTOM, version)["resources"]:
                plural, metric = entry["name"].split("/")
                place = f"namespaces/shop/{plural}" if entry["namespaced"] else plural
                path = f"namespaces/shop/metrics/{metric}" if plural == "metrics" else f"{place}/*/{metric}"
                status, body = await client.ask(f"/apis/{CUSTOM}/{version}/{path}")
                assert (status, body["apiVersion"]) == (200, f"{CUSTOM}/{version}"), entry["name"]
        assert len(resources(CUSTOM, "v1beta2")["resources"]) == len(RESOURCES) * len(METRICS)

    scene(play)
