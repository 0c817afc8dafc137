"""TLS between sidecars over real connections: who gets in, what is agreed on, and exchange under load."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import aiofastnet
import forge
import pytest
import uvloop
from eventually import eventually
from forge import BAD, TRUST_DOMAIN, UNCHAINED, WEB, Leaf

from proxy.contract.spiffe import PeerRejected
from proxy.tls import (
    INCOMING_BIO_SIZE,
    MESH_ALPN,
    OUTGOING_BIO_SIZE,
    Contexts,
    Pair,
    PairRejected,
    build_contexts,
    control_context,
    mesh_context,
    peer_of,
)

API = "spiffe://cluster.local/ns/shop/sa/api"
SIZES: dict[str, Any] = {"ssl_incoming_bio_size": INCOMING_BIO_SIZE, "ssl_outgoing_bio_size": OUTGOING_BIO_SIZE}


def contexts_of(pair: Pair, identity: str = WEB, bundle: str = "") -> Contexts:
    return build_contexts(pair, bundle or forge.trusted().pem, identity, TRUST_DOMAIN, forge.now())


@dataclass
class End(asyncio.Protocol):
    """One end of a connection; checks its peer first, as every user of ``proxy.tls`` must, and keeps what happens."""

    greeting: bytes = b""
    echo: bool = False
    verdict: str = ""
    received: bytearray = field(default_factory=bytearray)
    lost: bool = False
    transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # aiofastnet's is one in behaviour only
        try:
            self.verdict = peer_of(transport, TRUST_DOMAIN, forge.now()).identity
        except PeerRejected as error:
            self.verdict = f"rejected: {error}"
            self.transport.abort()
            return
        self.transport.write(self.greeting)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.echo and self.transport is not None:
            self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


class Listener:
    """Accepts plain sockets and gives each the context of the moment, as the sidecar's listeners do."""

    def __init__(self, current: Callable[[], ssl.SSLContext], new_end: Callable[[], asyncio.Protocol]) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.port: int = self.socket.getsockname()[1]
        self._current, self._new_end = current, new_end

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while True:
                accepted, _ = await loop.sock_accept(self.socket)
                group.create_task(self._take(accepted))

    async def _take(self, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await aiofastnet.connect_accepted_socket(
                loop, self._new_end, accepted, ssl=self._current(), ssl_handshake_timeout=5, **SIZES
            )
        except (OSError, ssl.SSLError):
            accepted.close()


@asynccontextmanager
async def listening(
    current: Callable[[], ssl.SSLContext], new_end: Callable[[], asyncio.Protocol]
) -> AsyncIterator[int]:  # fmt: skip
    listener = Listener(current, new_end)
    serving = asyncio.create_task(listener.serve())
    try:
        yield listener.port
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        listener.socket.close()


async def connect(port: int, context: ssl.SSLContext, end: End) -> End:
    """Connects; a handshake that fails is the verdict."""
    loop = asyncio.get_running_loop()
    try:
        await aiofastnet.create_connection(loop, lambda: end, "127.0.0.1", port, ssl=context, **SIZES)
    except OSError as error:
        end.verdict = f"rejected: handshake: {error}"
        end.lost = True
    return end


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Runs ``main`` on uvloop; only refused handshakes may end up with the loop's exception handler."""
    strange: list[dict[str, Any]] = []

    def note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if context["message"] != "SSL handshake failed":
            strange.append(context)

    async def noted() -> None:
        asyncio.get_running_loop().set_exception_handler(note)
        await asyncio.wait_for(main(), 30)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(noted())
    assert not strange


def test_two_good_certificates_meet() -> None:
    web, api = contexts_of(forge.good()), contexts_of(forge.good(API, "api-0.shop.pod"), API)
    ends: list[End] = []

    async def main() -> None:
        def new_end() -> End:
            ends.append(End(echo=True))
            return ends[-1]

        async with listening(lambda: api.server, new_end) as port:
            client = await connect(port, web.client, End(greeting=b"hello"))
            await eventually(lambda: bytes(client.received) == b"hello")
            assert client.verdict == API
            assert ends[0].verdict == WEB
            assert client.transport is not None
            connection = client.transport.get_extra_info("ssl_object")
            assert connection.version() == "TLSv1.3"
            assert connection.selected_alpn_protocol() == MESH_ALPN
            client.transport.close()

    run(main)


def test_no_connection_is_resumed_and_no_ticket_given() -> None:
    contexts = contexts_of(forge.good())

    async def main() -> None:
        async with listening(lambda: contexts.server, lambda: End(echo=True)) as port:
            for _ in range(3):
                client = await connect(port, contexts.client, End(greeting=b"x"))
                await eventually(partial(getattr, client, "received"))
                assert client.transport is not None
                assert client.transport.get_extra_info("ssl_object").session_reused is False
                client.transport.close()

    run(main)
    assert contexts.server.num_tickets == 0
    assert contexts.server.session_stats()["hits"] == 0


@pytest.mark.parametrize("offered", [None, "h2", "smi-mesh/2"])
def test_another_application_protocol_is_refused_by_either_side(offered: str | None) -> None:
    honest = contexts_of(forge.good())

    def other(side: ssl._SSLMethod) -> ssl.SSLContext:
        context = mesh_context(side, forge.good(), forge.trusted().pem)
        context.set_alpn_protocols([offered] if offered else [])
        return context

    async def main() -> None:
        accepted: list[End] = []

        def new_end() -> End:
            accepted.append(End())
            return accepted[-1]

        async with listening(lambda: honest.server, new_end) as port:
            await connect(port, other(ssl.PROTOCOL_TLS_CLIENT), End())
            await eventually(lambda: accepted and accepted[0].verdict)
            assert "application protocol" in accepted[0].verdict
        async with listening(lambda: other(ssl.PROTOCOL_TLS_SERVER), End) as port:
            client = await connect(port, honest.client, End(greeting=b"secret"))
            assert "application protocol" in client.verdict

    run(main)


def test_a_client_without_certificate_is_not_heard() -> None:
    honest = contexts_of(forge.good())
    bare = control_context(None, forge.trusted().pem)
    bare.set_alpn_protocols([MESH_ALPN])

    async def main() -> None:
        accepted: list[End] = []

        def new_end() -> End:
            accepted.append(End())
            return accepted[-1]

        async with listening(lambda: honest.server, new_end) as port:
            client = await connect(port, bare, End(greeting=b"let me in"))
            await eventually(lambda: client.lost)
        assert not any(end.transport for end in accepted)  # TLS itself ends it

    run(main)


def test_tls_1_2_is_refused() -> None:
    honest = contexts_of(forge.good())
    old = mesh_context(ssl.PROTOCOL_TLS_CLIENT, forge.good(), forge.trusted().pem)
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2

    async def main() -> None:
        async with listening(lambda: honest.server, End) as port:
            client = await connect(port, old, End())
            assert client.verdict.startswith("rejected: handshake")

    run(main)


def test_plain_text_is_no_identity() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with theirs:
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
            with pytest.raises(PeerRejected, match="not encrypted"):
                peer_of(transport, TRUST_DOMAIN, forge.now())
            transport.close()

    run(main)


def test_bodies_larger_than_the_buffers_pass_both_ways() -> None:
    contexts = contexts_of(forge.good())
    body = bytes(range(256)) * 8192  # 2 MiB

    async def main() -> None:
        async with listening(lambda: contexts.server, lambda: End(echo=True)) as port:
            client = await connect(port, contexts.client, End(greeting=body))
            await eventually(lambda: len(client.received) == len(body))
            assert bytes(client.received) == body
            assert client.transport is not None
            client.transport.close()

    run(main)


def test_open_connections_outlive_an_exchange_of_leaf_and_root() -> None:
    old_root, new_root = forge.Root(), forge.Root()
    both = old_root.pem + new_root.pem
    old, new = (contexts_of(root.sign(Leaf()), bundle=both) for root in (old_root, new_root))
    after = contexts_of(new_root.sign(Leaf()), bundle=new_root.pem)
    current = old

    async def main() -> None:
        nonlocal current
        async with listening(lambda: current.server, lambda: End(echo=True)) as port:
            first = await connect(port, old.client, End(greeting=b"1"))
            await eventually(lambda: first.received == b"1")
            current = new
            second = await connect(port, old.client, End(greeting=b"2"))
            await eventually(lambda: second.received == b"2")
            current = after
            third = await connect(port, new.client, End(greeting=b"3"))
            await eventually(lambda: third.received == b"3")
            for end in (first, second, third):
                assert end.transport is not None
                end.transport.write(b"!")
            await eventually(lambda: all(bytes(end.received[1:]) == b"!" for end in (first, second, third)))
            assert (await connect(port, old.client, End())).verdict == WEB  # the server's new leaf is trusted …
            late = await connect(port, old.client, End(greeting=b"4"))
            await eventually(lambda: late.lost)  # … but the old root's is not, once it has left the bundle
            assert not late.received
            for end in (first, second, third):
                assert end.transport is not None
                end.transport.close()

    run(main)


# The self-test: contexts that would not work are never handed out.


def test_a_key_of_another_certificate_is_refused() -> None:
    with pytest.raises(PairRejected, match="MISMATCH"):
        contexts_of(replace(forge.good(), key=forge.good().key))


def test_a_context_in_use_would_be_broken_by_it_and_ours_is_not(tmp_path: Path) -> None:
    """Why no context is ever changed: this is what ``load_cert_chain`` leaves of one."""
    in_use, broken = contexts_of(forge.good()), contexts_of(forge.good())
    mismatched = replace(forge.good(), key=forge.good().key)
    with pytest.raises(ssl.SSLError, match="MISMATCH"):
        broken.server.load_cert_chain(*forge.save(mismatched, tmp_path))
    with pytest.raises(PairRejected):
        contexts_of(mismatched)

    async def main() -> None:
        async with listening(lambda: broken.server, lambda: End(echo=True)) as port:
            assert (await connect(port, in_use.client, End())).verdict.startswith("rejected: handshake")
        async with listening(lambda: in_use.server, lambda: End(echo=True)) as port:
            client = await connect(port, in_use.client, End(greeting=b"hello"))
            await eventually(lambda: bytes(client.received) == b"hello")
            assert client.transport is not None
            client.transport.close()

    run(main)


@pytest.mark.parametrize("name", [*BAD, *UNCHAINED])
def test_a_bad_certificate_of_our_own_is_refused(name: str) -> None:
    with pytest.raises(PairRejected):
        contexts_of((BAD | UNCHAINED)[name]())


def test_a_certificate_of_somebody_else_is_refused() -> None:
    with pytest.raises(PairRejected, match="sa/api's, not"):
        contexts_of(forge.good(API, "api-0.shop.pod"), WEB)


def test_a_certificate_outside_the_bundle_is_refused() -> None:
    with pytest.raises(PairRejected, match="handshake failed"):
        contexts_of(forge.good(), bundle=forge.Root().pem)


@pytest.mark.parametrize(
    "bundle",
    [
        "not a certificate",
        "\xff\x00",
        forge.trusted().pem[:-40],
        forge.trusted().pem + forge.Root().pem[:-40],
        forge.trusted().pem * 2 + forge.good().certificate.decode(),
    ],
    ids=["text", "binary", "cut short", "second cut short", "with a leaf"],
)
def test_a_damaged_bundle_is_refused(bundle: str) -> None:
    with pytest.raises(PairRejected, match="bundle"):
        contexts_of(forge.good(), bundle=bundle)


@pytest.mark.parametrize("part", ["certificate", "key"])
@pytest.mark.parametrize("damage", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_damaged_pair_is_refused(part: str, damage: bytes) -> None:
    with pytest.raises(PairRejected):
        contexts_of(replace(forge.good(), **{part: damage}))


def test_a_key_under_a_password_is_refused_without_asking_for_it() -> None:
    from cryptography.hazmat.primitives import serialization

    good = forge.good()
    key = serialization.load_pem_private_key(good.key, None)
    hidden = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"word"),
    )
    with pytest.raises(PairRejected):
        contexts_of(replace(good, key=hidden))


def test_a_bundle_of_several_roots_is_trusted_whole() -> None:
    roots = [forge.Root() for _ in range(3)]
    bundle = "".join(root.pem for root in roots)
    for root in roots:
        assert contexts_of(root.sign(Leaf()), bundle=bundle).own.identity == WEB


def test_nothing_shows_the_key() -> None:
    pair = forge.good()
    body = pair.key.decode().splitlines()[1]
    assert body not in repr(pair)
    assert body not in repr(contexts_of(pair))
    with pytest.raises(PairRejected) as caught:
        contexts_of(replace(pair, certificate=forge.good().certificate))
    error: BaseException | None = caught.value
    while error is not None:
        assert body not in repr(error) + str(error)
        error = error.__cause__ or error.__context__
