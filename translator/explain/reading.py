"""The request that is asked about, read by the sidecar's own parser: what does not get past it is refused here too."""

from __future__ import annotations

import asyncio

from proxy.http1.head import RequestHead, RequestHeads
from translator.explain.question import Question


def read(question: Question, loop: asyncio.AbstractEventLoop) -> RequestHead:
    """The head as the caller's sidecar gets it from a client that knows its proxy. Raises ``BadRequest``."""
    rest = question.url.partition("://")[2]
    authority = rest[: min((rest.find(sign) for sign in "/?" if sign in rest), default=len(rest))]
    hosts = [value for name, value in question.headers if name.lower() == "host"] or [authority]
    others = [f"{name}: {value}" for name, value in question.headers if name.lower() != "host"]
    lines = [f"{question.method} {question.url} HTTP/1.1", *(f"Host: {host}" for host in hosts), *others, "", ""]
    return RequestHeads(loop, trusted=False).parse("\r\n".join(lines).encode("utf-8", "surrogateescape"))
