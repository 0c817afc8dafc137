"""A Kubernetes API server for tests: objects in a dict, lists, watches with bookmarks, and faults on demand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from smi.sources.apiserver import Access, ApiServer

Object = dict[str, Any]


class FakeApiServer:
    """``collections`` has the objects of each collection's path by name. A path that is not there is a 404."""

    def __init__(self, *paths: str) -> None:
        self.collections: dict[str, dict[str, Object]] = {path: {} for path in paths}
        self.asked: list[tuple[str, str]] = []
        self.bodies: list[Any] = []
        self.faults: list[web.Response] = []
        """Answers to the next requests, instead of what they ask for."""
        self.answers: dict[str, Any] = {}
        """What a POST to a path is answered with, or a function that makes it of the request's body."""
        self._version = 100
        self._watches: list[tuple[str, str, asyncio.Queue[Object | None]]] = []

    def put(self, path: str, name: str, thing: Object) -> None:
        """Creates or changes an object; watches hear of it."""
        self._version += 1
        kind = "MODIFIED" if name in self.collections[path] else "ADDED"
        meta = {"name": name, **thing.get("metadata", {}), "resourceVersion": str(self._version)}
        self.collections[path][name] = {**thing, "metadata": meta}
        self._tell(path, {"type": kind, "object": self.collections[path][name]})

    def delete(self, path: str, name: str) -> None:
        """Deletes an object; watches hear of it."""
        self._version += 1
        thing = self.collections[path].pop(name)
        thing["metadata"]["resourceVersion"] = str(self._version)
        self._tell(path, {"type": "DELETED", "object": thing})

    def tell(self, path: str, event: Object) -> None:
        """Sends any event to the watches of a path."""
        self._tell(path, event)

    def end_watches(self) -> None:
        """Every watch ends, as if in order."""
        for _, _, queue in self._watches:
            queue.put_nowait(None)

    @property
    def watches(self) -> int:
        """How many there are."""
        return len(self._watches)

    def _tell(self, path: str, event: Object) -> None:
        for watched, labels, queue in self._watches:
            if watched == path and selects(labels, event["object"]):
                queue.put_nowait(event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        path, name = request.path, ""
        self.asked.append((request.method, request.path_qs))
        if self.faults:
            return self.faults.pop(0)
        if path not in self.collections and path.rpartition("/")[0] in self.collections:
            path, _, name = path.rpartition("/")
        if request.method in ("POST", "PATCH", "PUT"):
            return await self._write(request, path, name)
        if path not in self.collections or (name and name not in self.collections[path]):
            return web.json_response({"kind": "Status", "message": "not found", "reason": "NotFound"}, status=404)
        if name:
            return web.json_response(self.collections[path][name])
        if "watch" in request.query:
            return await self._watch(request, path, request.query.get("labelSelector", ""))
        meta = {"resourceVersion": str(self._version)}
        labels = request.query.get("labelSelector", "")
        items = [thing for thing in self.collections[path].values() if selects(labels, thing)]
        first = int(request.query.get("continue") or 0)
        limit = int(request.query.get("limit") or 500)
        if first + limit < len(items):
            meta["continue"] = str(first + limit)
        return web.json_response(
            {"kind": "XList", "apiVersion": "v1", "metadata": meta, "items": items[first : first + limit]}
        )

    async def _write(self, request: web.Request, path: str, name: str) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        if request.path in self.answers:
            answer = self.answers[request.path]
            return web.json_response(answer(body) if callable(answer) else answer)
        if request.path.endswith("/status"):
            return self._write_status(request.path, body)
        if request.method == "POST":
            name = body["metadata"]["name"]
            if name in self.collections[path]:
                return web.json_response({"message": "already exists"}, status=409)
            self.put(path, name, body)
        if request.method == "PUT":
            if name not in self.collections[path]:
                return web.json_response({"message": "not found"}, status=404)
            known = self.collections[path][name]["metadata"]["resourceVersion"]
            if body["metadata"].get("resourceVersion") != known:
                return web.json_response({"message": "the object has been modified"}, status=409)
            self.put(path, name, body)
        return web.json_response(self.collections[path].get(name, {}))

    def _write_status(self, path: str, body: Object) -> web.Response:
        """Objects of namespaces stand in the collection over all of them."""
        _, name, _ = path.rsplit("/", 2)
        root, _, rest = path.partition("/namespaces/")
        collection = f"{root}/{rest.split('/')[1]}"
        if name not in self.collections.get(collection, {}):
            return web.json_response({"message": "not found"}, status=404)
        self.put(collection, name, {**self.collections[collection][name], "status": body["status"]})
        return web.json_response(self.collections[collection][name])

    async def _watch(self, request: web.Request, path: str, labels: str) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        queue: asyncio.Queue[Object | None] = asyncio.Queue()
        watch = path, labels, queue
        self._watches.append(watch)
        try:
            while (event := await queue.get()) is not None:
                await response.write(json.dumps(event).encode() + b"\n")
        finally:
            self._watches.remove(watch)
        return response


def selects(labels: str, thing: Object) -> bool:
    """Whether a label selector of the form ``name!=value`` selects an object; an empty one selects all."""
    name, _, value = labels.partition("!=")
    return not labels or thing.get("metadata", {}).get("labels", {}).get(name) != value


@asynccontextmanager
async def serving(server: FakeApiServer) -> AsyncIterator[ApiServer]:
    """A client of the fake."""
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()

    async def headers() -> dict[str, str]:
        return {"Authorization": "Bearer test"}

    access = Access(url=f"http://127.0.0.1:{runner.addresses[0][1]}", tls=None, headers=headers)
    try:
        async with ApiServer(access) as api:
            yield api
    finally:
        server.end_watches()
        await runner.cleanup()
