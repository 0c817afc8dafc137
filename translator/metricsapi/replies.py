"""How the APIs behind a kube-apiserver answer: who asks comes first, and whatever goes wrong is a Status."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from translator.metricsapi.status import Refused, status_of

if TYPE_CHECKING:
    from translator.metricsapi.server import Gate

JSON: Final = "application/json"

Handler = Callable[[web.Request, object], Awaitable[web.StreamResponse]]
"""Given the request and who sent it. Raises ``Refused``."""

log = logging.getLogger("translator.metricsapi")


def answered(gate: Gate, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """``handler`` for whom ``gate`` knows, and for reading alone."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            user = await gate.user(request)
            if request.method not in ("GET", "HEAD"):
                raise Refused(405, "the server does not allow this method on the requested resource")
            return await handler(request, user)
        except Refused as refused:
            return json_reply(status_of(refused), refused.code)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            log.exception("not answered path=%r", request.path)
            return json_reply(status_of(Refused(500, "the controller could not answer; its log says why")), 500)

    return handle


def json_reply(body: Mapping[str, Any], status: int = 200) -> web.Response:
    """``body``, not to be kept by anybody on the way."""
    return web.Response(
        status=status,
        body=msgspec.json.encode(body),
        content_type=JSON,
        headers={"Cache-Control": "no-cache, private", "X-Content-Type-Options": "nosniff"},
    )


def accepts(request: web.Request, *parameters: str) -> bool:
    """Whether one of the media types that the client takes has all of these parameters."""
    for one in ",".join(request.headers.getall("Accept", ())).split(","):
        if set(parameters) <= {part.strip() for part in one.split(";")}:
            return True
    return False


class Discovery:
    """What ``/apis`` says: everything at once (``apidiscovery.k8s.io/v2``) to who can read it, else the groups."""

    def __init__(self, everything: Mapping[str, Any], groups: Mapping[str, Any]) -> None:
        self._everything, self._groups = json.dumps(everything).encode(), groups
        self._etag = f'"{hashlib.sha256(self._everything).hexdigest()[:32].upper()}"'

    async def handle(self, request: web.Request, _: object) -> web.Response:
        """A ``Handler``."""
        if not accepts(request, "as=APIGroupDiscoveryList", "g=apidiscovery.k8s.io", "v=v2"):
            return json_reply(self._groups)
        if request.headers.get("If-None-Match") == self._etag:
            return web.Response(status=304, headers={"ETag": self._etag})
        headers = {"ETag": self._etag, "Vary": "Accept"}
        headers["Content-Type"] = f"{JSON};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        return web.Response(body=self._everything, headers=headers)
