"""Asks a Prometheus (or Thanos, Mimir, …) over HTTP: bounded in time, in bytes, and in how much is asked at once.

Whatever is wrong with it becomes a ``Refused`` that names it, 503 or 504; what it says itself goes to the log alone,
since whoever asks may be a tenant.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Final

import aiohttp
from aiohttp import web
from yarl import URL

from translator.metricsapi.prometheus.answers import BadAnswer, Vector, trouble, vector
from translator.metricsapi.status import Refused

SECONDS: Final = 10.0
"""For all queries of one request, waiting for a turn included. The API server itself gives up after 60."""

MOST_BYTES: Final = 32 << 20
"""Of one answer: some 200,000 series."""

AT_ONCE: Final = 4
"""Requests that are being answered; more wait."""

log = logging.getLogger("translator.metricsapi")


def checked(text: str) -> str:
    """The address of a Prometheus. Raises ``ValueError`` that says what is wrong with it."""
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("that is no http:// or https:// address")
    if url.user is not None or url.password is not None:
        raise ValueError("the address of Prometheus has a user or a password in it, which would be said in errors")
    if url.query_string or url.fragment:
        raise ValueError("the address of Prometheus ends with its path: the queries are put behind it")
    return text.rstrip("/")


class Prometheus:
    """One that is asked instant queries. ``url`` is ``checked``."""

    def __init__(self, url: str, *, seconds: float = SECONDS, most_bytes: int = MOST_BYTES) -> None:
        self.url = url
        self._seconds, self._most = seconds, most_bytes
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._session: aiohttp.ClientSession | None = None
        self._trouble = ""

    async def opened(self, _: web.Application) -> AsyncIterator[None]:
        """For the ``cleanup_ctx`` of the application that asks: connections live as long as it does."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as self._session:
            yield
        self._session = None

    async def ask(self, queries: Sequence[str]) -> list[Vector]:
        """The answer to each. Raises ``Refused``."""
        try:
            async with asyncio.timeout(self._seconds), self._turns, asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._one(query)) for query in queries]
        except TimeoutError as error:
            raise self._refused(504, f"did not answer within {self._seconds:g} s", "time-out") from error
        except ExceptionGroup as failed:
            # One says enough: the others were asked the same way.
            for one in failed.exceptions:
                if isinstance(one, Refused):
                    raise one from None
            raise
        if self._trouble:
            log.info("prometheus answers again url=%s", self.url)
            self._trouble = ""
        return [task.result() for task in tasks]

    async def _one(self, query: str) -> Vector:
        if self._session is None:
            raise Refused(503, "the controller is ending")
        form = {"query": query, "timeout": f"{self._seconds:g}s"}
        try:
            async with self._session.post(f"{self.url}/api/v1/query", data=form, allow_redirects=False) as answer:
                body = await self._body(answer)
        except (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError) as error:
            raise self._refused(503, "does not prove who it is (TLS)", error) from error
        except aiohttp.ClientConnectorError as error:
            raise self._refused(503, "cannot be reached", error) from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._refused(503, "broke off its answer", error) from error
        if answer.status != 200:
            kind, text = trouble(body)
            why = f"{kind} {text}" if kind else body[:200].decode(errors="replace")
            if kind == "timeout":
                raise self._refused(504, "needs too long for this; ask for less", why)
            raise self._refused(503, f"refused the query: HTTP {answer.status}", why)
        try:
            return await asyncio.to_thread(vector, body)
        except BadAnswer as error:
            raise self._refused(503, "answered what cannot be understood", error) from error

    async def _body(self, answer: aiohttp.ClientResponse) -> bytes:
        found = bytearray()
        async for piece in answer.content.iter_any():
            found += piece
            if len(found) > self._most:
                answer.close()
                raise self._refused(503, f"has more than {self._most >> 20} MiB to say; ask for less", "too large")
        return bytes(found)

    def bad(self, error: BadAnswer) -> Refused:
        """For an answer that could be read and means nothing."""
        return self._refused(503, "answered what cannot be understood", error)

    def _refused(self, code: int, what: str, why: object) -> Refused:
        """Said in the log where it is news."""
        if self._trouble != what:
            self._trouble = what
            log.warning("prometheus %s url=%s reason=%s", what, self.url, str(why)[:500])
        return Refused(code, f"Prometheus at {self.url} {what}")
