"""TLS between sidecars, and to the controller: contexts built fresh, tried, and only then used.

``ssl.SSLContext`` is mutable and easily broken (a key that does not fit leaves
the context without any), so one is never changed: ``build_contexts`` makes new
ones, shakes hands with itself in memory, checks the SPIFFE ID that comes out,
and returns them; a failure raises and whatever was in use stays in use.
Connections keep the context they began with.

A context is only half of the check. ``peer_of`` is the other: call it in
``connection_made``, before any byte is sent or believed. In TLS 1.3 a client
whose certificate the server refuses still completes its handshake and its first
write; the refusal shows on read.

Where other trust domains are believed (federation), OpenSSL takes the roots of
all of them as one heap. ``Federation`` takes it apart again: a chain must end in
a root of the very trust domain that its certificate claims.

Never use ``sni_callback``: aiofastnet's direct engine crashes the process on it.

Neighbours: ``proxy.contract.spiffe`` decides, ``proxy.openssl`` leaves out
what handshakes need not do, ``proxy.identity`` renews, ``proxy.listeners`` and
the pools use ``Contexts``.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from proxy.contract.bundle import BundleRejected, read_bundle
from proxy.contract.spiffe import Peer, PeerRejected, verify_peer
from proxy.errors import SidecarError
from proxy.openssl import install, narrow

install()  # before there is any connection

MESH_ALPN: Final = "smi-mesh/1"
"""Spoken between sidecars, and refused if not agreed on: no other protocol of ours can be played against it."""

CONTROL_ALPN: Final = "http/1.1"
"""Spoken to the controller."""

INCOMING_BIO_SIZE: Final = 17 * 1024
OUTGOING_BIO_SIZE: Final = 17 * 1024
"""aiofastnet's ``ssl_incoming_bio_size`` and ``ssl_outgoing_bio_size``, in bytes for each connection: one TLS record
(16 KiB and up to 277 bytes around it; aiofastnet takes no less than 16 KiB).

Measured on two ends in one process, against its default of 263 KB each: after 100 KB have passed a connection keeps
67 KB instead of 228 KB at either end; messages of 200 bytes cost the same (24 µs there and back); a bulk echo in
pieces of 16 to 64 KiB moves 380 instead of 480 MB per second of CPU."""

_DER = 2
"""``_ssl.ENCODING_DER``, which has no public name."""

_TEST_ROUNDS = 8
"""More than a handshake needs; bounds the self-test."""


class PairRejected(SidecarError):
    """Certificate, key and bundle do not make a working identity. The text names no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate (leaf first) and its private key, as PEM. Neither is shown by ``repr``."""

    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Federation:
    """Which roots (SHA-256 of their DER) vouch for which trust domain, our own among them."""

    roots: Mapping[str, frozenset[bytes]]

    def check(self, peer: Peer, connection: ssl.SSLObject) -> None:
        """Raises ``PeerRejected`` unless the chain of ``connection`` ends in a root of the peer's trust domain."""
        if sha256(_verified_root(connection)).digest() not in self.roots[peer.trust_domain]:
            raise PeerRejected(f"its root is none of trust domain {peer.trust_domain!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contexts:
    """Tried contexts of one certificate: to and from other sidecars, and to the controller. ``own`` is who we are.

    Connections of ``client`` and ``server`` are to be checked with ``federation``, None where there are no others.
    """

    client: ssl.SSLContext
    server: ssl.SSLContext
    control: ssl.SSLContext
    own: Peer
    federation: Federation | None = None


def build_contexts(
    pair: Pair,
    bundle: str,
    expected: str,
    trust_domain: str,
    now: datetime,
    *,
    federated: Mapping[str, str] | None = None,
) -> Contexts:
    """Contexts for ``pair`` that trust the roots in ``bundle`` (PEM), tried against each other.

    ``expected`` is the SPIFFE ID that the certificate must carry, ``federated`` has the bundles of other
    trust domains. Raises ``PairRejected``.
    """
    bundles = [bundle, *(federated or {}).values()]
    federation = _federation({**federated, trust_domain: bundle}) if federated else None
    client = mesh_context(ssl.PROTOCOL_TLS_CLIENT, pair, *bundles)
    server = mesh_context(ssl.PROTOCOL_TLS_SERVER, pair, *bundles)
    own = _self_test(client, server, trust_domain, now, federation)
    if own.identity != expected:
        raise PairRejected(f"the certificate is {own.identity}'s, not {expected}'s")
    return Contexts(client=client, server=server, control=control_context(pair, bundle), own=own, federation=federation)


def mesh_context(protocol: ssl._SSLMethod, pair: Pair, *bundles: str) -> ssl.SSLContext:
    """One untried side of sidecar-to-sidecar TLS. Raises ``PairRejected``."""
    context = _context(protocol, bundles)
    context.set_alpn_protocols([MESH_ALPN])
    _use(context, pair)
    return context


def control_context(pair: Pair | None, bundle: str) -> ssl.SSLContext:
    """The client side towards the controller; without ``pair``, for a first enrolment. Raises ``PairRejected``."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, [bundle])
    context.set_alpn_protocols([CONTROL_ALPN])
    if pair is not None:
        _use(context, pair)
    return context


def peer_of(
    transport: asyncio.BaseTransport,
    trust_domain: str,
    now: datetime,
    alpn: str = MESH_ALPN,
    federation: Federation | None = None,
) -> Peer:
    """Who is at the other end of ``transport``. Raises ``PeerRejected``; then nothing may be sent or believed.

    ``federation`` is that of the contexts with which the connection was made.
    """
    connection = transport.get_extra_info("ssl_object")
    if connection is None:
        raise PeerRejected("the connection is not encrypted")
    return _peer(connection, trust_domain, now, alpn, federation)


def _peer(
    connection: ssl.SSLObject, trust_domain: str, now: datetime, alpn: str, federation: Federation | None
) -> Peer:  # fmt: skip
    agreed = connection.selected_alpn_protocol()
    if agreed != alpn:
        raise PeerRejected(f"application protocol {agreed!r} instead of {alpn!r}")
    der = connection.getpeercert(binary_form=True)
    if not der:
        raise PeerRejected("the peer showed no certificate")
    if federation is None:
        return verify_peer(der, trust_domain, now)
    peer = verify_peer(der, trust_domain, now, federation.roots)
    federation.check(peer, connection)
    return peer


def _federation(bundles: Mapping[str, str]) -> Federation:
    return Federation(
        roots={
            domain: frozenset(sha256(root).digest() for root in _roots([bundle])) for domain, bundle in bundles.items()
        }
    )


def _verified_root(connection: Any) -> bytes:
    """The root (DER) that the chain of ``connection`` was verified up to."""
    if hasattr(connection, "get_verified_chain"):  # aiofastnet's, and ssl's from Python 3.13 on
        chain = connection.get_verified_chain()
    else:
        chain = [certificate.public_bytes(_DER) for certificate in connection._sslobj.get_verified_chain()]
    if not chain:
        raise PeerRejected("no verified chain")
    return bytes(chain[-1])


def _context(protocol: ssl._SSLMethod, bundles: Iterable[str]) -> ssl.SSLContext:
    """Everything that holds for each of our contexts. A bare ``SSLContext`` trusts none of the system's roots."""
    context = ssl.SSLContext(protocol)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    # Names are checked by peer_of: a SPIFFE ID is no host name.
    context.check_hostname = False
    context.hostname_checks_common_name = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.set_ecdh_curve("prime256v1")
    narrow(context)
    # No resumption: a ticket would outlive the certificate and the policy it was given under. In TLS 1.3 tickets are
    # the only way to resume, so there is no session cache either.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    # A connection cut off is not one that ended (Python's default hides it).
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0
    try:
        context.load_verify_locations(cadata=b"".join(_roots(bundles)))
    except ssl.SSLError as error:
        raise PairRejected(f"the bundle cannot be used ({error.reason})") from error
    return context


def _roots(bundles: Iterable[str]) -> list[bytes]:
    """All roots as DER, each once. Raises ``PairRejected``."""
    try:
        return list(dict.fromkeys(root for bundle in bundles for root in read_bundle(bundle)))
    except BundleRejected as error:
        raise PairRejected(str(error)) from error


def check_pair(pair: Pair) -> None:
    """Raises ``PairRejected`` unless the key is the certificate's."""
    _use(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), pair)


def _use(context: ssl.SSLContext, pair: Pair) -> None:
    """``load_cert_chain`` takes paths only; a file in memory keeps an untried key off the disk."""
    try:
        with _in_memory(pair.key.rstrip() + b"\n" + pair.certificate) as path:
            # The empty password makes an encrypted key an error; without, OpenSSL would ask the terminal.
            context.load_cert_chain(path, password="")
    except (ssl.SSLError, ValueError) as error:
        raise PairRejected(f"certificate and key cannot be used ({getattr(error, 'reason', None)})") from error


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    descriptor = os.memfd_create("pair", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _self_test(
    client: ssl.SSLContext, server: ssl.SSLContext, trust_domain: str, now: datetime, federation: Federation | None
) -> Peer:
    """A handshake of the two in memory, both ends checked as real peers are."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server)
    far = server.wrap_bio(to_server, to_client, server_side=True)
    try:
        for _ in range(_TEST_ROUNDS):
            near_done, far_done = _advanced(near), _advanced(far)
            if near_done and far_done:
                break
        else:
            raise PairRejected("the self-test's handshake does not end")
        _peer(far, trust_domain, now, MESH_ALPN, federation)
        return _peer(near, trust_domain, now, MESH_ALPN, federation)
    except ssl.SSLError as error:
        raise PairRejected(f"the self-test's handshake failed: {error.reason} {_why(error)}".rstrip()) from error
    except PeerRejected as error:
        raise PairRejected(f"the certificate is no identity: {error}") from error


def _advanced(end: ssl.SSLObject) -> bool:
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _why(error: ssl.SSLError) -> str:
    return f"({error.verify_message})" if isinstance(error, ssl.SSLCertVerificationError) else ""
