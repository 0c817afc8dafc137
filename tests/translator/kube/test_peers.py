"""Controllers ask each other over mTLS, and tell nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from smi.meta import Meta
from smi.workloads import Pod
from translator.identity.authority import Authority
from translator.identity.serving import ControlSite, calling_context, serving_context, use_pair
from translator.identity.subject import SidecarIdentity
from translator.kube.peers import Peers, complete, for_peers, read

PATH = "/v1/progress"


def controller(name: str, ip: str = "127.0.0.1", *, account: str = "smi-mesh-controller", ready: bool = True) -> Pod:
    return Pod(meta=Meta(name=name, namespace="smi-mesh"), ip=ip, service_account=account, ready=ready)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "ours", "cluster.local")


def sidecar_pair(authority: Authority) -> tuple[bytes, bytes]:
    """Certificate and key of a sidecar of the same mesh."""
    key = ec.generate_private_key(ec.SECP256R1())
    identity = SidecarIdentity(namespace="shop", service_account="web", pod="web-1")
    name = x509.UniformResourceIdentifier(identity.spiffe_id("cluster.local"))
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return authority.issue(request.public_bytes(pem), identity), key.private_bytes(pem, *plain)


@asynccontextmanager
async def answering(authority: Authority) -> AsyncIterator[int]:
    """A controller's control port."""

    async def answer(_: web.Request) -> bytes:
        return b"told"

    app = web.Application()
    app.router.add_get(PATH, for_peers(lambda: authority, answer))
    runner = web.AppRunner(app)
    await runner.setup()
    site = ControlSite(runner, "127.0.0.1", 0)
    await site.serve(serving_context(authority))
    try:
        yield site.port
    finally:
        site.close()
        await runner.cleanup()


def peers(authority: Authority, port: int, *pods: Pod) -> Peers:
    return Peers("me", "smi-mesh", port, lambda: [controller("me"), *pods], lambda: authority)


def test_each_other_controller_is_asked(authority: Authority) -> None:
    async def scene() -> None:
        async with answering(authority) as port:
            others = (
                controller("other"),
                controller("starting", ready=False),
                controller("app", account="default"),
            )
            assert await peers(authority, port, *others).ask(PATH) == [b"told"]
        assert await peers(authority, port).ask(PATH) == []

    asyncio.run(scene())


def test_one_that_is_not_there_is_missing(authority: Authority) -> None:
    async def scene() -> None:
        async with answering(authority) as port:
            answers = await peers(authority, port, controller("other"), controller("gone", "127.0.0.2")).ask(PATH)
            assert answers == [b"told", None]
            assert complete(answers) is None
            assert complete(answers[:1]) == [b"told"]

    asyncio.run(scene())


def test_a_controller_of_another_mesh_is_asked_nothing(authority: Authority, tmp_path: Path) -> None:
    async def scene() -> None:
        async with answering(Authority.create(tmp_path / "theirs", "cluster.local")) as port:
            assert await peers(authority, port, controller("other")).ask(PATH) == [None]

    asyncio.run(scene())


def test_a_sidecar_at_a_controllers_address_is_asked_nothing(authority: Authority) -> None:
    asked: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response()

    async def scene() -> None:
        app = web.Application()
        app.router.add_get(PATH, handle)
        runner = web.AppRunner(app)
        await runner.setup()
        site = ControlSite(runner, "127.0.0.1", 0)
        try:
            context = serving_context(authority)
            use_pair(context, *sidecar_pair(authority))
            await site.serve(context)
            assert await peers(authority, site.port, controller("other")).ask(PATH) == [None]
        finally:
            site.close()
            await runner.cleanup()

    asyncio.run(scene())
    assert asked == []


def test_a_sidecar_is_told_nothing(authority: Authority) -> None:
    async def scene() -> None:
        context = calling_context(authority)
        use_pair(context, *sidecar_pair(authority))
        async with (
            answering(authority) as port,
            aiohttp.ClientSession() as session,
            session.get(f"https://127.0.0.1:{port}{PATH}", ssl=context) as answer,
        ):
            assert answer.status == 403
            assert await answer.text() == "for controllers only\n"

    asyncio.run(scene())


def test_whoever_shows_no_certificate_is_told_nothing(authority: Authority) -> None:
    async def scene() -> None:
        async with (
            answering(authority) as port,
            aiohttp.ClientSession() as session,
            session.get(f"https://127.0.0.1:{port}{PATH}", ssl=False) as answer,
        ):
            assert answer.status == 403
            assert "certificate" in await answer.text()

    asyncio.run(scene())


def test_an_answer_of_another_form_is_none() -> None:
    told = read([b"[1]", b"nonsense", None], msgspec.json.Decoder(list[int]).decode)
    assert told == [[1], None, None]
    assert complete(told) is None
