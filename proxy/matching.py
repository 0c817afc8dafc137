"""Does a request meet a condition? Pure decisions shared by splits and access control.

``compile_match`` turns the contract's ``HttpMatch`` into a ``Matcher`` once per
table; ``Matcher.accepts`` is asked per request. ``canonical_host`` gives every
spelling of a Service's name one form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Protocol

import re2

from proxy.contract.config import HttpMatch
from proxy.errors import ConfigRejected

# Patterns that hold for every path: not a condition at all.
MATCH_ALL_PATHS: Final = frozenset({"", "/", ".*", "/.*"})
_LITERAL: Final = re.compile(r"[A-Za-z0-9/_~@:,=&!'<>%-]*")
_IPV4: Final = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")


class Request(Protocol):
    """What a condition may look at."""

    @property
    def method(self) -> str:
        """The method as sent."""

    @property
    def policy_path(self) -> str:
        """The canonical path without query."""

    def header(self, name: str) -> str | None:
        """The value of a header (lower-case name), repeated ones joined with ``, ``; None when absent."""


def _compile_regex(pattern: str) -> re2._Regexp[bytes]:
    options = re2.Options()
    options.log_errors = False
    try:
        # As bytes (UTF-8): google-re2 would count characters of every text that it is given as str.
        return re2.compile(pattern.encode(), options)
    except re2.error as error:
        raise ConfigRejected(f"regular expression {pattern!r}: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Matcher:
    """One compiled match: every condition present must hold.

    ``prefix`` stands in for a path pattern that is a plain string, with or without ``.*`` at its end: anchored
    at the start only it is just a prefix.
    """

    name: str
    methods: frozenset[str]
    prefix: str
    path: re2._Regexp[bytes] | None
    headers: tuple[tuple[str, re2._Regexp[bytes]], ...]

    @property
    def looks_at_path(self) -> bool:
        """Whether it has a path condition other than match-all."""
        return bool(self.prefix) or self.path is not None

    def accepts(self, request: Request) -> bool:
        """Whether ``request`` meets all conditions."""
        if self.methods and request.method not in self.methods:
            return False
        if self.prefix and not request.policy_path.startswith(self.prefix):
            return False
        if self.path is not None and self.path.match(request.policy_path.encode()) is None:
            return False
        for name, pattern in self.headers:
            value = request.header(name)
            if value is None or pattern.fullmatch(value.encode()) is None:
                return False
        return True


def compile_match(match: HttpMatch) -> Matcher:
    """Compile one match. Raises ``ConfigRejected`` for a pattern that is not RE2."""
    everywhere = match.path in MATCH_ALL_PATHS
    plain = match.path.removesuffix(".*")
    literal = not everywhere and _LITERAL.fullmatch(plain) is not None
    return Matcher(
        name=match.name,
        methods=frozenset() if "*" in match.methods else frozenset(match.methods),
        prefix=plain if literal else "",
        path=None if everywhere or literal else _compile_regex(match.path),
        headers=tuple((name.lower(), _compile_regex(pattern)) for name, pattern in match.headers),
    )


def split_authority(authority: bytes) -> tuple[str, int]:
    """(host, port) of a checked authority; port 0 when it names none."""
    host, colon, port = authority.rpartition(b":")
    if not colon or b"]" in port:
        return authority.decode("latin-1"), 0
    return host.decode("latin-1"), int(port) if port else 0


def canonical_host(name: str, namespace: str, cluster_domain: str) -> str:
    """The one form of a host name without port, as used in ``Config.hosts``.

    ``web``, ``web.default``, ``WEB.default.svc`` and ``web.default..svc.cluster.local.``
    all give ``web.default`` for a pod in namespace ``default``. An IPv4 address stays as it is.
    """
    labels = [label for label in name.lower().split(".") if label]
    if len(labels) == 4 and _IPV4.fullmatch(".".join(labels)):
        return ".".join(labels)
    domain = cluster_domain.lower().split(".")
    if len(labels) > len(domain) + 2 and labels[-len(domain) :] == domain and labels[-len(domain) - 1] == "svc":
        labels = labels[: -len(domain)]
    if len(labels) > 2 and labels[-1] == "svc":
        labels.pop()
    if len(labels) == 1:
        labels.append(namespace)
    return ".".join(labels)
