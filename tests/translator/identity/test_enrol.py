"""What the controller answers to those who ask for a certificate."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import aiohttp
import forge
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from enrolling import KEY, WEB, Clock, Controller, controller
from forge import BAD, TRUST_DOMAIN

from proxy.contract.messages import Issued
from proxy.contract.spiffe import verify_peer
from proxy.newkey import new_key_and_request
from proxy.tls import Pair, PairRejected, control_context
from translator.identity.authority import Authority
from translator.identity.subject import SidecarIdentity
from translator.identity.tokens import mint

API = SidecarIdentity(namespace="shop", service_account="api", pod="api-0")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path)


def trusting_forgery(authority: Authority) -> Authority:
    """The same, with the tests' root in its bundle, so that forged certificates pass TLS and are judged after it."""
    return replace(authority, bundle=authority.bundle + forge.trusted().pem)


def run(main: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(main(), 30))


async def ask(
    running: Controller, body: bytes, headers: dict[str, str] | list[tuple[str, str]], pair: Pair | None = None
) -> tuple[int, bytes]:
    context = control_context(pair, running.authority.bundle)
    url = f"https://127.0.0.1:{running.port}/identity/v1/certificate"
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers, ssl=context) as answer:
        return answer.status, await answer.read()


def bearer(authority: Authority, identity: SidecarIdentity = WEB) -> dict[str, str]:
    return {"Authorization": f"Bearer {mint(KEY, identity)}"}


def request_of(identity: SidecarIdentity) -> bytes:
    return new_key_and_request(identity.spiffe_id(TRUST_DOMAIN))[1]


def issued_to(answer: bytes) -> str:
    pem = msgspec.json.decode(answer, type=Issued).certificate
    der = x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER)
    return verify_peer(der, TRUST_DOMAIN, forge.now()).pods[0]


def test_a_token_gets_a_certificate_in_its_own_name(authority: Authority) -> None:
    async def main() -> None:
        async with controller(authority, Clock()) as running:
            status, body = await ask(running, request_of(WEB), bearer(authority))
            assert (status, issued_to(body)) == (200, "web-0.shop.pod")

    run(main)


def test_a_valid_certificate_gets_its_successor(authority: Authority) -> None:
    async def main() -> None:
        async with controller(authority, Clock()) as running:
            key, request = new_key_and_request(WEB.spiffe_id(TRUST_DOMAIN))
            pair = Pair(certificate=authority.issue(request, WEB), key=key)
            status, body = await ask(running, request_of(WEB), {}, pair)
            assert (status, issued_to(body)) == (200, "web-0.shop.pod")

    run(main)


def test_without_proof_there_is_none(authority: Authority) -> None:
    async def main() -> None:
        async with controller(authority, Clock()) as running:
            assert (await ask(running, request_of(WEB), {}))[0] == 401

    run(main)


def test_nobody_gets_a_certificate_in_another_name(authority: Authority) -> None:
    async def main() -> None:
        async with controller(authority, Clock()) as running:
            status, reason = await ask(running, request_of(API), bearer(authority, WEB))
            assert (status, reason) == (400, b"the request asks for a name that is not proved\n")

    run(main)


def test_if_a_token_is_sent_it_alone_counts(authority: Authority) -> None:
    async def main() -> None:
        async with controller(authority, Clock()) as running:
            key, request = new_key_and_request(WEB.spiffe_id(TRUST_DOMAIN))
            pair = Pair(certificate=authority.issue(request, WEB), key=key)
            assert (await ask(running, request_of(WEB), {"Authorization": "Bearer x.y"}, pair))[0] == 401
            status, body = await ask(running, request_of(API), bearer(authority, API), pair)
            assert (status, issued_to(body)) == (200, "api-0.shop.pod")

    run(main)


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Basic d2ViOng=", "Bearer a b", "Bearer " + "a" * 5000, "{token}", "Bearer  {token}"],
)
def test_a_malformed_authorization_is_refused(authority: Authority, authorization: str) -> None:
    token = mint(KEY, WEB)

    async def main() -> None:
        async with controller(authority, Clock()) as running:
            headers = {"Authorization": authorization.replace("{token}", token)}
            status, reason = await ask(running, request_of(WEB), headers)
            assert status == 401
            assert token.encode() not in reason

    run(main)


def test_two_tokens_are_refused(authority: Authority) -> None:
    async def main() -> None:
        async with controller(authority, Clock()) as running:
            headers = [*bearer(authority, WEB).items(), *bearer(authority, API).items()]
            assert (await ask(running, request_of(WEB), headers))[0] == 401

    run(main)


@pytest.mark.parametrize("body", [b"", b"x", b"\x00" * 1000, b"a" * 100_000])
def test_a_body_that_is_no_request_is_refused(authority: Authority, body: bytes) -> None:
    async def main() -> None:
        async with controller(authority, Clock()) as running:
            assert (await ask(running, body, bearer(authority)))[0] == 400

    run(main)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_certificate_proves_nothing(authority: Authority, name: str) -> None:
    """Each chains to a root that the controller trusts; it is turned away by TLS or by the check after it."""
    try:
        control_context(BAD[name](), authority.bundle)
    except PairRejected:
        return

    async def main() -> None:
        async with controller(trusting_forgery(authority), Clock()) as running:
            try:
                status, _ = await ask(running, request_of(WEB), {}, BAD[name]())
            except aiohttp.ClientError:
                return
            assert status == 401

    run(main)


def test_the_controllers_own_certificate_is_no_sidecars(authority: Authority) -> None:
    async def main() -> None:
        async with controller(authority, Clock()) as running:
            certificate, key = authority.issue_controller()
            status, _ = await ask(running, request_of(WEB), {}, Pair(certificate=certificate, key=key))
            assert status == 403

    run(main)


def test_an_expired_certificate_proves_nothing(authority: Authority) -> None:
    async def main() -> None:
        clock = Clock(ahead=timedelta(hours=3))  # the connection still stands when its certificate ends
        async with controller(authority, clock) as running:
            key, request = new_key_and_request(WEB.spiffe_id(TRUST_DOMAIN))
            pair = Pair(certificate=authority.issue(request, WEB, timedelta(hours=2)), key=key)
            assert (await ask(running, request_of(WEB), {}, pair))[0] == 401

    run(main)


def test_an_expired_root_says_so(authority: Authority) -> None:
    async def main() -> None:
        clock = Clock(ahead=timedelta(days=3651))
        async with controller(authority, clock) as running:
            status, reason = await ask(running, request_of(WEB), bearer(authority))
            assert status == 503
            assert b"issuer expired" in reason

    run(main)
