"""The shape of an explanation: what ``smi explain -o json`` prints and the table is made of.

Words that are meant for people are whole phrases in ``why``, ``detail`` and ``notes``; everything else is data.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Condition(Struct, frozen=True, kw_only=True, rename="camel"):
    """One condition of a match, as text (``method GET|POST``, ``path /api.*``, ``header x-beta: 1``)."""

    condition: str
    holds: bool


class Match(Struct, frozen=True, kw_only=True, rename="camel"):
    """One match, by ``group/match``; it accepts when all conditions hold."""

    name: str
    accepts: bool
    conditions: tuple[Condition, ...]


class Split(Struct, frozen=True, kw_only=True, rename="camel"):
    """One TrafficSplit of the destination, in the order in which they are asked; ``matches`` None: every request.

    ``asked`` is false for those behind the one that applies, and for those that never count.
    """

    split: str
    asked: bool
    applies: bool
    why: str
    matches: tuple[Match, ...] | None = None


class Backend(Struct, frozen=True, kw_only=True, rename="camel"):
    """A Service that requests may go to. ``share`` of them do, 0 to 1; where it is 0, ``why`` says why.

    ``endpoints`` are pods (``namespace/name``, or an address), ``algorithm`` chooses among them; ``chosen`` is the
    one of this very request where the algorithm is a hash. ``ejects_after`` failures in a row the breaker leaves an
    endpoint alone, 0: there is none.
    """

    service: str
    weight: int
    share: float
    endpoints: tuple[str, ...] = ()
    algorithm: str = ""
    chosen: str = ""
    ejects_after: int = 0
    why: str = ""


class Retry(Struct, frozen=True, kw_only=True, rename="camel"):
    """What the retry policy does for this request. Times are seconds, None is without.

    ``repeats``: it is sent again after one of ``on``, up to ``limit`` times. ``waits``: with no endpoint ready it waits
    so long for one, 0: not at all. ``budget`` are retries: ``ratio`` a request, ``min`` a second, over ``ttl`` seconds.
    """

    repeats: bool
    why: str
    on: tuple[str, ...]
    limit: int
    waits: float
    try_timeout: float | None
    backoff: tuple[float, float]
    budget: dict[str, float]


class Calls(Struct, frozen=True, kw_only=True, rename="camel"):
    """How the destination wants to be called. Times are seconds, None is without."""

    retry: Retry | None = None
    request_timeout: float | None = None
    response_timeout: float | None = None
    idle_timeout: float | None = None


class Target(Struct, frozen=True, kw_only=True, rename="camel"):
    """A TrafficTarget that names the server, and whether it lets the request in: source, port and route must hold.

    ``matches`` None: it has no condition on HTTP.
    """

    target: str
    lets_in: bool
    source: bool
    port: bool
    why: str
    matches: tuple[Match, ...] | None = None


class Answer(Struct, frozen=True, kw_only=True, rename="camel"):
    """What the client gets. ``allowed`` None: it depends on the pod; then see ``servers``.

    Where it is false: ``status`` of the answer, ``reason`` (the first word of ``smi-mesh-reason``), ``detail`` (the
    rest) and ``by`` whose sidecar it comes from, ``caller`` or ``server``. ``would_be`` is what policy would answer if
    audit mode did not let the request in, as ``reason: detail``. ``after`` is how many seconds it takes.
    """

    allowed: bool | None
    status: int | None = None
    reason: str = ""
    detail: str = ""
    by: str = ""
    would_be: str = ""
    after: float = 0.0


class Server(Struct, frozen=True, kw_only=True, rename="camel"):
    """Pods that may get the request and decide alike. ``policy`` is what is in force at container port ``port``.

    ``path`` is what the application gets, query included.
    """

    pods: tuple[str, ...]
    port: int
    meshed: bool
    policy: str
    audit: bool
    answer: Answer
    why: str
    path: str
    targets: tuple[Target, ...] = ()


class Caller(Struct, frozen=True, kw_only=True, rename="camel"):
    """Who asks. ``identity`` is empty for a pod without sidecar."""

    pod: str
    workload: str
    identity: str
    config_version: int = 0


class Destination(Struct, frozen=True, kw_only=True, rename="camel"):
    """What the authority means: a Service (``namespace/name``) or a pod (``namespace/name``, or its address)."""

    authority: str
    port: int
    service: str = ""
    pod: str = ""


class Explanation(Struct, frozen=True, kw_only=True, rename="camel"):
    """The whole answer; ``method`` and ``path`` are the request's as the caller's sidecar reads it."""

    method: str
    url: str
    path: str
    caller: Caller
    answer: Answer
    destination: Destination | None = None
    splits: tuple[Split, ...] = ()
    backends: tuple[Backend, ...] = ()
    calls: Calls | None = None
    servers: tuple[Server, ...] = ()
    notes: tuple[str, ...] = ()


class Permission(Struct, frozen=True, kw_only=True, rename="camel"):
    """Whether a workload may call a container port of another (both ``namespace/name``): yes, no, or some requests.

    ``by`` is the TrafficTarget or the policy that says so, ``only`` which requests it is where it is some.
    """

    caller: str
    server: str
    port: int
    may: Literal["yes", "no", "some"]
    by: str
    only: tuple[str, ...] = ()
