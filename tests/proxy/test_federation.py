"""Sidecars of two trust domains, with mTLS between them: who vouches for whom."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace

import forge
import pytest
from forge import TRUST_DOMAIN, WEB, Leaf
from wire import HOST, OK, App, play, playing, to

from proxy.contract.config import Config, Endpoint, Grant, Inbound, Source
from proxy.preface import encode_preface
from proxy.tls import Contexts, Pair, PairRejected, build_contexts, mesh_context

PARTNER_DOMAIN = "partner.example"
BILLING = "spiffe://partner.example/team/billing"
LOCAL_LOOK = "spiffe://partner.example/ns/shop/sa/web"
PARTNER, OTHER = forge.Root(), forge.Root()
GET = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"
ALLOW = Inbound(default_policy="allow")


def ours(**federated: str) -> Contexts:
    return build_contexts(
        forge.good(), forge.trusted().pem, WEB, TRUST_DOMAIN, forge.now(),
        federated=federated or {PARTNER_DOMAIN: PARTNER.pem},
    )  # fmt: skip


def partner(identity: str, *pods: str, root: forge.Root = PARTNER) -> Pair:
    return root.sign(Leaf(uris=(identity,), dns=pods))


def of_partner(pair: Pair) -> ssl.SSLContext:
    """What a caller of the partner's mesh uses: it trusts our roots."""
    return mesh_context(ssl.PROTOCOL_TLS_CLIENT, pair, PARTNER.pem, forge.trusted().pem)


def granting(*sources: Source) -> Inbound:
    return Inbound(named=True, grants=(Grant(target="shop/t", sources=sources),))


async def call(inbound: Inbound, pair: Pair, own: Contexts | None = None) -> tuple[bytes, list[bytes]]:
    """The first line that a caller with ``pair`` is answered, and what reached the application."""
    async with App(lambda _: OK) as app, playing(Config(inbound=inbound), contexts=own or ours(), app=app) as sidecar:
        reader, writer = await asyncio.open_connection(HOST, sidecar.mesh, ssl=of_partner(pair), server_hostname="")
        writer.write(encode_preface(app.port) + GET)
        try:
            line = await reader.readline()
        except OSError:
            line = b""
        writer.transport.abort()
        return line.strip(), app.requests


def test_an_identity_of_another_trust_domain_that_is_named_is_let_in_under_its_whole_name() -> None:
    async def scene() -> None:
        for identity in (BILLING, LOCAL_LOOK):
            answer, requests = await call(granting(Source(identity=identity)), partner(identity))
            assert answer == b"HTTP/1.1 200 OK"
            assert f"smi-mesh-client-id: {identity}\r\n".encode() in requests[0]

    play(scene())


@pytest.mark.parametrize(
    "inbound",
    [
        granting(Source(identity=WEB)),
        granting(Source(identity="spiffe://partner.example/team/other")),
        granting(Source(pod="web-0.shop.pod")),
        Inbound(),
        Inbound(default_policy="deny"),
    ],
    ids=["ours of the same path", "another", "pod of ours", "same-identity", "deny"],
)
def test_any_other_is_refused(inbound: Inbound) -> None:
    """Even if its certificate says the path of one of ours, or the name of one of our pods."""

    async def scene() -> None:
        for identity in (BILLING, LOCAL_LOOK):
            answer, requests = await call(inbound, partner(identity, "web-0.shop.pod"))
            assert (answer, requests) == (b"HTTP/1.1 403 Forbidden", [])

    play(scene())


@pytest.mark.parametrize(
    "pair",
    [
        partner(WEB),
        partner("spiffe://other.example/x"),
        forge.trusted().sign(Leaf(uris=(BILLING,))),
        partner(BILLING, root=OTHER),
        forge.trusted().sign(Leaf(uris=("spiffe://cluster.local/team/billing",))),
        partner("spiffe://partner.example/"),
        PARTNER.sign(replace(Leaf(uris=(BILLING,)), usage=("digital_signature", "key_cert_sign"))),
    ],
    ids=["ours by their root", "third domain", "theirs by our root", "stranger", "our odd path", "no path", "a CA's"],
)
def test_a_root_vouches_for_its_own_trust_domain_alone(pair: Pair) -> None:
    async def scene() -> None:
        assert await call(ALLOW, pair) == (b"", [])

    play(scene())


def test_without_a_bundle_of_its_domain_nobody_is_believed() -> None:
    bare = build_contexts(forge.good(), forge.trusted().pem, WEB, TRUST_DOMAIN, forge.now())

    async def scene() -> None:
        assert await call(ALLOW, partner(BILLING), bare) == (b"", [])
        assert await call(ALLOW, partner(BILLING), ours(**{"other.example": OTHER.pem})) == (b"", [])
        assert (await call(ALLOW, partner(BILLING), ours(**{PARTNER_DOMAIN: OTHER.pem + PARTNER.pem})))[1]

    play(scene())


def test_one_root_for_two_domains_vouches_for_both() -> None:
    both = ours(**{PARTNER_DOMAIN: PARTNER.pem, "other.example": PARTNER.pem})

    async def scene() -> None:
        for identity in (BILLING, "spiffe://other.example/x"):
            assert (await call(ALLOW, partner(identity), both))[0] == b"HTTP/1.1 200 OK"

    play(scene())


def test_a_server_of_another_trust_domain_is_the_one_expected_or_is_sent_nothing() -> None:
    async def scene() -> None:
        theirs = mesh_context(ssl.PROTOCOL_TLS_SERVER, partner(BILLING), PARTNER.pem, forge.trusted().pem)
        stolen = mesh_context(ssl.PROTOCOL_TLS_SERVER, partner(WEB), PARTNER.pem, forge.trusted().pem)
        heard = bytearray()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.extend(await reader.read(1000))
            writer.write(OK)
            await reader.read()
            writer.close()

        async with playing(Config(), contexts=ours()) as sidecar:
            for version, (context, expected, status) in enumerate(
                [(theirs, BILLING, 200), (theirs, LOCAL_LOOK, 502), (theirs, WEB, 502), (stolen, WEB, 502)], 1
            ):
                server = await asyncio.start_server(answer, HOST, 0, ssl=context)
                port = server.sockets[0].getsockname()[1]
                sidecar.sidecar.apply(to(Endpoint(ip=HOST, port=80, mesh=port, identity=expected), version=version))
                heard.clear()
                assert (await sidecar.ask(GET)).status == status
                assert bool(heard) == (status == 200)
                server.close()

    play(scene())


def test_our_own_certificate_is_vouched_for_by_our_own_roots() -> None:
    """The self-test tells: the other domain's root is in the same heap of roots."""
    with pytest.raises(PairRejected, match=r"none of trust domain 'cluster\.local'"):
        build_contexts(
            PARTNER.sign(Leaf()), forge.trusted().pem, WEB, TRUST_DOMAIN, forge.now(),
            federated={PARTNER_DOMAIN: PARTNER.pem},
        )  # fmt: skip


def test_a_damaged_bundle_of_another_domain_is_refused() -> None:
    with pytest.raises(PairRejected, match="bundle"):
        ours(**{PARTNER_DOMAIN: PARTNER.pem[:-40]})
