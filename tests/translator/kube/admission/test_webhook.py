"""The webhooks over HTTP, and their CA."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from apiserver import FakeApiServer, serving
from eventually import eventually

from translator.kube.admission.authority import CONFIGURATIONS, WebhookAuthority
from translator.kube.admission.linkerd import PATH as LINKERD
from translator.kube.admission.linkerd import Linkerd
from translator.kube.admission.settings import Injected
from translator.kube.admission.webhook import application

SECRETS = "/api/v1/namespaces/smi-mesh/secrets"
POD: dict[str, Any] = {
    "metadata": {"name": "web", "annotations": {"smi-mesh.io/inject": "enabled"}},
    "spec": {"containers": [{"name": "c"}]},
}


async def posted(path: str, body: bytes, namespaces: Mapping[str, str] | None = None) -> tuple[int, Any]:
    async def annotations(_: str) -> Mapping[str, str]:
        if namespaces is None:
            raise RuntimeError("lost")
        return namespaces

    runner = web.AppRunner(application(Injected(), annotations, lambda: "PEM"))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}{path}"
        async with aiohttp.ClientSession() as session, session.post(url, data=body) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text.startswith("{") else text
    finally:
        await runner.cleanup()


def review(thing: Any, namespaces: Mapping[str, str] | None, path: str = "/inject") -> dict[str, Any]:
    body = json.dumps({"request": {"uid": "u1", "namespace": "shop", "object": thing}}).encode()
    status, said = asyncio.run(posted(path, body, namespaces))
    assert status == 200
    assert said["response"]["uid"] == "u1"
    answer: dict[str, Any] = said["response"]
    return answer


def test_a_pod_is_patched() -> None:
    answer = review(POD, {})
    patch = json.loads(base64.b64decode(answer["patch"]))
    assert answer["allowed"] is True
    assert [(step["op"], step["path"]) for step in patch] == [("replace", "/metadata"), ("replace", "/spec")]
    assert patch[1]["value"]["initContainers"][0]["name"] == "smi-mesh-proxy"


def test_a_pod_that_asks_for_nothing_is_left_alone() -> None:
    assert review({"metadata": {}, "spec": {"containers": []}}, {}) == {"uid": "u1", "allowed": True}


def test_a_pod_that_cannot_have_one_is_refused_with_the_reason() -> None:
    answer = review({**POD, "spec": {**POD["spec"], "securityContext": {"runAsUser": 2102}}}, {})
    assert answer["allowed"] is False
    assert "uid 2102" in answer["status"]["message"]


def test_a_mistake_of_ours_keeps_no_pod_from_starting() -> None:
    answer = review(POD, None)
    assert answer["allowed"] is True
    assert answer["warnings"] == ["smi-mesh: not looked at (RuntimeError)"]


def test_wrong_annotations_are_refused() -> None:
    answer = review({"metadata": {"annotations": {"smi-mesh.io/unmeshed": "maybe"}}}, {}, "/validate")
    assert answer["allowed"] is False
    assert "'maybe' is not one of deny, allow" in answer["status"]["message"]
    assert review(POD, {}, "/validate")["allowed"] is True


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b'{"request": {}}'])
def test_what_is_no_review_is_400(body: bytes) -> None:
    assert asyncio.run(posted("/inject", body, {}))[0] == 400


def test_the_ca_is_made_once_and_written_where_it_is_missing() -> None:
    async def scene() -> None:
        mutating, validating = (path.rpartition("/") for path in CONFIGURATIONS)
        server = FakeApiServer(SECRETS, mutating[0], validating[0])
        for collection, _, name in (mutating, validating):
            server.put(collection, name, {"webhooks": [{"name": "w", "clientConfig": {}}]})
        async with serving(server) as api:
            first, second = WebhookAuthority(api, "smi-mesh"), WebhookAuthority(api, "smi-mesh")
            await first.load()
            await second.load()
            assert len(server.collections[SECRETS]) == 1
            assert isinstance(first.context(), ssl.SSLContext)
            task = asyncio.create_task(second.heal())
            await eventually(lambda: len(server.bodies) == 3)
            task.cancel()
        bundle = server.collections[SECRETS]["smi-mesh-webhook"]["data"]["ca.crt"]
        for patch in server.bodies[1:]:
            assert patch[1] == {"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": bundle}

    asyncio.run(scene())


def trusted_by(context: ssl.SSLContext, bundle: str) -> bool:
    """Whether who trusts ``bundle`` (base64) alone believes a server with ``context``."""
    client = ssl.create_default_context(cadata=base64.b64decode(bundle).decode())
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(back, there, server_hostname="smi-mesh-webhook.smi-mesh.svc"),
        context.wrap_bio(there, back, server_side=True),
    ]
    while ends:
        for end in tuple(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError:
                return False
    return True


def test_what_is_in_the_secret_counts_for_every_replica(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("translator.kube.admission.authority.POLL", 0.02)

    def bundle(server: FakeApiServer) -> str:
        return str(server.collections[SECRETS]["smi-mesh-webhook"]["data"]["ca.crt"])

    async def scene() -> None:
        server = FakeApiServer(SECRETS)
        async with serving(server) as api:
            old = WebhookAuthority(api, "smi-mesh")
            await old.load()
            context, before = old.context(), bundle(server)
            assert trusted_by(context, before)
            healing = asyncio.create_task(old.heal())

            server.delete(SECRETS, "smi-mesh-webhook")
            await eventually(lambda: server.collections[SECRETS])
            assert bundle(server) == before  # nobody else had made one

            server.collections[SECRETS]["smi-mesh-webhook"]["data"] = {"ca.crt": "", "ca.key": ""}
            await eventually(lambda: "Secret smi-mesh-webhook: ca.crt or ca.key cannot be read" in caplog.text)
            assert trusted_by(context, before)

            del server.collections[SECRETS]["smi-mesh-webhook"]
            new = WebhookAuthority(api, "smi-mesh")
            await new.load()
            await eventually(lambda: trusted_by(context, bundle(server)))
            healing.cancel()

    asyncio.run(scene())


def test_linkerds_annotation_is_its_own_where_its_injector_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("translator.kube.admission.linkerd.POLL", 0.02)
    collection, _, name = LINKERD.rpartition("/")

    async def scene() -> None:
        server = FakeApiServer(collection)
        async with serving(server) as api:
            linkerd = Linkerd(api)
            following = asyncio.create_task(linkerd.follow())
            server.put(collection, name, {})
            await eventually(lambda: linkerd.present)
            server.delete(collection, name)
            await eventually(lambda: not linkerd.present)
            following.cancel()

    asyncio.run(scene())


@pytest.mark.parametrize("linkerd", [True, False])
def test_a_pod_gets_one_sidecar_where_both_meshes_are(linkerd: bool) -> None:
    annotations = {"linkerd.io/inject": "enabled"}
    pod = {"metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "web"}]}}

    async def scene() -> dict[str, Any]:
        async def namespaces(_: str) -> Mapping[str, str]:
            return {}

        app = application(Injected(), namespaces, str, lambda: linkerd)
        review = {"request": {"uid": "1", "namespace": "shop", "object": pod}}
        async with TestClient(TestServer(app)) as client, client.post("/inject", json=review) as answer:
            said: dict[str, Any] = (await answer.json())["response"]
            return said

    assert ("patch" in asyncio.run(scene())) is not linkerd
