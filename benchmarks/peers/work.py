"""The work that every contender is configured to do; what they have in common stands here once. Pure.

``plain`` is one route to one server. With ``features`` a request is routed by authority, a header may send it to the
canary, otherwise a split of 90 to 10 decides; a second attempt is ready for connections that fail or are reset, an
answer may take 10 s, a server that fails seven times in a row is left alone, and everything is counted. A pair is a
caller's and a server's proxy with mutual TLS 1.3 between them, where the second lets in one identity with GET or POST
to paths below ``/api/``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

HOST: Final = "127.0.0.1"
AUTHORITY: Final = "web"
CLUSTER_IP: Final = "10.96.0.1"
"""The Service's address where the kernel redirects (``benchmarks.calls``)."""

PATH: Final = "/api/items"
ALLOWED: Final = ("GET", "POST")
BELOW: Final = "/api/.*"
CANARY_HEADER: Final = ("x-canary", "always")
WEIGHTS: Final = (9, 1)
TIMEOUT: Final = 10
FAILURES: Final = 7

TRUST_DOMAIN: Final = "cluster.local"
CLIENT: Final = "client"
SERVER: Final = "server"


def identity(account: str) -> str:
    """The SPIFFE ID of a ServiceAccount in namespace ``default``."""
    return f"spiffe://{TRUST_DOMAIN}/ns/default/sa/{account}"


class Keys(NamedTuple):
    """Files of one side: its certificate, its private key, and the roots it trusts."""

    certificate: Path
    key: Path
    bundle: Path
