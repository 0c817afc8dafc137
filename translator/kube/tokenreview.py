"""Who a sidecar's token belongs to, asked of the API server (authentication.k8s.io/v1 TokenReview).

A token counts only if it was issued for our audience and is bound to a pod: the answer must name both. There is no
fallback to any other audience. Answers are remembered for a few seconds by the token's hash. An API server that cannot
be asked is no reason to refuse: ``translator.kube.offline`` looks at the token itself then.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import Any, Final

from smi.sources.apiserver import ApiError, ApiServer
from translator.identity.subject import BadIdentity, SidecarIdentity
from translator.identity.tokens import TokenRejected
from translator.kube.names import AUDIENCE

PATH: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
POD_NAME: Final = "authentication.kubernetes.io/pod-name"

REMEMBERED: Final = 10.0
"""Seconds an answer holds: a sidecar that tries again costs no second review, a deleted pod's token soon none."""

MOST: Final = 10_000
"""Answers remembered at once."""


TIMEOUT: Final = 5.0
"""Seconds for an answer: a sidecar waits for it, and one that is stopped gives none."""


class TokenReviews:
    """Asks and remembers. ``otherwise`` verifies a token when nobody answers; ``clock`` gives monotonic seconds."""

    def __init__(
        self,
        api: ApiServer,
        otherwise: Callable[[str], SidecarIdentity],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api, self._otherwise, self._clock = api, otherwise, clock
        self._known: dict[bytes, tuple[float, SidecarIdentity]] = {}

    async def verify(self, token: str) -> SidecarIdentity:
        """Whose token it is. Raises ``TokenRejected``."""
        digest, now = hashlib.sha256(token.encode()).digest(), self._clock()
        known = self._known.get(digest)
        if known is not None and known[0] > now:
            return known[1]
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [AUDIENCE]},
        }
        try:
            async with asyncio.timeout(TIMEOUT):
                review = await self._api.create(PATH, body)
        except TimeoutError:
            return self._otherwise(token)
        except ApiError as error:
            if error.status and error.status < 500 and error.status != 429:
                raise TokenRejected(f"the API server could not be asked: {error}") from error
            return self._otherwise(token)
        identity = identity_of(review.get("status") or {})
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[digest] = now + REMEMBERED, identity
        return identity


def identity_of(status: dict[str, Any]) -> SidecarIdentity:
    """The identity in a TokenReview's ``status``. Raises ``TokenRejected``."""
    if status.get("authenticated") is not True:
        raise TokenRejected("the API server does not know the token")
    if AUDIENCE not in (status.get("audiences") or ()):
        raise TokenRejected(f"the token is not for {AUDIENCE}")
    user = status.get("user") or {}
    system, _, rest = str(user.get("username", "")).partition(":serviceaccount:")
    namespace, _, account = rest.partition(":")
    pods: list[object] = (user.get("extra") or {}).get(POD_NAME) or []
    if system != "system" or len(pods) != 1:
        raise TokenRejected("the token is not a pod's ServiceAccount token")
    try:
        return SidecarIdentity(namespace=namespace, service_account=account, pod=str(pods[0]))
    except BadIdentity as error:
        raise TokenRejected(str(error)) from error
