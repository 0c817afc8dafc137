"""A collection mirrored, whatever the API server does meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from apiserver import FakeApiServer, serving
from eventually import eventually

from smi.sources import reflector as module
from smi.sources.apiserver import ApiError, refused
from smi.sources.reflector import PAGE, Reflector, lines

PATH = "/api/v1/services"


class Mirrored:
    """What a sink was told, put together."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.lists = 0
        self.listing: set[str] = set()

    def page(self, objects: list[dict[str, Any]], *, first: bool) -> None:
        self.listing = {*(set() if first else self.listing), *(thing["metadata"]["name"] for thing in objects)}

    def listed(self) -> None:
        self.lists += 1
        self.names = self.listing

    def changed(self, thing: dict[str, Any]) -> None:
        self.names.add(thing["metadata"]["name"])

    def removed(self, thing: dict[str, Any]) -> None:
        self.names.discard(thing["metadata"]["name"])


def play(
    scene: Callable[[FakeApiServer, Mirrored, Reflector], Awaitable[None]], *, absent: bool = False, path: str = PATH
) -> None:
    async def whole() -> None:
        server, sink = FakeApiServer(PATH), Mirrored()
        async with serving(server) as api:
            reflector = Reflector(api, path, sink, absent=absent, chance=lambda: 1.0)
            task = asyncio.create_task(reflector.run())
            try:
                await scene(server, sink, reflector)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    asyncio.run(whole())


def test_what_is_there_and_what_changes() -> None:
    async def scene(server: FakeApiServer, sink: Mirrored, reflector: Reflector) -> None:
        server.put(PATH, "a", {})
        await eventually(lambda: server.watches == 1)
        server.put(PATH, "b", {})
        server.delete(PATH, "a")
        await eventually(lambda: sink.names == {"b"})
        assert reflector.connected

    play(scene)


def test_a_long_list_comes_in_pages() -> None:
    async def scene(server: FakeApiServer, sink: Mirrored, _: Reflector) -> None:
        await eventually(lambda: server.watches == 1)
        for number in range(PAGE + 1):
            server.collections[PATH][f"s{number}"] = {"metadata": {"name": f"s{number}", "resourceVersion": "1"}}
        server.tell(PATH, {"type": "ERROR", "object": {"code": 410, "message": "too old"}})
        await eventually(lambda: len(sink.names) == PAGE + 1)

    play(scene)


def test_an_ended_watch_goes_on_from_where_it_was() -> None:
    async def scene(server: FakeApiServer, sink: Mirrored, _: Reflector) -> None:
        await eventually(lambda: server.watches == 1)
        server.put(PATH, "a", {})
        server.tell(PATH, {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "777"}}})
        await eventually(lambda: sink.names == {"a"})
        server.end_watches()
        await eventually(lambda: "resourceVersion=777" in server.asked[-1][1])
        assert sink.lists == 1

    play(scene)


@pytest.mark.parametrize("by", ["event", "status"])
def test_a_version_that_is_too_old_is_listed_anew_and_deletions_are_not_lost(by: str) -> None:
    async def scene(server: FakeApiServer, sink: Mirrored, _: Reflector) -> None:
        server.put(PATH, "a", {})
        await eventually(lambda: server.watches == 1 and sink.names == {"a"})
        server.collections[PATH].clear()
        server.collections[PATH]["b"] = {"metadata": {"name": "b", "resourceVersion": "900"}}
        if by == "event":
            server.tell(PATH, {"type": "ERROR", "object": {"code": 410, "message": "too old"}})
        else:
            server.faults.append(web.json_response({"message": "too old"}, status=410))
            server.end_watches()
        await eventually(lambda: sink.names == {"b"})

    play(scene)


def test_while_the_server_fails_what_was_known_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)

    async def scene(server: FakeApiServer, sink: Mirrored, reflector: Reflector) -> None:
        server.put(PATH, "a", {})
        await eventually(lambda: server.watches == 1 and sink.names == {"a"})
        server.faults += [web.json_response({"message": "busy"}, status=500) for _ in range(4)]
        server.end_watches()
        await eventually(lambda: not reflector.connected)
        assert sink.names == {"a"}
        await eventually(lambda: reflector.connected)
        server.put(PATH, "b", {})
        await eventually(lambda: sink.names == {"a", "b"})

    play(scene)


def test_a_collection_that_is_not_there_is_empty_until_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MISSING_PAUSE", 0.01)

    async def scene(server: FakeApiServer, sink: Mirrored, _: Reflector) -> None:
        await eventually(lambda: sink.lists > 0)
        server.collections["/apis/x/things"] = {}
        server.put("/apis/x/things", "a", {})
        await eventually(lambda: sink.names == {"a"})

    play(scene, absent=True, path="/apis/x/things")


def test_events_are_lines_however_long() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for chunk in (b"a", b"b\nc", b"\n", b"d" * 10, b"d\nlast"):
            yield chunk

    async def gathered(most: int) -> list[bytes]:
        return [line async for line in lines(chunks(), most)]

    assert asyncio.run(gathered(100)) == [b"ab", b"c", b"d" * 11]
    with pytest.raises(ValueError, match="more than 5 bytes"):
        asyncio.run(gathered(5))


def test_an_error_names_what_was_asked() -> None:
    error = refused("GET /x", 403, b'{"message": "no", "reason": "Forbidden"}', "3")
    assert (str(error), error.status, error.reason, error.retry_after) == ("GET /x: 403 no", 403, "Forbidden", 3.0)
    assert "html" in str(refused("GET /x", 502, b"<html>"))

    async def unreachable() -> None:
        server = FakeApiServer()
        async with serving(server) as api:
            server.faults.append(web.Response(text="no JSON"))
            with pytest.raises(ApiError, match="GET /nothing"):
                await api.get("/nothing")

    asyncio.run(unreachable())
