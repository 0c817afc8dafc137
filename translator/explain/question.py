"""A question: which request, by whom. As a query of the controller's API and back. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlencode

from msgspec import Struct
from msgspec.structs import asdict

_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+\-.]*)://")


class BadQuestion(ValueError):
    """A question that names no request: wrong usage of whoever asks."""


class Question(Struct, frozen=True, kw_only=True):
    """``source`` is a pod, ``deploy/NAME`` or ``sts/NAME`` of ``namespace``; ``url`` is absolute."""

    method: str
    url: str
    source: str
    namespace: str = "default"
    headers: tuple[tuple[str, str], ...] = ()

    def query(self) -> str:
        """As the query of a URL; ``question`` reads it."""
        pairs = [("method", self.method), ("url", self.url), ("from", self.source), ("namespace", self.namespace)]
        return urlencode([*pairs, *(("header", f"{name}: {value}") for name, value in self.headers)])


def question(pairs: Iterable[tuple[str, str]]) -> Question:
    """The question that a query asks. Raises ``BadQuestion``."""
    said: dict[str, str] = {}
    headers = []
    for name, value in pairs:
        if name == "header":
            headers.append(value)
        elif name not in ("method", "url", "from", "namespace"):
            raise BadQuestion(f"{name}: there is no such parameter; there are method, url, from, namespace, header")
        else:
            said[name] = value
    for name in ("url", "from"):
        if not said.get(name):
            raise BadQuestion(f"{name}: is missing")
    return asked(
        said.get("method", "GET"), said["url"], said["from"], said.get("namespace", "default"), headers=headers
    )


class Check(Struct, frozen=True, kw_only=True):
    """May ``source`` call ``destination``? Both empty: everybody, everybody of ``to_namespace``.

    ``method`` empty: whatever it asks.
    """

    source: str = ""
    namespace: str = "default"
    destination: str = ""
    to_namespace: str = "default"
    method: str = ""
    path: str = "/"

    def query(self) -> str:
        """As the query of a URL; ``check_of`` reads it."""
        return urlencode(asdict(self))


def check_of(pairs: Iterable[tuple[str, str]]) -> Check:
    """The check that a query asks for. Raises ``BadQuestion``."""
    said = dict(pairs)
    unknown = sorted(said.keys() - set(Check.__struct_fields__))
    if unknown:
        raise BadQuestion(f"{unknown[0]}: there is no such parameter; there are {', '.join(Check.__struct_fields__)}")
    return Check(**said)


def asked(method: str, url: str, source: str, namespace: str, *, headers: Iterable[str] = ()) -> Question:
    """A question as a user writes it: ``headers`` are ``Name: value``. Raises ``BadQuestion``."""
    if not _METHOD.fullmatch(method):
        raise BadQuestion(f"{method!r} is no method")
    if method == "CONNECT":
        raise BadQuestion("CONNECT only opens the way for other requests; ask about one of those")
    scheme = _SCHEME.match(url)
    if scheme is None:
        url = f"http://{url}"
    elif scheme[1].lower() != "http":
        raise BadQuestion(f"{scheme[0]}: the mesh looks into http:// only")
    if any(sign in url for sign in "\r\n\0"):
        raise BadQuestion("a URL is one line")
    return Question(
        method=method,
        url=url.partition("#")[0],
        source=source,
        namespace=namespace,
        headers=tuple(_header(text) for text in headers),
    )


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or any(sign in text for sign in "\r\n\0"):
        raise BadQuestion(f"{text!r} is no header: write 'Name: value'")
    return name.strip(), value.strip()
