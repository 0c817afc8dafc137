"""The HTTP of ``metrics.smi-spec.io``: an aggregated API behind a kube-apiserver, or plain on the loopback.

Who asks and what they may is the caller's to say (``Gate``); discovery is for everybody who got in, and depends on
nothing that was measured. Whatever goes wrong is a ``metav1.Status``.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import msgspec
from aiohttp import web

from translator import question as counting
from translator.metricsapi import discovery, openapi
from translator.metricsapi.asked import Asked, asked
from translator.metricsapi.bodies import Moment, answer_of, item_of, table_of
from translator.metricsapi.godurations import text_of
from translator.metricsapi.items import Item, chosen, items
from translator.metricsapi.kinds import EDGES, GROUP, TRAFFIC, VERSIONS
from translator.metricsapi.pages import KEPT_SECONDS as LISTS_KEPT_SECONDS
from translator.metricsapi.pages import Listing, Listings, Question, question_of
from translator.metricsapi.redact import home, namespaces, redacted, told
from translator.metricsapi.replies import JSON, Discovery, Handler, accepts, answered, json_reply
from translator.metricsapi.status import Refused, status_of
from translator.observed import Observed
from translator.resources import NAMESPACE, Resource
from translator.traffic import KEPT_SECONDS
from translator.views import NotThere

ROOT: Final = f"/apis/{GROUP}"

WATCH_POLL: Final = 2.0
"""Seconds between looks for a ``kubectl get -w``."""

WATCH_SECONDS: Final = 1800.0
"""Longest watch, as the API server's own: ``kubectl get -w`` ends with it."""

FORGET_SECONDS: Final = LISTS_KEPT_SECONDS + 1.0
"""After which what is kept of a list is given back, also where nobody asks for anything any more."""

MAX_HEADERS: Final = 1024
"""Of one request: the API server's proxy writes one for each group of the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What is to be done to what, as RBAC has it. An empty namespace or name: of all."""

    group: str = GROUP
    verb: str
    resource: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    version: str = VERSIONS[0]


class Gate(Protocol):
    """Says who asks and what they may."""

    async def user(self, request: web.Request) -> object:
        """Who sent it. Raises ``Refused`` with 401."""

    async def may(self, user: object, wanted: Attributes) -> str:
        """Empty, or why not."""


class Open:
    """Everybody may everything: on the loopback of one's own machine."""

    async def user(self, request: web.Request) -> object:
        """Nobody in particular."""
        del request
        return None

    async def may(self, user: object, wanted: Attributes) -> str:
        """Always."""
        del user, wanted
        return ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was counted; ``partial`` says whose counts are missing."""

    observed: Observed
    partial: str = ""


def known(seen: Seen | None) -> Seen:
    """What was counted. Raises ``Refused`` (503) while nothing is known yet."""
    if seen is None:
        raise Refused(503, "the controller is still reading the cluster; try again in a moment")
    return seen


Observe = Callable[[float], Awaitable[Seen | None]]
"""What was counted in the last so many seconds; None while nothing is known yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """Where the counts of TrafficMetrics come from, if not from all that was observed.

    ``measure`` gives what was counted of what is asked, or more; it may raise ``Refused``. ``longest``: seconds of the
    longest window; ``poll``: seconds between looks for a watch.
    """

    measure: Callable[[Asked], Awaitable[Seen | None]]
    longest: float
    poll: float


class MetricsApi:
    """Routes of the group. ``spec_exact``: discovery gives every resource the Kind that SMI's text has.

    ``observe`` answers SMI's resources, unless ``backend`` does, and always ``traffic``. ``poll``: seconds between
    looks for a watch; ``clock`` gives monotonic seconds.
    """

    def __init__(
        self,
        gate: Gate,
        observe: Observe,
        *,
        spec_exact: bool = False,
        poll: float = WATCH_POLL,
        backend: Backend | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lists = Listings(secrets.token_hex(4), clock)
        self._forgetting: asyncio.TimerHandle | None = None
        self._gate, self._observe = gate, observe
        self._backend = backend or Backend(
            measure=lambda wanted: observe(wanted.seconds), longest=KEPT_SECONDS, poll=poll
        )
        self._exact = spec_exact
        self._discovery = Discovery(discovery.aggregated(spec_exact=spec_exact), discovery.groups())

    def routes(self) -> list[web.RouteDef]:
        """All paths, with and without a slash at the end."""
        documents: list[tuple[str, Callable[[], Any]]] = [(ROOT, discovery.group)]
        for version in VERSIONS:
            documents.append((f"{ROOT}/{version}", _resources(version, spec_exact=self._exact)))
            documents.append((f"/openapi/v3/apis/{GROUP}/{version}", _schema(version)))
        documents.append(("/openapi/v2", lambda: openapi.document_v2(VERSIONS)))
        documents.append(("/openapi/v3", _schemas))
        handlers = {"/apis": self._discovery.handle} | {path: _document(document) for path, document in documents}
        found = []
        for path, handler in handlers.items():
            reply = answered(self._gate, handler)
            found += [web.route("*", path, reply), web.route("*", f"{path}/", reply)]
        found.append(web.route("*", rf"{ROOT}/{{version}}/{{tail:[\s\S]*}}", answered(self._gate, self._items)))
        found.append(web.route("*", rf"{ROOT}/{{tail:[\s\S]*}}", answered(self._gate, nowhere)))
        return found

    def application(self, others: Iterable[web.RouteDef] = ()) -> web.Application:
        """The group and ``others``, which come first, and nothing else."""
        app = web.Application()
        app.router.add_routes([*others, *self.routes()])
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/healthz", self._ready)
        app.router.add_route("*", r"/{tail:[\s\S]*}", answered(self._gate, nowhere))
        return app

    async def _ready(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _items(self, request: web.Request, user: object) -> web.StreamResponse:
        version = request.match_info["version"]
        if version not in VERSIONS:
            raise Refused(
                404, f"the server could not find the requested resource: there is no version {version[:20]!r}"
            )
        segments = _segments(request.match_info["tail"])
        if segments[-1:] == (TRAFFIC,) and len(segments) in (1, 3):
            return await self._traffic(request, user, version, segments)
        wanted = asked(segments, request.query, self._backend.longest)
        attributes = attributes_of(wanted, version)
        await self._permitted(user, attributes)
        if wanted.watch and request.method != "HEAD":
            return await self._watch(request, user, attributes, wanted)
        question = question_of(user, version, segments, request.query)
        kept = self._lists.get(wanted.listing, question, wanted.skip)
        listing = kept or await self._listed(version, wanted, self._lists.name())
        found = await self._told(user, version, wanted, listing.found)
        body = await asyncio.to_thread(answer_of, found, wanted, listing.moment, table=_wants_table(request))
        if "continue" in body["metadata"]:
            self._keep(question, listing)
        answer = json_reply(body)
        if listing.moment.partial:
            # kubectl prints it.
            answer.headers["Warning"] = f'299 - "{listing.moment.partial}"'
        return answer

    def _keep(self, question: Question, listing: Listing) -> None:
        self._lists.keep(listing.moment.listing, question, listing)
        if self._forgetting is not None:
            self._forgetting.cancel()
        self._forgetting = asyncio.get_running_loop().call_later(FORGET_SECONDS, self._lists.forget)

    async def _permitted(self, user: object, wanted: Attributes) -> None:
        why = await self._gate.may(user, wanted)
        if why:
            raise Refused(403, why)

    async def _listed(self, version: str, wanted: Asked, name: str) -> Listing:
        """What there is of it, whoever asks."""
        seen = known(await self._backend.measure(wanted))
        found = await asyncio.to_thread(items, seen.observed, wanted)
        return Listing(found=found, moment=_moment(version, wanted, seen, name))

    async def _told(self, user: object, version: str, wanted: Asked, found: Sequence[Item]) -> list[Item]:
        """What the user may see of it; selectors are for later, so that nothing else can be selected."""
        return told(found, await self._visible(user, version, wanted, found))

    async def _visible(
        self, user: object, version: str, wanted: Asked, found: Iterable[Item]
    ) -> Callable[[Resource], bool]:
        """Peers in a namespace are told to who may list that kind of metrics there."""
        own = wanted.namespace or (wanted.name if wanted.kind.measured == NAMESPACE else "")
        # What has no namespace is of the whole cluster: nobody's own.
        allowed = {own} - {""}
        elsewhere = {home(item.peer) for item in found if item.peer is not None} - allowed
        allowed |= await self._open(user, version, wanted.kind.plural, elsewhere)
        return lambda peer: home(peer) in allowed

    async def _open(self, user: object, version: str, plural: str, namespaces: Iterable[str]) -> set[str]:
        """Those of ``namespaces`` (empty: the whole cluster) where the user may list a kind."""
        wanted = sorted(set(namespaces))

        async def may(namespace: str) -> bool:
            attributes = Attributes(verb="list", resource=plural, namespace=namespace, version=version)
            return not await self._gate.may(user, attributes)

        # Who may in the whole cluster may in each namespace: one question instead of hundreds.
        if len(wanted) > 1 and await may(""):
            return set(wanted)
        answers = await asyncio.gather(*map(may, wanted))
        return {namespace for namespace, yes in zip(wanted, answers, strict=True) if yes}

    async def _traffic(
        self, request: web.Request, user: object, version: str, segments: tuple[str, ...]
    ) -> web.Response:
        """``/traffic`` and ``/namespaces/NS/traffic``: a question about all namespaces, or about one."""
        if len(segments) == 3 and segments[0] != "namespaces":
            raise Refused(404, "the server could not find the requested resource")
        namespace = segments[1] if len(segments) == 3 else ""
        await self._permitted(user, _listing(namespace, version))
        try:
            wanted = counting.question({**request.query, "namespace": namespace})
            if namespace and home(wanted.asked) != namespace:
                raise Refused(403, f"that is not of namespace {namespace!r} alone: ask about all namespaces")
            if namespace:
                # Who is on the other side is as much of an answer as what is asked about.
                for end in filter(None, (wanted.source, wanted.destination)):
                    if home(end) != namespace:
                        await self._permitted(user, _listing(home(end), version))
            seen = known(await self._observe(wanted.seconds))
            answer = await asyncio.to_thread(counting.answer, wanted, seen.observed)
            if namespace:
                kind = wanted.asked.kind
                elsewhere = namespaces(answer, kind) - {namespace}
                answer = redacted(answer, kind, {namespace} | await self._open(user, version, TRAFFIC, elsewhere))
        except counting.BadQuestion as error:
            raise Refused(400, str(error)) from error
        except NotThere as error:
            raise Refused(404, str(error)) from error
        return web.Response(body=msgspec.json.encode(answer), content_type=JSON)

    async def _watch(
        self, request: web.Request, user: object, attributes: Attributes, wanted: Asked
    ) -> web.StreamResponse:
        """Rows whose numbers changed, until the client or the time ends it. Rights are looked at anew each time."""
        table = _wants_table(request)
        response = web.StreamResponse(headers={"Content-Type": JSON})
        await response.prepare(request)
        loop = asyncio.get_running_loop()
        end = loop.time() + min(wanted.timeout or WATCH_SECONDS, WATCH_SECONDS)
        before: dict[Key, tuple[int, int]] | None = None
        while loop.time() < end and request.transport is not None:
            try:
                await self._permitted(user, attributes)
                listing = await self._listed(attributes.version, wanted, "")
                found = await self._told(user, attributes.version, wanted, listing.found)
            except Refused as refused:
                await response.write(_line({"type": "ERROR", "object": status_of(refused)}))
                break
            found, moment = chosen(found, wanted), listing.moment
            for item in _changed(found, before):
                body = item_of(item, moment)
                thing = table_of([(item, body)], moment, wanted.include, 0, 0) if table else body
                await response.write(_line({"type": "MODIFIED", "object": thing}))
            before = {_key(item): _counts(item) for item in found}
            await asyncio.sleep(min(self._backend.poll, max(0.0, end - loop.time())))
        return response


Key = tuple[Resource, str, str]
"""What tells items apart: what was measured, the item's name, who counted."""


def _key(item: Item) -> Key:
    return item.resource, item.name, item.side


def _counts(item: Item) -> tuple[int, int]:
    return item.counted.successes, item.counted.failures


def _changed(found: Sequence[Item], known: Mapping[Key, tuple[int, int]] | None) -> list[Item]:
    """Those whose counts are not what is known; none at first, since whoever watches has just made a list."""
    return [] if known is None else [item for item in found if known.get(_key(item)) != _counts(item)]


def _segments(tail: str) -> tuple[str, ...]:
    """Of a path behind the version, which may end with a slash. An empty one between two is nobody's name."""
    segments = tuple(tail.removesuffix("/").split("/"))
    if "" in segments:
        raise Refused(404, "the server could not find the requested resource")
    return segments


def attributes_of(wanted: Asked, version: str) -> Attributes:
    """As the API server parses the path: ``/namespaces/foo/edges`` is the resource ``edges`` in ``foo`` there.

    ``k8s.io/apiserver``, ``requestinfo.go``: a name makes it a ``get``, whatever the query says.
    """
    many = "watch" if wanted.watch else "list"
    if wanted.kind.measured == NAMESPACE and wanted.name:
        if wanted.edges:
            return Attributes(verb=many, resource=EDGES, namespace=wanted.name, name=wanted.only, version=version)
        return Attributes(verb="get", resource="namespaces", namespace=wanted.name, name=wanted.name, version=version)
    return Attributes(
        verb="get" if wanted.name else many,
        resource=wanted.kind.plural,
        subresource=EDGES if wanted.edges else "",
        namespace=wanted.namespace,
        name=wanted.name or wanted.only,
        version=version,
    )


def _listing(namespace: str, version: str) -> Attributes:
    """To ask questions about a namespace; about all, if it is empty."""
    return Attributes(verb="list", resource=TRAFFIC, namespace=namespace, version=version)


def _moment(version: str, wanted: Asked, seen: Seen, listing: str) -> Moment:
    return Moment(
        version=version,
        timestamp=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        window=text_of(wanted.seconds),
        seconds=seen.observed.seconds,
        partial=seen.partial,
        listing=listing,
    )


def _wants_table(request: web.Request) -> bool:
    return accepts(request, "as=Table", "g=meta.k8s.io", "v=v1")


def _resources(version: str, *, spec_exact: bool) -> Callable[[], Any]:
    return lambda: discovery.resources(version, spec_exact=spec_exact)


def _schema(version: str) -> Callable[[], Any]:
    return lambda: openapi.document_v3(version)


def _schemas() -> Any:
    def entry(version: str) -> Mapping[str, str]:
        digest = hashlib.sha256(json.dumps(openapi.document_v3(version)).encode()).hexdigest()
        path = f"/openapi/v3/apis/{GROUP}/{version}"
        return {"serverRelativeURL": f"{path}?hash={digest.upper()}"}

    return {"paths": {f"apis/{GROUP}/{version}": entry(version) for version in VERSIONS}}


def _document(make: Callable[[], Any]) -> Handler:
    body = json.dumps(make()).encode()

    async def handle(_: web.Request, __: object) -> web.StreamResponse:
        return web.Response(body=body, content_type=JSON)

    return handle


async def nowhere(request: web.Request, _: object) -> web.StreamResponse:
    """There is nothing at that path. Raises ``Refused`` (404)."""
    raise Refused(404, f"the server could not find the requested resource: {request.path[:200]}")


def _line(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event).encode() + b"\n"
