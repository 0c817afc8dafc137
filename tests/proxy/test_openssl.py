"""What a handshake between sidecars does and does not do, by its bytes, the certificates shown, and its files."""

from __future__ import annotations

import asyncio
import ssl
import struct
import tempfile
from collections.abc import Iterator
from typing import Any

import aiofastnet
import forge
import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from forge import TRUST_DOMAIN, WEB, Leaf
from wire import HOST, OK, App, play, playing, to

from proxy import openssl
from proxy.contract.config import Config, Endpoint, Inbound
from proxy.tls import Contexts, Pair, build_contexts, mesh_context

GET = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"
ANYBODY = Config(inbound=Inbound(default_policy="allow"))
CLIENT, SERVER = ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER
SUPPORTED_GROUPS, KEY_SHARE = 10, 51  # RFC 8446 §4.2
P_256, X25519 = 0x0017, 0x001D  # RFC 8446 §4.2.7


def own(pair: Pair | None = None, bundle: str = "") -> Contexts:
    return build_contexts(pair or forge.good(), bundle or forge.trusted().pem, WEB, TRUST_DOMAIN, forge.now())


def context(side: ssl._SSLMethod, curve: str = "") -> ssl.SSLContext:
    """A peer's, by default as ours; ``curve``: it knows no other."""
    made = mesh_context(side, forge.good(), forge.trusted().pem)
    if curve:
        made.set_ecdh_curve(curve)
    return made


class Handshake:
    """A handshake of two contexts in memory."""

    def __init__(self, client: ssl.SSLContext, server: ssl.SSLContext) -> None:
        self.to_server, self.to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.near: Any = client.wrap_bio(self.to_client, self.to_server)
        self.far: Any = server.wrap_bio(self.to_server, self.to_client, server_side=True)

    def run(self) -> int:
        """To its end; how often the client had something to say, the hello included."""
        said = 0
        for _ in range(8):
            done = [self._step(end) for end in (self.near, self.far)]
            if all(done):
                return said
            said += not done[0]
        raise AssertionError("the handshake does not end")

    @staticmethod
    def _step(end: ssl.SSLObject) -> bool:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True


def extensions(hello: bytes) -> Iterator[tuple[int, bytes]]:
    """Those of a ClientHello that is a record of its own (RFC 8446 §4.1.2)."""
    at = 5 + 4 + 2 + 32  # record, handshake, version, random
    at += 1 + hello[at]  # session id
    at += 2 + int.from_bytes(hello[at : at + 2])  # cipher suites
    at += 1 + hello[at] + 2  # compression methods, length of all extensions
    while at < len(hello):
        number, length = struct.unpack_from("!HH", hello, at)
        yield number, hello[at + 4 : at + 4 + length]
        at += 4 + length


def test_a_hello_offers_two_groups_and_a_share_of_the_first() -> None:
    handshake = Handshake(own().client, own().server)
    assert not handshake._step(handshake.near)
    found = dict(extensions(handshake.to_server.read()))
    assert found[SUPPORTED_GROUPS] == struct.pack("!HHH", 4, X25519, P_256)
    assert struct.unpack_from("!HHH", found[KEY_SHARE]) == (36, X25519, 32)


def test_our_handshake_takes_one_flight_each_way() -> None:
    assert Handshake(own().client, own().server).run() == 1


@pytest.mark.parametrize(("client", "server", "said"), [("prime256v1", "", 1), ("", "prime256v1", 2)])
def test_a_peer_that_knows_p_256_alone_is_agreed_with(client: str, server: str, said: int) -> None:
    """The one before a release, the other after: a server that has no use for the share asks for another."""
    assert Handshake(context(CLIENT, client), context(SERVER, server)).run() == said


@pytest.mark.parametrize("curve", ["secp384r1", "secp521r1", "X448"])
def test_nobody_makes_us_work_with_another_curve(curve: str) -> None:
    with pytest.raises(ssl.SSLError, match=r"NO_SUITABLE_KEY_SHARE|NO_SHARED_GROUP"):
        Handshake(context(CLIENT, curve), own().server).run()


def shown_to(end: Any) -> list[bytes]:
    """What the peer of ``end`` has shown, as DER."""
    connection = end if hasattr(end, "get_unverified_chain") else end._sslobj
    chain = connection.get_unverified_chain() or []
    return [one if isinstance(one, bytes) else one.public_bytes(2) for one in chain]


def test_either_side_shows_its_certificate_and_not_the_root() -> None:
    pair = forge.good()
    handshake = Handshake(own(pair).client, own(pair).server)
    handshake.run()
    assert [shown_to(end) for end in (handshake.near, handshake.far)] == [[forge.der(pair)]] * 2


def test_the_cas_between_are_shown() -> None:
    root = forge.Root(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")]))  # of any path length
    middle = root.sign(Leaf(subject="a CA", ca=True, usage=("key_cert_sign",), extended=None))
    pair = root.sign(Leaf(), issuer=middle)
    handshake = Handshake(own(pair, root.pem).client, own(pair, root.pem).server)
    handshake.run()
    assert [shown_to(end) for end in (handshake.near, handshake.far)] == [[forge.der(pair), forge.der(middle)]] * 2


def test_an_openssl_that_may_not_do_x25519_keeps_to_p_256(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openssl, "GROUPS", ("unheard-of", "P-256"))
    narrower = own()
    monkeypatch.undo()
    assert Handshake(narrower.client, own().server).run() == 1
    assert Handshake(own().client, narrower.server).run() == 2


def test_without_its_library_contexts_are_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openssl, "OPENSSL_DYN_LIBS", None)
    plain = own()
    monkeypatch.undo()
    assert Handshake(plain.client, own().server).run() == 1
    assert Handshake(own().client, plain.server).run() == 2


def test_connections_are_opened_and_accepted_without_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full is no reason to refuse a peer."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", full)

    async def scene() -> None:
        async with App(lambda _: OK) as app, playing(ANYBODY, contexts=own(), app=app) as server:
            there = Endpoint(ip=HOST, port=app.port, mesh=server.mesh, identity=WEB)
            async with playing(to(there), contexts=own()) as sidecar:
                assert (await sidecar.ask(GET)).status == 200

    play(scene())


def test_a_transport_tells_the_certificate_as_der_and_no_dictionary() -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        pair = forge.good()
        server = await asyncio.start_server(lambda _, writer: writer.close(), HOST, 0, ssl=own(pair).server)
        async with server:
            port = server.sockets[0].getsockname()[1]
            transport, _ = await aiofastnet.create_connection(loop, asyncio.Protocol, HOST, port, ssl=own().client)
            assert transport.get_extra_info("peercert") == {}
            connection = transport.get_extra_info("ssl_object")
            assert connection.getpeercert() == {}
            assert connection.getpeercert(binary_form=True) == connection.getpeercert(True) == forge.der(pair)
            transport.abort()

    play(scene())
