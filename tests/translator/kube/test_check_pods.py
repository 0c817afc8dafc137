"""Pods without the sidecar that they should have are found by what the injector goes by."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from apiserver import FakeApiServer, serving

from translator.kube.check import Warned, _not_meshed

NAMESPACES, PODS = "/api/v1/namespaces", "/api/v1/pods"
ENABLED = {"smi-mesh.io/inject": "enabled"}


def said(pod: dict[str, Any], namespace: dict[str, str], place: str = "shop") -> str:
    """What is told of one pod in a namespace with these annotations; empty for nothing."""

    async def run() -> str:
        server = FakeApiServer(NAMESPACES, PODS)
        server.put(NAMESPACES, place, {"metadata": {"annotations": namespace}})
        meta = {"namespace": place, "annotations": pod.get("annotations", {})}
        spec = {"containers": [{"name": "c"}], **pod.get("spec", {})}
        server.put(PODS, "web-1", {"metadata": meta, "spec": spec, "status": {"phase": pod.get("phase", "Running")}})
        async with serving(server) as api:
            try:
                await _not_meshed(api, "smi-mesh")
            except Warned as doubt:
                return str(doubt)
            return ""

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("pod", "namespace"),
    [
        ({"annotations": ENABLED}, {}),
        ({"annotations": {"linkerd.io/inject": "enabled"}}, {}),
        ({}, ENABLED),
        ({"annotations": ENABLED, "spec": {"securityContext": {"runAsUser": 2102}}}, {}),
    ],
    ids=str,
)
def test_who_should_have_one_is_named(pod: dict[str, Any], namespace: dict[str, str]) -> None:
    assert "shop/web-1" in said(pod, namespace)


@pytest.mark.parametrize(
    ("pod", "namespace"),
    [
        ({}, {}),
        ({"annotations": {"smi-mesh.io/inject": "disabled"}}, ENABLED),
        ({"spec": {"initContainers": [{"name": "smi-mesh-proxy"}]}}, ENABLED),
        ({"spec": {"hostNetwork": True}}, ENABLED),
        ({"phase": "Succeeded"}, ENABLED),
    ],
    ids=str,
)
def test_who_should_not_is_not(pod: dict[str, Any], namespace: dict[str, str]) -> None:
    assert said(pod, namespace) == ""


def test_nor_who_never_has_one() -> None:
    assert said({"annotations": ENABLED}, {}, "kube-system") == ""
