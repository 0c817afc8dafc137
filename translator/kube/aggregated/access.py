"""Authorization: the kube-apiserver is asked (SubjectAccessReview) whether a user may; without its yes nobody may."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from smi.sources.apiserver import ApiError, ApiServer
from translator.kube.aggregated.frontproxy import FrontProxy, User
from translator.metricsapi.server import Attributes

PATH: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"

REMEMBERED: Final = 10.0
"""Seconds for which an answer holds: as long may a right that was taken away still be used."""

MOST: Final = 4096
"""Answers remembered."""

log = logging.getLogger("translator.metricsapi")


class AccessGate:
    """``translator.metricsapi.server.Gate`` on a cluster."""

    def __init__(self, api: ApiServer, proxy: FrontProxy, clock: Callable[[], float] = time.monotonic) -> None:
        self._api, self._proxy, self._clock = api, proxy, clock
        self._known: dict[tuple[User, Attributes], tuple[float, str]] = {}

    async def user(self, request: web.Request) -> User:
        """By the front proxy's word. Raises ``Refused`` (401)."""
        return await self._proxy.user(request)

    async def may(self, user: object, wanted: Attributes) -> str:
        """Empty, or why not. Also where the API server cannot be asked."""
        assert isinstance(user, User)
        now = self._clock()
        known = self._known.get((user, wanted))
        if known is not None and known[0] > now:
            return known[1]
        try:
            review = await self._api.create(PATH, review_of(user, wanted))
        except ApiError as error:
            log.warning("not authorized: the API server could not be asked error=%s", error)
            return forbidden(user, wanted, "the API server could not be asked")
        why = verdict(review, user, wanted)
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[user, wanted] = now + REMEMBERED, why
        return why


def review_of(user: User, wanted: Attributes) -> dict[str, Any]:
    """The SubjectAccessReview (authorization.k8s.io/v1)."""
    attributes = {
        "group": wanted.group,
        "version": wanted.version,
        "resource": wanted.resource,
        "subresource": wanted.subresource,
        "namespace": wanted.namespace,
        "name": wanted.name,
        "verb": wanted.verb,
    }
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": user.name,
            **({"uid": user.uid} if user.uid else {}),
            "groups": list(user.groups),
            "extra": {name: list(values) for name, values in user.extra},
            "resourceAttributes": {key: value for key, value in attributes.items() if value},
        },
    }


def verdict(review: dict[str, Any], user: User, wanted: Attributes) -> str:
    """Empty only for a clear yes."""
    status = review.get("status")
    if isinstance(status, dict) and status.get("allowed") is True and not status.get("denied"):
        return ""
    return forbidden(user, wanted, "")


def forbidden(user: User, wanted: Attributes, why: str) -> str:
    """As the API server says it."""
    what = f"{wanted.resource}/{wanted.subresource}" if wanted.subresource else wanted.resource
    named = f' "{wanted.name}"' if wanted.name else ""
    where = f'in the namespace "{wanted.namespace}"' if wanted.namespace else "at the cluster scope"
    text = (
        f'{what}.{wanted.group}{named} is forbidden: User "{user.name}" cannot {wanted.verb} resource '
        f'"{what}" in API group "{wanted.group}" {where}'
    )
    return f"{text}: {why}" if why else text
