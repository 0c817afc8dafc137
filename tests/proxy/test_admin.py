"""Pages of the admin port: found by method and path, and what is said where there is none."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response
from wire import HOST

from proxy import admin
from proxy.admin import Pages, is_own_name
from proxy.listeners import bound_socket


async def echo(request: BaseRequest) -> Response:
    return Response(text=f"{request.method} {request.path} {await request.text()}")


PAGES = {("GET", "/live"): echo, ("PUT", "/level"): echo, ("POST", "/level"): echo, ("GET", "/probe/"): echo}


@pytest.mark.parametrize(
    ("method", "path", "status", "text", "allow"),
    [
        ("GET", "/live", 200, "GET /live ", ""),
        ("GET", "/live?a=b", 200, "GET /live ", ""),
        ("HEAD", "/live", 200, "", ""),
        ("PUT", "/level", 200, "PUT /level debug", ""),
        ("POST", "/live", 405, "405: Method Not Allowed", "GET"),
        ("GET", "/level", 405, "405: Method Not Allowed", "PUT, POST"),
        ("HEAD", "/level", 405, "", "PUT, POST"),
        ("GET", "/probe/web-0", 200, "GET /probe/web-0 ", ""),
        ("PUT", "/probe/web-0", 405, "405: Method Not Allowed", "GET"),
        ("GET", "/probe", 404, "404: Not Found", ""),
        ("GET", "/probe/web/0", 404, "404: Not Found", ""),
        ("GET", "/live/", 404, "404: Not Found", ""),
        ("GET", "/", 404, "404: Not Found", ""),
    ],
)
def test_a_page_is_found_by_method_and_path(method: str, path: str, status: int, text: str, allow: str) -> None:
    async def scene() -> None:
        pages, sock = Pages(PAGES), bound_socket(HOST, 0)
        await pages.open([sock])
        url = f"http://{HOST}:{sock.getsockname()[1]}{path}"
        data = b"debug" if method == "PUT" else None
        try:
            async with aiohttp.ClientSession() as session, session.request(method, url, data=data) as answer:
                assert (answer.status, await answer.text()) == (status, text)
                assert answer.headers.get("Allow", "") == allow
        finally:
            await pages.close()

    asyncio.run(scene())


@pytest.mark.parametrize(
    "host",
    ["", "10.0.0.7", "10.0.0.7:4191", "[fd00::7]:4191", "[::1]", "localhost:4191", "LocalHost", "web", "web:4191",
     "web.", "web.shop.svc", "web.shop.svc:4191", "web.shop.svc.mesh.example:4191", "10-0-0-7.shop.pod.mesh.example",
     "WEB.shop.svc.Mesh.Example."],
)  # fmt: skip
def test_names_by_which_pods_are_asked(host: str) -> None:
    assert is_own_name(host, "mesh.example")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:4191", "evil.example.", "mesh.example", "evilmesh.example",
     "mesh.example.evil.example", "10.0.0.7.evil.example",
     "127.0.0.1.nip.io:4191", "localhost.evil.example", "[evil.example]:4191", "[]",
     "10.0.0.777", "0x7f.1", "svc.evil.example",
     "web.shop.svc.evil.example", "web.shop.svc.cluster.local", "evil.example:80:80"],
)  # fmt: skip
def test_names_that_somebody_may_own(host: str) -> None:
    assert not is_own_name(host, "mesh.example")


@pytest.mark.parametrize("path", ["/live", "/probe/web-0", "/nowhere"])
@pytest.mark.parametrize(("host", "told"), [("evil.example", False), ("web.shop.svc.mesh.example", True)])
def test_a_page_from_elsewhere_reads_nothing(path: str, host: str, told: bool) -> None:
    async def scene() -> None:
        pages, sock = Pages(PAGES, "mesh.example"), bound_socket(HOST, 0)
        await pages.open([sock])
        url = f"http://{HOST}:{sock.getsockname()[1]}{path}"
        try:
            async with aiohttp.ClientSession() as session, session.get(url, headers={"Host": host}) as answer:
                text = await answer.text()
                assert (answer.status != 403) is told
                assert ("the Host must be" in text) is not told
        finally:
            await pages.close()

    asyncio.run(scene())


def test_an_answer_under_way_is_finished_before_the_end(tmp_path: Path) -> None:
    async def scene() -> None:
        asked, let = asyncio.Event(), asyncio.Event()

        async def slow(_: BaseRequest) -> Response:
            asked.set()
            await let.wait()
            return Response(text="done")

        pages = Pages({("POST", "/drain"): slow})
        await pages.open_unix(str(tmp_path / "admin.sock"))
        connector = aiohttp.UnixConnector(str(tmp_path / "admin.sock"))
        async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
            posting = group.create_task(session.post("http://sidecar/drain"))
            await asked.wait()
            closing = group.create_task(pages.close())
            await asyncio.sleep(0)
            let.set()
            await closing
            async with await posting as answer:
                assert await answer.text() == "done"

    asyncio.run(scene())


@pytest.mark.parametrize(
    "said", [b"", b"GET /li", b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /live HTTP/1.1\r\nHost: a\r\n\r\nGET"]
)
def test_a_connection_that_asks_nothing_is_closed(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "HEAD_TIMEOUT", 0.05)
    monkeypatch.setattr(admin, "IDLE_TIMEOUT", 0.05)

    async def scene() -> None:
        pages, sock = Pages(PAGES), bound_socket(HOST, 0)
        await pages.open([sock])
        try:
            reader, writer = await asyncio.open_connection(HOST, sock.getsockname()[1])
            writer.write(said)
            async with asyncio.timeout(10):
                answered = await reader.read()
            assert answered.startswith(b"HTTP/1.1 200 OK") if b"Host" in said else not answered
            writer.close()
        finally:
            await pages.close()

    asyncio.run(scene())


def test_an_answer_may_take_longer_than_a_silent_connection_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "HEAD_TIMEOUT", 0.01)

    async def scene() -> None:
        async def slow(_: BaseRequest) -> Response:
            await asyncio.sleep(0.1)
            return Response(text="done")

        pages, sock = Pages({("GET", "/slow"): slow}), bound_socket(HOST, 0)
        await pages.open([sock])
        url = f"http://{HOST}:{sock.getsockname()[1]}/slow"
        try:
            async with aiohttp.ClientSession() as session, session.get(url) as answer:
                assert await answer.text() == "done"
        finally:
            await pages.close()

    asyncio.run(scene())


@pytest.mark.parametrize("said", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"])
def test_what_is_no_request_leaves_no_traceback(said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        pages, sock = Pages({("GET", "/"): echo}), bound_socket(HOST, 0)
        await pages.open([sock])
        try:
            reader, writer = await asyncio.open_connection(HOST, sock.getsockname()[1])
            writer.write(said)
            async with asyncio.timeout(10):
                assert b" 400 " in await reader.readline()
            writer.close()
        finally:
            await pages.close()

    asyncio.run(scene())

    assert not caplog.records
