"""``smi check`` waits for what becomes right by itself after an installation, and for nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from apiserver import FakeApiServer, serving
from eventually import eventually

from smi.crds.definitions import definitions
from translator.cli.check import settled
from translator.kube.check import Result
from translator.kube.names import CA_SECRET, CONTROLLER, INJECTOR, NAMESPACE, VALIDATOR

NAMESPACES = "/api/v1/namespaces"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
SECRETS = f"{NAMESPACES}/{NAMESPACE}/secrets"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1"
MUTATING, VALIDATING = f"{WEBHOOKS}/mutatingwebhookconfigurations", f"{WEBHOOKS}/validatingwebhookconfigurations"
APISERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"


def installed() -> FakeApiServer:
    """A mesh whose controller is not there yet."""
    server = FakeApiServer(
        "", NAMESPACES, CRDS, DEPLOYMENTS, SECRETS, MUTATING, VALIDATING, APISERVICES, "/api/v1/pods"
    )
    server.put("", "version", {"major": "1", "minor": "35"})
    server.put(NAMESPACES, NAMESPACE, {})
    for definition in definitions().values():
        conditions = [{"type": "Established", "status": "True"}]
        server.put(CRDS, definition["metadata"]["name"], {"status": {"conditions": conditions}})
    server.put(SECRETS, CA_SECRET, {"data": {"ca.crt": "Y2E=", "issuer.crt": "Y2E="}})
    for path, name in ((MUTATING, INJECTOR), (VALIDATING, VALIDATOR)):
        server.put(path, name, {"webhooks": [{"clientConfig": {"caBundle": "Y2E="}}]})
    put_controller(server, ready=0)
    return server


def put_controller(server: FakeApiServer, *, ready: int) -> None:
    status = {"observedGeneration": 1, "updatedReplicas": 1, "readyReplicas": ready}
    controller = {"metadata": {"generation": 1}, "spec": {"replicas": 1, "template": {"spec": {"containers": [{}]}}}}
    server.put(DEPLOYMENTS, CONTROLLER, {**controller, "status": status})


def wrong(server: FakeApiServer, wait: float, meanwhile: Callable[[], None] | None = None) -> list[str]:
    """The headings of what is wrong in the end; ``meanwhile`` happens when the controller was first asked for."""

    async def run() -> list[Result]:
        async with serving(server) as api, asyncio.timeout(30):
            checking = asyncio.create_task(settled(api, False, wait))
            if meanwhile is not None:
                await eventually(lambda: any(CONTROLLER in path for _, path in server.asked))
                meanwhile()
            return await checking

    return [result.anchor for result in asyncio.run(run()) if result.state == "error"]


def test_a_controller_that_starts_is_waited_for() -> None:
    server = installed()
    assert wrong(server, 25.0, lambda: put_controller(server, ready=1)) == []


def test_not_longer_than_was_asked_for() -> None:
    assert wrong(installed(), 0.0) == ["smi-mesh-controller"]


def test_what_nobody_installed_is_not_waited_for() -> None:
    server = installed()
    server.delete(NAMESPACES, NAMESPACE)
    assert wrong(server, 3600.0) == ["smi-mesh-namespace"]
