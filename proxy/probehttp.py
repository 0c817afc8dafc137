"""One HTTP probe as the kubelet makes it: which request, which redirects, which status counts.

Sources: the kubelet's ``pkg/probe/http``, and of Go's ``net/http`` what that leaves to it.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from proxy.contract.config import Probe

MAX_REQUESTS: Final = 10
MAX_BODY: Final = 10 * 1024
"""Bytes of an answer that are waited for; the kubelet reads no more either."""
MAX_LINE: Final = 64 * 1024
"""Bytes of one header of an answer. The kubelet takes a megabyte; this is what a sidecar has to spare."""

FOLLOWED: Final = frozenset({301, 302, 303, 307, 308})
NEVER_SENT: Final = ("Content-Length", "Transfer-Encoding", "Trailer")
"""Declared headers that Go leaves out: they belong to a body, and there is none."""

LITERAL: Final = "/:@!$&'()*+,;=~[]"
"""Beside letters, digits, ``-._`` what stays as written in a path (RFC 3986 §3.3)."""

ORIGIN: Final = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//(?!/)[^/?#]*")
"""What a path may start with if it is a URL. Whom it names does not count: the pod is asked."""
ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")

PATIENT: Final = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)
"""Whose time is limited has the caller's time-out."""


async def status_of(probe: Probe, address: str, agent: str) -> int:
    """The answer's status, after redirects within the pod. One that leads elsewhere is not followed and is the answer.

    ``agent`` is the User-Agent where none is declared. Raises ``aiohttp.ClientError``, ``OSError`` and ``ValueError``;
    waits as long as the application does, a time-out is the caller's.
    """
    headers = sent(probe, agent)
    url = target(probe, address)
    first = url.host
    # Certificates are not verified: the kubelet does not either, a pod's address is in none.
    connector = aiohttp.TCPConnector(ssl=False, force_close=True)
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=PATIENT,
        skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
        auto_decompress=False,
        middlewares=(once,),
        max_line_size=MAX_LINE,
        max_field_size=MAX_LINE,
    ) as session:
        for _ in range(MAX_REQUESTS):
            async with session.get(url, headers=headers, allow_redirects=False) as answer:
                location = answer.headers.get("Location", "")
                if answer.status not in FOLLOWED or not location:
                    await _read(answer)
                    return answer.status
                status = answer.status
            # As written, but for what would break the request line.
            to = URL(quote(location, safe=f"%?#{LITERAL}", errors="surrogateescape"), encoded=True)
            url = url.join(to)
            if url.host != first:
                return status
            if to.absolute:
                headers.popall("Host", None)
    raise aiohttp.ClientError(f"stopped after {MAX_REQUESTS} redirects")


def target(probe: Probe, address: str) -> URL:
    """What is asked for: the pod's port at ``address`` whatever the path looks like, escapes as they are written."""
    text = ORIGIN.sub("", probe.path, count=1) if ORIGIN.match(probe.path) else probe.path
    path, mark, query = text.partition("#")[0].partition("?")
    if ESCAPE.search(path):
        # No URL at all to Go, so all of it is a path, and every sign of it stands for itself.
        path, mark, query = quote(probe.path, safe=LITERAL), "", ""
    if not path.startswith("/"):
        path = f"/{path}"
    path, query = quote(path, safe=f"%{LITERAL}"), quote(query, safe=f"%?{LITERAL}")
    return URL(f"{probe.scheme}://{authority(address, probe.port)}{path}{mark}{query}", encoded=True)


def authority(address: str, port: int) -> str:
    """``address:port`` as a URL has it."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def sent(probe: Probe, agent: str) -> CIMultiDict[str]:
    """The request's headers: the declared ones, all of them, and what the kubelet adds where they do not say it.

    A declared Accept or User-Agent without a value means that none is sent; of several Hosts the first one counts.
    """
    headers = CIMultiDict(probe.headers)
    for name in NEVER_SENT:
        headers.popall(name, None)
    for name, value in (("User-Agent", agent), ("Accept", "*/*")):
        if not headers.setdefault(name, value):
            headers.popall(name)
    if "Host" in headers:
        host = headers.popall("Host")[0]
        if host:
            headers["Host"] = host
    headers["Connection"] = "close"
    return headers


async def once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """A GET whose connection ends would be sent again: a probe that failed would be well, a hook would run twice."""
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError(str(error) or type(error).__name__) from error


async def _read(answer: aiohttp.ClientResponse) -> None:
    """An answer that breaks off is none."""
    size = 0
    async for piece in answer.content.iter_any():
        size += len(piece)
        if size >= MAX_BODY:
            return
