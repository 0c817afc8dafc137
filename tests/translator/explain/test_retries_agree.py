"""What an explanation says of retries, and how often a real application is then asked."""

from __future__ import annotations

import pytest
from inprocess import Standing, free_net, placed, standing
from shop import workload
from wire import play

from smi.decode import decode_text
from translator.explain.answer import Explanation, Retry
from translator.explain.explain import explain
from translator.explain.question import asked
from translator.local.foreseen import foreseen
from translator.world import World

SERVICE = """\
apiVersion: v1
kind: Namespace
metadata: {{name: default, annotations: {{smi-mesh.io/default-policy: allow}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, annotations: {{{annotations}}}}}
spec: {{selector: {{app: {app}}}, ports: [{{port: 80, targetPort: 8080}}]}}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {{name: routes}}
spec:
  matches:
    - {{name: orders, methods: [POST], pathRegex: "/orders"}}
    - {{name: any}}
"""
LIMIT = 'retry.smi-mesh.io/limit: "2", retry.smi-mesh.io/backoff: 1ms'


def world_of(annotations: str, app: str = "web") -> World:
    text = SERVICE.format(annotations=annotations, app=app) + workload("web", "web") + workload("client", "client")
    decoded = decode_text(text, "web.yaml")
    assert decoded.problems == ()
    return World.of(decoded.objects, placed(foreseen(decoded.objects), free_net()))


async def told_and_done(mesh: Standing, method: str, path: str) -> tuple[Explanation, int, str]:
    """The explanation; the status and the reason that came."""
    client = next(pod for pod in mesh.mesh.world.pods if pod.workload == "client")
    question = asked(method, f"http://web{path}", "deploy/client", "default")
    told = explain(mesh.mesh, question)
    got = await mesh.ask(client, f"{method} {path} HTTP/1.1\r\nHost: web\r\n\r\n".encode())
    return told, got.status, got.headers.get("smi-mesh-reason", "")


def retry_of(told: Explanation) -> Retry | None:
    return told.calls.retry if told.calls is not None else None


@pytest.mark.parametrize(
    ("annotations", "method", "path", "attempts"),
    [
        ("", "GET", "/fail", 1),
        (f"{LIMIT}, retry.smi-mesh.io/on: 5xx", "GET", "/fail", 3),
        (f"{LIMIT}, retry.smi-mesh.io/on: 5xx", "POST", "/fail", 1),
        (f"{LIMIT}, retry.smi-mesh.io/on: '500'", "GET", "/fail", 1),
        (f"{LIMIT}, retry.smi-mesh.io/on: 5xx, retry.smi-mesh.io/routes: routes/orders", "POST", "/orders/fail", 3),
        (f"{LIMIT}, retry.smi-mesh.io/on: 5xx, retry.smi-mesh.io/routes: routes/orders", "POST", "/fail", 1),
        (f"{LIMIT}, retry.smi-mesh.io/on: 5xx, retry.smi-mesh.io/routes: routes/orders", "GET", "/orders/fail", 1),
        (f"{LIMIT}, retry.smi-mesh.io/on: 5xx, retry.smi-mesh.io/routes: routes", "PUT", "/fail", 3),
    ],
)
def test_an_application_is_asked_as_often_as_was_said(annotations: str, method: str, path: str, attempts: int) -> None:
    async def scene() -> None:
        async with standing(world_of(annotations), frozenset({"web.default"})) as mesh:
            told, status, reason = await told_and_done(mesh, method, path)
            retry = retry_of(told)
            wanted = retry is not None and retry.repeats and ("500-599" in retry.on or "503" in retry.on)
            assert len(mesh.asked) == attempts == (1 + retry.limit if retry is not None and wanted else 1)
            assert (status, reason, told.answer.allowed) == (503, "", True), "the application's own answer"

    play(scene())


@pytest.mark.parametrize(
    ("annotations", "after"),
    [
        ("timeout.smi-mesh.io/request: 300ms", 0.0),
        (f"{LIMIT}, timeout.smi-mesh.io/request: 300ms", 0.3),
    ],
)
def test_without_an_endpoint_it_waits_as_was_said(annotations: str, after: float) -> None:
    async def scene() -> None:
        async with standing(world_of(annotations, app="nobody"), frozenset({"web.default"})) as mesh:
            told, status, reason = await told_and_done(mesh, "GET", "/")
            assert told.answer.after == after
            assert (status, reason) == (told.answer.status, f"{told.answer.reason}; {told.answer.detail}")

    play(scene())
