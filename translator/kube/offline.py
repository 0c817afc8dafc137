"""Tokens while the API server is away: verified here, against its signing keys as they were last seen.

Only then: the API server knows what a signature cannot tell, that a pod or an account has been deleted since.
OpenID Connect discovery of ServiceAccount tokens (``/openid/v1/jwks``); claims as in RFC 7519 and KEP-1205.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import jwt

from smi.sources.apiserver import ApiError, ApiServer
from translator.identity.subject import BadIdentity, SidecarIdentity
from translator.identity.tokens import TokenRejected
from translator.kube.names import AUDIENCE

DISCOVERY: Final = "/.well-known/openid-configuration"
KEYS: Final = "/openid/v1/jwks"

REFRESH: Final = 60.0
"""Seconds between looks at the keys."""

TRUSTED: Final = 24 * 3600.0
"""Seconds for which keys hold that could not be looked at again: as long as the mesh has to do without."""

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
"""Those with a public key: with any other, who reads the keys could sign."""

log = logging.getLogger("translator.identity")

KnownUid = Callable[[str], str]
"""The uid of a running pod by ``namespace/name``, empty where none is known."""


class SigningKeys:
    """The API server's keys, followed. ``clock`` gives monotonic seconds."""

    def __init__(self, api: ApiServer, clock: Callable[[], float] = time.monotonic) -> None:
        self._api, self._clock = api, clock
        self._issuer = ""
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._seen = 0.0

    async def follow(self) -> None:
        """Until cancelled; what cannot be read leaves what was known."""
        while True:
            try:
                await self.look()
            except (ApiError, jwt.PyJWTError, KeyError, TypeError) as error:
                log.debug("signing keys not looked at error=%s", error)
            await asyncio.sleep(REFRESH if self._keys else 2.0)

    async def look(self) -> None:
        """Reads them now. Raises ``ApiError``, or an error of their form."""
        issuer = str((await self._api.get(DISCOVERY))["issuer"])
        found = jwt.PyJWKSet.from_dict(await self._api.get(KEYS))
        self._keys = {str(key.key_id): key for key in found.keys if key.key_id}
        self._issuer, self._seen = issuer, self._clock()

    def verify(self, token: str, known_uid: KnownUid) -> SidecarIdentity:
        """Whose token it is. Raises ``TokenRejected``."""
        if not self._keys or self._clock() - self._seen > TRUSTED:
            raise TokenRejected("the API server cannot be asked, and its signing keys are not known")
        try:
            key = self._keys[str(jwt.get_unverified_header(token).get("kid"))]
            claims = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=AUDIENCE,
                issuer=self._issuer,
                options={"require": ["exp", "iat", "nbf", "iss", "aud", "sub"]},
            )
        except KeyError:
            raise TokenRejected("the token is signed by a key that is not known") from None
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise TokenRejected(f"the token does not hold: {error}") from error
        return identity_in(claims, known_uid)


def identity_in(claims: Mapping[str, Any], known_uid: KnownUid) -> SidecarIdentity:
    """The identity in verified claims: a pod's ServiceAccount. Raises ``TokenRejected``."""
    bound = claims.get("kubernetes.io")
    pod = bound.get("pod") if isinstance(bound, dict) else None
    account = bound.get("serviceaccount") if isinstance(bound, dict) else None
    if not isinstance(bound, dict) or not isinstance(pod, dict) or not isinstance(account, dict):
        raise TokenRejected("the token is not a pod's ServiceAccount token")
    namespace, name = str(bound.get("namespace", "")), str(pod.get("name", ""))
    if claims.get("sub") != f"system:serviceaccount:{namespace}:{account.get('name')}":
        raise TokenRejected("the token contradicts itself")
    uid = known_uid(f"{namespace}/{name}")
    if uid and uid != pod.get("uid"):
        raise TokenRejected("the token is of an earlier pod of that name")
    try:
        return SidecarIdentity(namespace=namespace, service_account=str(account.get("name")), pod=name)
    except BadIdentity as error:
        raise TokenRejected(str(error)) from error
