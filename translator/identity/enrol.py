"""``POST /identity/v1/certificate``: a sidecar proves who it is and gets a certificate for its key.

The proof is a token (``Authorization: Bearer``) or, for a renewal, the still
valid client certificate. If a token is sent it alone counts, so that there is
never a choice between two identities.

    200  the certificate and the trust bundles now in force: ``proxy.contract.messages.Issued``
    400  the request is no P-256 certificate request, or asks for another name
    401  no proof, or one that is not valid
    403  the certificate shown is not a sidecar's
    503  the issuer has expired
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import msgspec
from aiohttp import web

from proxy.contract.config import Trust
from proxy.contract.messages import Issued
from proxy.contract.spiffe import POD_SUFFIX, Peer, PeerRejected
from translator.identity.authority import LEAF_LIFETIME, MAX_REQUEST, Authority, AuthorityError, RequestRejected
from translator.identity.serving import peer_of
from translator.identity.subject import BadIdentity, SidecarIdentity
from translator.identity.tokens import TokenRejected

PATH: Final = "/identity/v1/certificate"

MAX_PROOF: Final = 8000
"""Characters of a token. Kubernetes' have 1,000 to 2,000; aiohttp takes no longer header."""

_log = logging.getLogger("translator.identity")


def enrolment(
    in_force: Callable[[], tuple[Authority, Trust]],
    verify: Callable[[str], Awaitable[SidecarIdentity]],
    lifetime: timedelta = LEAF_LIFETIME,
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The handler to mount at ``PATH``.

    ``in_force`` gives who signs now and what is trusted, ``verify`` returns whose a token is or raises
    ``TokenRejected``.
    """

    async def handle_enrol(request: web.Request) -> web.Response:
        try:
            identity = await _proved(request, in_force()[0], verify)
            body = await _read(request)
            authority, trust = in_force()
            certificate = authority.issue(body, identity, lifetime)
        except (TokenRejected, PeerRejected) as error:
            return _refused(request, 401, error)
        except BadIdentity as error:
            return _refused(request, 403, error)
        except RequestRejected as error:
            return _refused(request, 400, error)
        except AuthorityError as error:
            return _refused(request, 503, error)
        _log.info("certificate issued to %s", identity.dns_name)
        answer = msgspec.json.encode(Issued(certificate=certificate.decode("ascii"), trust=trust))
        return web.Response(body=answer, content_type="application/json", headers={"Cache-Control": "no-store"})

    return handle_enrol


async def _proved(
    request: web.Request, authority: Authority, verify: Callable[[str], Awaitable[SidecarIdentity]]
) -> SidecarIdentity:
    authorization = request.headers.getall("Authorization", [])
    if not authorization:
        return sidecar_of(peer_of(request, authority))
    scheme, _, token = authorization[0].partition(" ")
    if len(authorization) > 1 or scheme.lower() != "bearer" or not 0 < len(token) <= MAX_PROOF:
        raise TokenRejected("the authorization is not one bearer token")
    return await verify(token)


def sidecar_of(peer: Peer) -> SidecarIdentity:
    """The sidecar that a checked certificate was issued to. Raises ``BadIdentity`` if it names not exactly one pod."""
    if len(peer.pods) != 1:
        raise BadIdentity(f"the certificate names {len(peer.pods)} pods, a sidecar's names one")
    return SidecarIdentity(
        namespace=peer.namespace,
        service_account=peer.service_account,
        pod=peer.pods[0].removesuffix(f".{peer.namespace}.{POD_SUFFIX}"),
    )


async def _read(request: web.Request) -> bytes:
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > MAX_REQUEST:
            raise RequestRejected(f"the request has more than {MAX_REQUEST} bytes")
    return bytes(body)


def _refused(request: web.Request, status: int, error: Exception) -> web.Response:
    _log.warning("no certificate for %s: %s", request.remote, error)
    return web.Response(status=status, text=f"{error}\n")
