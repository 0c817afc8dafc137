"""Whose the groups of autoscalers are is found before an installation takes them, and after somebody took them back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web
from apiserver import FakeApiServer, serving

from translator.kube.check import ADAPTER, Warned, _autoscalers, _no_other_adapter, check

SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
DEPLOYMENTS = "/apis/apps/v1/namespaces/smi-mesh/deployments"
CUSTOM2, CUSTOM1, EXTERNAL = ADAPTER


def answered(services: dict[str, str], *arguments: str, before: bool) -> tuple[str, str]:
    """State and message of the check about them."""

    async def run() -> tuple[str, str]:
        server = FakeApiServer(SERVICES, DEPLOYMENTS)
        for name, whose in services.items():
            namespace, _, service = whose.partition("/")
            spec: dict[str, Any] = {"service": {"namespace": namespace, "name": service}} if whose else {}
            server.put(SERVICES, name, {"spec": spec})
        container = {"args": list(arguments)}
        server.put(DEPLOYMENTS, "smi-mesh-controller", {"spec": {"template": {"spec": {"containers": [container]}}}})
        async with serving(server) as api:
            category = "pre-autoscaling" if before else "smi-mesh-autoscaling"
            [result] = [one async for one in check(api, "smi-mesh", before=before) if one.category == category]
            assert result.anchor == category
            return result.state, result.message

    return asyncio.run(run())


OURS = "smi-mesh/smi-mesh-metrics"
THEIRS = "monitoring/prometheus-adapter"


@pytest.mark.parametrize(
    ("services", "state", "said"),
    [
        ({}, "success", ""),
        (dict.fromkeys(ADAPTER, OURS), "success", ""),
        ({CUSTOM1: THEIRS}, "warning", f"{CUSTOM1} is {THEIRS}: install without hpaMetrics"),
        ({CUSTOM2: OURS, EXTERNAL: "keda/keda"}, "warning", f"{EXTERNAL} is keda/keda: install without"),
        ({CUSTOM2: "other/smi-mesh-metrics"}, "warning", "other/smi-mesh-metrics"),
        ({CUSTOM2: ""}, "warning", "the API server's own"),
    ],
)
def test_before_an_installation(services: dict[str, str], state: str, said: str) -> None:
    found = answered(services, before=True)
    assert found[0] == state
    assert said in found[1]


@pytest.mark.parametrize(
    ("services", "arguments", "state", "said"),
    [
        ({}, [], "success", ""),
        ({CUSTOM1: THEIRS}, [], "success", ""),
        (dict.fromkeys(ADAPTER, OURS), ["--hpa-metrics"], "success", ""),
        (dict.fromkeys(ADAPTER, OURS), [], "warning", "installed without hpaMetrics, nobody answers"),
        ({**dict.fromkeys(ADAPTER, OURS), CUSTOM1: THEIRS}, ["--hpa-metrics"], "warning", f"{CUSTOM1} is {THEIRS}"),
        ({CUSTOM1: OURS}, ["--hpa-metrics"], "warning", f"there is no {CUSTOM2}, {EXTERNAL}"),
    ],
)
def test_after_it(services: dict[str, str], arguments: list[str], state: str, said: str) -> None:
    found = answered(services, *arguments, before=False)
    assert found[0] == state
    assert said in found[1]


def test_who_may_not_look_is_told() -> None:
    async def run() -> None:
        server = FakeApiServer(SERVICES)
        async with serving(server) as api:
            for ask in (_no_other_adapter, _autoscalers):
                server.faults = [web.json_response({"kind": "Status", "message": "no", "code": 403}, status=403)]
                with pytest.raises(Warned, match="you may not read APIServices"):
                    await ask(api, "smi-mesh")

    asyncio.run(run())
