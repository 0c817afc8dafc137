"""The controller's side of TLS: its own certificate, and sidecars that may show theirs.

The key is made in this process and written nowhere. A server keeps one context
for life and its certificate is exchanged in it; as key and certificate are made
together they always fit, so connections never meet half of an exchange.

Neighbours: ``proxy.tls`` is the other side, ``translator.identity.enrol`` and
the control stream ask ``peer_of`` who is calling.
"""

from __future__ import annotations

import os
import ssl
from datetime import datetime
from typing import Final

from aiohttp import web

from proxy.contract.spiffe import Peer, PeerRejected, verify_peer
from translator.identity.authority import LEAF_LIFETIME, Authority

ALPN: Final = "http/1.1"


def serving_context(authority: Authority) -> ssl.SSLContext:
    """A server context: TLS 1.3 only, a client certificate is optional but must be ours. Renew it (``renew``)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.set_ecdh_curve("prime256v1")
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    context.set_alpn_protocols([ALPN])
    context.load_verify_locations(cadata=authority.bundle.decode("ascii"))
    renew(context, authority)
    return context


def renew(context: ssl.SSLContext, authority: Authority) -> datetime:
    """Gives ``context`` a new certificate for connections from now on; returns when to do it again."""
    certificate, key = authority.issue_controller()
    descriptor = os.memfd_create("controller", os.MFD_CLOEXEC)  # load_cert_chain takes paths only
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(certificate + key)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return authority.now() + LEAF_LIFETIME / 2


def peer_of(request: web.Request, authority: Authority) -> Peer:
    """Who sent ``request``, by its client certificate. Raises ``PeerRejected`` if it has none that is valid."""
    connection = request.get_extra_info("ssl_object")
    der = connection.getpeercert(binary_form=True) if connection is not None else None
    if not der:
        raise PeerRejected("no client certificate")
    return verify_peer(der, authority.trust_domain, authority.now())
