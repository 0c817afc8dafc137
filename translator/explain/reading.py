"""The request that is asked about, read by the sidecar's own parser: what does not get past it is refused here too."""

from __future__ import annotations

from proxy.errors import BadRequest
from proxy.http1.head import RequestHead, parse_request, valid_authority
from translator.explain.question import Question


def read(question: Question, *, proxied: bool = True) -> RequestHead:
    """The head as the caller's sidecar gets it. Raises ``BadRequest``.

    ``proxied``: from a client that knows its proxy; else from one that connected to where its URL leads.
    """
    authority = _authority(question)
    target = question.url if proxied else question.url.partition("://")[2].removeprefix(authority)
    if not proxied:
        target = target if target.startswith("/") else f"/{target}"
    hosts = [value for name, value in question.headers if name.lower() == "host"] or [authority]
    others = [f"{name}: {value}" for name, value in question.headers if name.lower() != "host"]
    lines = [f"{question.method} {target} HTTP/1.1", *(f"Host: {host}" for host in hosts), *others, "", ""]
    return parse_request("\r\n".join(lines).encode("utf-8", "surrogateescape"), trusted=False)


def connected_to(question: Question) -> bytes:
    """The authority that a client without proxy connects to. Raises ``BadRequest`` where it is none."""
    authority = _authority(question).encode("utf-8", "surrogateescape")
    if not valid_authority(authority):
        raise BadRequest("bad host")
    return authority


def _authority(question: Question) -> str:
    rest = question.url.partition("://")[2]
    return rest[: min((rest.find(sign) for sign in "/?" if sign in rest), default=len(rest))]
