"""Connections to the controller on which nothing is asked are closed.

Whoever reaches a port of the controller may open connections without showing who he is. Each takes memory and a
descriptor, TLS 30 KB of them, and aiohttp leaves one on which no request ever came open for good.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler
from aiohttp.web_protocol import RequestHandler

HEAD_SECONDS: Final = 10.0
"""For the head of the first request; it may take twice as long until it is looked at."""

IDLE_SECONDS: Final = 120.0
"""For the head of the next one: Go's clients, the API server among them, give a connection up after 90."""


def is_told(record: logging.LogRecord) -> bool:
    """Not what is no request: aiohttp tells a traceback of each, and anybody could fill a disk with them."""
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


log = logging.getLogger("translator.http")
log.addFilter(is_told)


class PatientRunner(web.AppRunner):
    """A runner whose connections are closed when they ask nothing."""

    def __init__(self, app: web.Application, *, shutdown_timeout: float, max_headers: int) -> None:
        super().__init__(
            app,
            access_log=None,
            shutdown_timeout=shutdown_timeout,
            max_headers=max_headers,
            keepalive_timeout=IDLE_SECONDS,
            logger=log,
        )
        self._heard: set[RequestHandler] = set()
        app.middlewares.insert(0, self._hear)
        app.cleanup_ctx.append(self._looking)

    def _silent(self) -> set[RequestHandler]:
        there = set(self.server.connections) if self.server is not None else set()
        self._heard &= there
        return there - self._heard

    @web.middleware
    async def _hear(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._heard.add(request.protocol)
        return await handler(request)

    async def _looking(self, _: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(self._look(), name="silent connections")
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def _look(self) -> None:
        before: set[RequestHandler] = set()
        while True:
            await asyncio.sleep(HEAD_SECONDS)
            silent = self._silent()
            for connection in before & silent:
                if connection.transport is not None:
                    connection.transport.abort()  # TLS would wait half a minute for a farewell
            before = silent
