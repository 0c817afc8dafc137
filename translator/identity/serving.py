"""The controller's side of TLS: its own certificate, and sidecars that may show theirs.

The key is made in this process and written nowhere. A context is never changed:
a new certificate or a new bundle is a new context, which shakes hands with
itself in memory before it is used (``serving_context``), and a new site on the
same listening socket (``ControlSite``). Connections keep what they began with.

Neighbours: ``proxy.tls`` is the other side, ``translator.identity.rotation``
says when, ``translator.identity.enrol`` and the control stream ask ``peer_of`` who is calling.
"""

from __future__ import annotations

import os
import socket
import ssl
from datetime import timedelta
from typing import Final

from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding

from proxy.contract.spiffe import Peer, PeerRejected, verify_peer
from translator.identity.authority import LEAF_LIFETIME, Authority, AuthorityError

ALPN: Final = "http/1.1"

BACKLOG: Final = 1024
"""Connections the kernel holds for us: sidecars that all come back at once."""

_TEST_ROUNDS = 8
"""More than a handshake needs; bounds the self-test."""


def serving_context(authority: Authority, lifetime: timedelta = LEAF_LIFETIME) -> ssl.SSLContext:
    """A server context with a new certificate: TLS 1.3 only, a client certificate is optional but must be ours.

    Raises ``AuthorityError`` when a client that trusts the bundle would not take the certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_ecdh_curve("prime256v1")
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    _trust(context, authority)
    use_pair(context, *authority.issue_controller(lifetime))
    _try(context, authority)
    return context


def calling_context(authority: Authority, lifetime: timedelta = LEAF_LIFETIME) -> ssl.SSLContext:
    """A client context towards other controllers, with a new certificate. Whom it reaches ``peer_of`` has to tell."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # names of controllers are SPIFFE IDs
    _trust(context, authority)
    use_pair(context, *authority.issue_controller(lifetime))
    return context


def use_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Gives a context its certificate and key (PEM), which are on no disk."""
    descriptor = os.memfd_create("controller", os.MFD_CLOEXEC)  # load_cert_chain takes paths only
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(certificate + key)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


class ControlSite:
    """The listening socket of the control port, and the site that serves it with the newest context.

    Raises ``OSError`` naming the address when it is taken.
    """

    def __init__(self, runner: web.AppRunner, address: str, port: int) -> None:
        self._runner = runner
        self._site: web.SockSite | None = None
        self._socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((address, port))
        except OSError as error:
            self._socket.close()
            raise OSError(error.errno, f"cannot listen on {address}:{port}: {error.strerror}") from error

    @property
    def port(self) -> int:
        """The port that is served."""
        return int(self._socket.getsockname()[1])

    async def serve(self, context: ssl.SSLContext) -> None:
        """Gives ``context`` to connections from now on. None is refused meanwhile: both sites share the socket."""
        before, self._site = (
            self._site,
            web.SockSite(self._runner, self._socket.dup(), ssl_context=context, backlog=BACKLOG),
        )
        await self._site.start()
        if before is not None:
            await before.stop()

    def close(self) -> None:
        """Listens no more; what is open ends with the runner."""
        self._socket.close()


def peer_of(request: web.Request, authority: Authority) -> Peer:
    """Who sent ``request``, by its client certificate. Raises ``PeerRejected`` if it has none that is valid."""
    return peer_at(request.get_extra_info("ssl_object"), authority)


def peer_at(connection: ssl.SSLObject | None, authority: Authority) -> Peer:
    """Who is at the other end of ``connection``. Raises ``PeerRejected``."""
    der = connection.getpeercert(binary_form=True) if connection is not None else None
    if not der:
        raise PeerRejected("no certificate")
    return verify_peer(der, authority.trust_domain, authority.now())


def _trust(context: ssl.SSLContext, authority: Authority) -> None:
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols([ALPN])
    context.load_verify_locations(cadata=b"".join(root.public_bytes(Encoding.DER) for root in authority.roots))


def _try(server: ssl.SSLContext, authority: Authority) -> None:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    _trust(client, authority)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server)
    far = server.wrap_bio(to_server, to_client, server_side=True)
    try:
        for _ in range(_TEST_ROUNDS):
            if _advanced(near) & _advanced(far):
                break
        else:
            raise AuthorityError("the self-test's handshake does not end")
        verify_peer(near.getpeercert(binary_form=True) or b"", authority.trust_domain, authority.now())
    except ssl.SSLError as error:
        why = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else error.reason
        raise AuthorityError(f"no sidecar would take a certificate of this issuer: {why}") from error
    except PeerRejected as error:
        raise AuthorityError(f"no sidecar would take a certificate of this issuer: {error}") from error


def _advanced(end: ssl.SSLObject) -> bool:
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
