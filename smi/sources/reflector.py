"""One collection of a Kubernetes API server, mirrored: listed once, then watched.

The watch of kubernetes-asyncio loops on a 410 with the same stale resourceVersion, has no back-off and dies on
lines over 512 KiB; so this is our own. Whatever happens, what was known stays known, and what changed
meanwhile is told afterwards. ``smi.sources.apiserver`` sends the requests.

States: *list* (pages, then everything that is not in it is gone) → *watch* from the list's resourceVersion (bookmarks
move it on; an ended watch resumes) → on 410 *list* again. Between failures it waits, longer each time.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Protocol

import aiohttp

from smi.log import sources as log
from smi.sources.apiserver import ApiError, ApiServer, Object

PAGE: Final = 500
"""Objects a page of a list, as client-go asks for."""

WATCH_SECONDS: Final = 300
"""After which the server is asked to end a watch, half of it added by chance: connections must not live for ever, and
not end all together."""

SILENCE: Final = 90.0
"""Seconds without a byte after which a watch is given up. The server sends a bookmark a minute."""

MAX_LINE: Final = 16 << 20
"""Bytes of one event: ten times what etcd takes of an object by default, and a bound."""

FIRST_PAUSE: Final = 0.2
LAST_PAUSE: Final = 15.0
"""Seconds between attempts after the first failure, and at most; a half of it by chance. An API server that was away
for minutes is then asked by all controllers spread over 7 seconds."""

MISSING_PAUSE: Final = 2.0
"""Seconds between looks for a collection that is not there: its CRD may be applied any moment."""

GONE: Final = 410


class Sink(Protocol):
    """Who is told. Objects are as the API server sends them."""

    def page(self, objects: list[Object], *, first: bool) -> None:
        """Some of the collection, the ``first`` of it or more: of a large one nobody need hold all at once."""

    def listed(self) -> None:
        """That was all of it; what was on no page since the first is no more."""

    def changed(self, thing: Object) -> None:
        """Added, or other than before."""

    def removed(self, thing: Object) -> None:
        """Deleted; ``thing`` is its last state."""


class Stale(Exception):
    """The server does not know our resourceVersion any more: list anew."""


class Reflector:
    """Mirrors the collection at ``path`` (``/api/v1/services``) into ``sink`` for as long as it runs.

    ``absent``: whether a collection that does not exist counts as an empty one (a CRD that is not there).
    ``labels``: a label selector; what it does not select is not there, as far as anybody here can tell.
    """

    def __init__(
        self,
        api: ApiServer,
        path: str,
        sink: Sink,
        *,
        absent: bool = False,
        labels: str = "",
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.path = path
        self.connected = False
        """Whether what is mirrored is current, as far as anybody can tell."""
        self._api, self._sink, self._absent, self._chance = api, sink, absent, chance
        self._selected = {"labelSelector": labels} if labels else {}
        self._version = ""
        self._failures = 0

    async def run(self) -> None:
        """Works for ever; ends only by being cancelled."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except Stale:
                log.info("listing anew path=%s", self.path)
                self._version = ""
            except ApiError as error:
                self.connected = False
                if error.status == GONE:
                    self._version = ""
                    continue
                await asyncio.sleep(self._failed(error))

    def _failed(self, error: ApiError) -> float:
        """Seconds to wait."""
        if error.status == 404 and self._absent:
            if not self._failures:
                log.info("there is no %s yet", self.path)
            self._failures, self._version = 1, ""
            self._sink.page([], first=True)
            self._sink.listed()
            return MISSING_PAUSE
        pause = min(LAST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures, 16))
        level = log.warning if self._failures in (0, 4) else log.debug
        level("not mirrored path=%s error=%s", self.path, error)
        self._failures += 1
        return max(error.retry_after, pause * (1 - self._chance() / 2))

    async def _list(self) -> None:
        params = {"limit": str(PAGE), **self._selected}
        while True:
            page = await self._api.get(self.path, **params)
            kind, api_version = str(page.get("kind", "")).removesuffix("List"), page.get("apiVersion", "")
            # Items of a list do not say what they are.
            objects = [{"kind": kind, "apiVersion": api_version, **item} for item in page.get("items") or ()]
            self._sink.page(objects, first="continue" not in params)
            meta = page.get("metadata", {})
            if not meta.get("continue"):
                break
            params["continue"] = meta["continue"]
        self._sink.listed()
        self._version = str(meta.get("resourceVersion", ""))
        self._well()

    def _well(self) -> None:
        if self._failures:
            log.info("mirrored again path=%s", self.path)
        self._failures, self.connected = 0, True

    async def _watch(self) -> None:
        seconds = WATCH_SECONDS * (1 + self._chance() / 2)
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(int(seconds)),
            **self._selected,
        }
        response = await self._api.stream(self.path, params, SILENCE)
        self._well()
        try:
            async for line in lines(response.content.iter_any()):
                self._take(json.loads(line))
        except TimeoutError:
            return  # silence: nobody may be at the other end
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ApiError(f"watch {self.path}", 0, str(error) or type(error).__name__) from error
        finally:
            response.close()

    def _take(self, event: Any) -> None:
        kind, thing = event["type"], event["object"]
        if kind == "ERROR":
            if thing.get("code") == GONE:
                raise Stale
            raise ApiError(f"watch {self.path}", int(thing.get("code") or 0), str(thing.get("message", "")))
        self._version = str(thing["metadata"]["resourceVersion"])
        if kind in ("ADDED", "MODIFIED"):
            self._sink.changed(thing)
        elif kind == "DELETED":
            self._sink.removed(thing)


async def lines(chunks: AsyncIterator[bytes], most: int = MAX_LINE) -> AsyncIterator[bytes]:
    """The lines in a stream of bytes. Raises ``ValueError`` for one of more than ``most`` bytes."""
    rest = b""
    parts: list[bytes] = []
    size = 0
    async for chunk in chunks:
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            yield b"".join((*parts, line))
            parts.clear()
            size = 0
        if rest:
            parts.append(rest)
            size += len(rest)
            if size > most:
                raise ValueError(f"an event of more than {most} bytes")
