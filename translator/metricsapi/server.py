"""The HTTP of ``metrics.smi-spec.io``: an aggregated API behind a kube-apiserver, or plain on the loopback.

Who asks and what they may is the caller's to say (``Gate``); discovery is for everybody who got in, and depends on
nothing that was measured. Whatever goes wrong is a ``metav1.Status``.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import msgspec
from aiohttp import web

from translator import question as counting
from translator.metricsapi import discovery, openapi
from translator.metricsapi.asked import Asked, asked
from translator.metricsapi.bodies import Moment, item_of, list_of, table_of
from translator.metricsapi.items import Item, chosen, items
from translator.metricsapi.kinds import EDGES, GROUP, TRAFFIC, VERSIONS
from translator.metricsapi.redact import namespaces, redacted
from translator.metricsapi.status import Refused, status_of
from translator.observed import Observed
from translator.resources import NAMESPACE, Resource
from translator.views import NotThere

ROOT: Final = f"/apis/{GROUP}"

WATCH_POLL: Final = 2.0
"""Seconds between looks for a ``kubectl get -w``."""

WATCH_SECONDS: Final = 300.0
"""Longest watch; kubectl begins another one."""

JSON: Final = "application/json"

log = logging.getLogger("translator.metricsapi")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What is to be done to what, as RBAC has it. An empty namespace or name: of all."""

    group: str = GROUP
    verb: str
    resource: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""


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


Observe = Callable[[float], Awaitable[Seen | None]]
"""What was counted in the last so many seconds; None while nothing is known yet."""


class MetricsApi:
    """Routes of the group. ``spec_exact``: discovery gives every resource the Kind that SMI's text has."""

    def __init__(self, gate: Gate, observe: Observe, *, spec_exact: bool = False) -> None:
        self._gate, self._observe = gate, observe
        self._exact = spec_exact
        self._discovered = json.dumps(discovery.aggregated(spec_exact=spec_exact)).encode()
        self._etag = f'"{hashlib.sha256(self._discovered).hexdigest()[:32].upper()}"'

    def routes(self) -> list[web.RouteDef]:
        """All paths, with and without a slash at the end."""
        documents: list[tuple[str, Callable[[], Any]]] = [(ROOT, discovery.group)]
        for version in VERSIONS:
            documents.append((f"{ROOT}/{version}", _resources(version, spec_exact=self._exact)))
            documents.append((f"/openapi/v3/apis/{GROUP}/{version}", _schema(version)))
        documents.append(("/openapi/v2", lambda: openapi.document_v2(VERSIONS)))
        documents.append(("/openapi/v3", _schemas))
        found = [web.get("/apis", self._answered(self._apis)), web.get("/apis/", self._answered(self._apis))]
        for path, document in documents:
            handler = self._answered(_document(document))
            found += [web.get(path, handler), web.get(f"{path}/", handler)]
        found.append(web.route("*", f"{ROOT}/{{version}}/{{tail:.*}}", self._answered(self._items)))
        return found

    def application(self, others: Iterable[web.RouteDef] = ()) -> web.Application:
        """The group and ``others``, which come first, and nothing else."""
        app = web.Application()
        app.router.add_routes([*others, *self.routes()])
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/healthz", self._ready)
        app.router.add_route("*", "/{tail:.*}", self._answered(_nowhere))
        return app

    async def _ready(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    def _answered(
        self, handler: Callable[[web.Request, object], Awaitable[web.StreamResponse]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request, await self._gate.user(request))
            except Refused as refused:
                return _json(status_of(refused), refused.code)
            except (ConnectionError, asyncio.CancelledError):
                raise
            except Exception:
                log.exception("not answered path=%s", request.path)
                return _json(status_of(Refused(500, "the controller could not answer; its log says why")), 500)

        return handle

    async def _apis(self, request: web.Request, _: object) -> web.Response:
        """Everything at once for those who can read it, else what groups there are."""
        accepted = request.headers.get("Accept", "")
        if "as=APIGroupDiscoveryList" not in accepted or "g=apidiscovery.k8s.io" not in accepted:
            return _json(discovery.groups())
        if request.headers.get("If-None-Match") == self._etag:
            return web.Response(status=304, headers={"ETag": self._etag})
        headers = {"ETag": self._etag, "Vary": "Accept"}
        headers["Content-Type"] = f"{JSON};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        return web.Response(body=self._discovered, headers=headers)

    async def _items(self, request: web.Request, user: object) -> web.StreamResponse:
        version = request.match_info["version"]
        if version not in VERSIONS:
            raise Refused(
                404, f"the server could not find the requested resource: there is no version {version[:20]!r}"
            )
        if request.method not in ("GET", "HEAD"):
            raise Refused(405, "the server does not allow this method on the requested resource")
        segments = tuple(filter(None, request.match_info["tail"].split("/")))
        if segments[-1:] == (TRAFFIC,) and len(segments) in (1, 3):
            return await self._traffic(request, user, segments)
        wanted = asked(segments, request.query)
        await self._permitted(user, _attributes(segments, wanted))
        if wanted.watch:
            return await self._watch(request, user, version, wanted)
        body = await self._body(user, version, wanted, table=_wants_table(request))
        return _json(body)

    async def _permitted(self, user: object, wanted: Attributes) -> None:
        why = await self._gate.may(user, wanted)
        if why:
            raise Refused(403, why)

    async def _body(self, user: object, version: str, wanted: Asked, *, table: bool) -> dict[str, Any]:
        seen = await self._seen(wanted.seconds)
        found = await asyncio.to_thread(items, seen.observed, wanted)
        return await self._rendered(user, version, wanted, seen, found, table=table)

    async def _rendered(
        self, user: object, version: str, wanted: Asked, seen: Seen, found: list[Item], *, table: bool
    ) -> dict[str, Any]:
        visible = await self._visible(user, wanted, found)
        moment = _moment(version, wanted, seen)
        if wanted.name and not wanted.edges:
            body = item_of(found[0], moment, visible)
            return table_of([(found[0], body)], moment, wanted.include, 0, 0) if table else body
        matching = chosen(found, wanted)
        page = matching[wanted.skip : wanted.skip + wanted.limit]
        after = wanted.skip + len(page)
        rest = len(matching) - after
        bodies = [item_of(item, moment, visible) for item in page]
        if table:
            return table_of(zip(page, bodies, strict=True), moment, wanted.include, rest, after)
        return list_of(bodies, moment, rest, after)

    async def _seen(self, seconds: float) -> Seen:
        seen = await self._observe(seconds)
        if seen is None:
            raise Refused(503, "the controller is still reading the cluster; try again in a moment")
        return seen

    async def _visible(self, user: object, wanted: Asked, found: Iterable[Item]) -> Callable[[Resource], bool]:
        """Peers in a namespace are told to who may list that kind of metrics there."""
        own = wanted.namespace or (wanted.name if wanted.kind.measured == NAMESPACE else "")
        elsewhere = {_home(item.peer) for item in found if item.peer is not None} - {own}
        allowed = {own} | await self._open(user, wanted.kind.plural, elsewhere)
        return lambda peer: _home(peer) in allowed

    async def _open(self, user: object, plural: str, namespaces: Iterable[str]) -> set[str]:
        """Those of ``namespaces`` (empty: the whole cluster) where the user may list a kind."""
        return {
            namespace
            for namespace in namespaces
            if not await self._gate.may(user, Attributes(verb="list", resource=plural, namespace=namespace))
        }

    async def _traffic(self, request: web.Request, user: object, segments: tuple[str, ...]) -> web.Response:
        """``/traffic`` and ``/namespaces/NS/traffic``: a question about all namespaces, or about one."""
        namespace = segments[1] if len(segments) == 3 and segments[0] == "namespaces" else ""
        if len(segments) == 3 and not namespace:
            raise Refused(404, "the server could not find the requested resource")
        await self._permitted(user, Attributes(verb="list", resource=TRAFFIC, namespace=namespace))
        said = {**request.query, "namespace": namespace}
        try:
            wanted = counting.question(said)
            if namespace and not (wanted.asked.namespace or wanted.asked == Resource(NAMESPACE, "", namespace)):
                raise Refused(403, f"that is not of namespace {namespace!r} alone: ask about all namespaces")
            seen = await self._seen(wanted.seconds)
            answer = await asyncio.to_thread(counting.answer, wanted, seen.observed)
            if namespace:
                answer = redacted(answer, {namespace} | await self._open(user, TRAFFIC, namespaces(answer)))
        except counting.BadQuestion as error:
            raise Refused(400, str(error)) from error
        except NotThere as error:
            raise Refused(404, str(error)) from error
        return web.Response(body=msgspec.json.encode(answer), content_type=JSON)

    async def _watch(self, request: web.Request, user: object, version: str, wanted: Asked) -> web.StreamResponse:
        """Rows whose numbers changed, until the client or the time ends it. Rights are looked at anew each time."""
        table = _wants_table(request)
        response = web.StreamResponse(headers={"Content-Type": JSON})
        await response.prepare(request)
        loop = asyncio.get_running_loop()
        end = loop.time() + min(wanted.timeout or WATCH_SECONDS, WATCH_SECONDS)
        known: dict[str, tuple[int, int]] = {}
        first = True
        while loop.time() < end:
            try:
                await self._permitted(user, Attributes(verb="list", resource=wanted.kind.plural,
                                                       namespace=wanted.namespace, name=wanted.name))  # fmt: skip
                seen = await self._seen(wanted.seconds)
                found = await asyncio.to_thread(items, seen.observed, wanted)
            except Refused as refused:
                await response.write(_line({"type": "ERROR", "object": status_of(refused)}))
                break
            now = {item.name: (item.counted.successes, item.counted.failures) for item in found}
            changed = [item for item in found if known.get(item.name) != now[item.name]]
            known = now
            for item in [] if first else changed:
                one = await self._rendered(user, version, wanted, seen, [item], table=table)
                thing = one if table or "items" not in one else (one["items"] or [None])[0]
                if thing and (not table or one["rows"]):
                    await response.write(_line({"type": "MODIFIED", "object": thing}))
            first = False
            await asyncio.sleep(WATCH_POLL)
        return response


def _attributes(segments: tuple[str, ...], wanted: Asked) -> Attributes:
    """As the API server parses the path: ``/namespaces/foo/edges`` is the resource ``edges`` in ``foo`` there."""
    verb = "list" if wanted.watch else wanted.verb
    if wanted.kind.measured == NAMESPACE:
        if wanted.edges:
            return Attributes(verb="list", resource=EDGES, namespace=wanted.name)
        return Attributes(verb=verb, resource="namespaces", namespace=wanted.name, name=wanted.name)
    return Attributes(
        verb="get" if wanted.edges else verb,
        resource=segments[0] if not wanted.kind.namespaced else wanted.kind.plural,
        subresource=EDGES if wanted.edges else "",
        namespace=wanted.namespace,
        name=wanted.name,
    )


def _home(peer: Resource | None) -> str:
    if peer is None:
        return ""
    return peer.name if peer.kind == NAMESPACE else peer.namespace


def _moment(version: str, wanted: Asked, seen: Seen) -> Moment:
    return Moment(
        version=version,
        timestamp=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        window=_go_duration(wanted.seconds),
        seconds=seen.observed.seconds,
        partial=seen.partial,
    )


def _go_duration(seconds: float) -> str:
    """As Go prints it, without empty parts: ``30s``, ``1m30s``, ``500ms``."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    parts = (f"{hours:g}h" if hours else "", f"{minutes:g}m" if minutes else "", f"{rest:g}s" if rest else "")
    return "".join(parts)


def _wants_table(request: web.Request) -> bool:
    accepted = request.headers.get("Accept", "").split(",")
    return any(
        "as=Table" in one and "g=meta.k8s.io" in one and "v=v1" in one.split(";") for one in map(str.strip, accepted)
    )


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


def _document(make: Callable[[], Any]) -> Callable[[web.Request, object], Awaitable[web.StreamResponse]]:
    body = json.dumps(make()).encode()

    async def handle(_: web.Request, __: object) -> web.StreamResponse:
        return web.Response(body=body, content_type=JSON)

    return handle


async def _nowhere(request: web.Request, _: object) -> web.StreamResponse:
    raise Refused(404, f"the server could not find the requested resource: {request.path[:200]}")


def _json(body: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.Response(
        status=status,
        body=json.dumps(body).encode(),
        content_type=JSON,
        headers={"Cache-Control": "no-cache, private", "X-Content-Type-Options": "nosniff"},
    )


def _line(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event).encode() + b"\n"
