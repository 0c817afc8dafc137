"""HTTP and TCP probes and hooks against real servers: asked and judged as the kubelet does."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import struct
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import forge
import pytest
import uvloop
from eventually import eventually
from kubelet import HERE, Serve, application, kubelet, says

from proxy.contract.config import Probe
from proxy.probehttp import sent, target
from proxy.probes import judge

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def probe(port: int, path: str = "/ready", *, headers: tuple[tuple[str, str], ...] = (), timeout: float = 5.0) -> Probe:
    return Probe(name="it", kind="http", port=port, path=path, headers=headers, timeout=timeout)


def hook(port: int, path: str = "/bye") -> Probe:
    return Probe(name="it", kind="http", port=port, path=path, hook=True, timeout=0.2)


def redirecting(answers: dict[str, bytes], heard: list[bytes]) -> Serve:
    """Answers by path; ``heard`` gets each request's head."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heard.append(head)
        writer.write(answers.get(head.split()[1].decode(), OK))

    return serve


def to(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


async def asked(serve: Serve, make: Callable[[int], Probe] = probe, **headers: str) -> tuple[tuple[int, str], float]:
    """The probe's answer and the seconds until it came."""
    async with application(serve) as port, kubelet(make(port)) as ask:
        start = time.monotonic()
        answer = await ask(**headers)
        return answer, time.monotonic() - start


@pytest.mark.parametrize(
    ("status", "told"),
    [
        *((200, 200), (204, 200), (299, 200), (304, 200), (399, 200)),
        *((400, 400), (404, 404), (500, 500), (599, 599)),
        *((199, 503), (101, 503), (600, 503), (0, 503)),
    ],
)
def test_200_to_399_is_well(status: int, told: int) -> None:
    assert judge(status, hook=False) == told
    assert judge(status, hook=True) == 200


@pytest.mark.parametrize(
    ("path", "asks"),
    [
        ("/", "/"),
        ("", "/"),
        ("healthz", "/healthz"),
        ("/a?b=c&d", "/a?b=c&d"),
        ("?deep", "/?deep"),
        ("/a#part", "/a"),
        ("/a b", "/a%20b"),
        ("/é", "/%C3%A9"),
        ("/a%20b%2Fc", "/a%20b%2Fc"),
        ("/100%?x", "/100%25%3Fx"),
        ("/../x/./y", "/../x/./y"),
        ("http://elsewhere:1/x?y", "/x?y"),
        ("//elsewhere/x", "/x"),
        ("///x", "///x"),
        ("/a\r\nHost: b", "/a%0D%0AHost:%20b"),
        ("/a?b c\r\n", "/a?b%20c%0D%0A"),
        ("a:b", "/a:b"),
        ("/(a)[b];c=d,e!$'*+~@", "/(a)[b];c=d,e!$'*+~@"),
    ],
)
def test_the_pod_is_asked_whatever_the_path_looks_like(path: str, asks: str) -> None:
    url = target(Probe(name="it", kind="http", port=80, path=path), "fd00::1")
    assert (url.host, url.port, url.raw_path_qs) == ("fd00::1", 80, asks)


@pytest.mark.parametrize(
    ("declared", "goes"),
    [
        ((), {"User-Agent": ["kube"], "Accept": ["*/*"]}),
        ((("X", "1"), ("x", "2")), {"X": ["1", "2"], "User-Agent": ["kube"], "Accept": ["*/*"]}),
        ((("accept", "text/plain"), ("user-agent", "me")), {"User-Agent": ["me"], "Accept": ["text/plain"]}),
        ((("Accept", ""), ("User-Agent", "")), {}),
        ((("Host", "shop"), ("host", "x")), {"Host": ["shop"], "User-Agent": ["kube"], "Accept": ["*/*"]}),
        ((("Host", ""),), {"User-Agent": ["kube"], "Accept": ["*/*"]}),
        (
            (("Content-Length", "5"), ("transfer-encoding", "chunked"), ("Trailer", "x")),
            {"User-Agent": ["kube"], "Accept": ["*/*"]},
        ),
    ],
    ids=str,
)
def test_headers(declared: tuple[tuple[str, str], ...], goes: dict[str, list[str]]) -> None:
    headers = sent(Probe(name="it", kind="http", port=80, headers=declared), "kube")
    assert {name: headers.getall(name) for name in goes} == goes
    assert {name.lower() for name in headers} == {name.lower() for name in goes} | {"connection"}


def test_what_an_application_hears() -> None:
    heard: list[bytes] = []
    declared = (("X-Probe", "1"), ("X-Probe", "2"), ("Host", "shop.example"))
    answer, _ = uvloop.run(
        asked(
            redirecting({}, heard), lambda port: probe(port, "/a?b", headers=declared), **{"User-Agent": "kube-probe/1"}
        )
    )
    assert answer == (200, "200")
    assert heard[0].startswith(b"GET /a?b HTTP/1.1\r\n")
    assert sorted(heard[0].lower().splitlines()[1:-1]) == [
        b"accept: */*",
        b"connection: close",
        b"host: shop.example",
        b"user-agent: kube-probe/1",
        b"x-probe: 1",
        b"x-probe: 2",
    ]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_within_the_pod_is_followed(status: int) -> None:
    heard: list[bytes] = []
    answers = {
        "/ready": to("/sub/a", status),
        "/sub/a": to("b b?c", status),
        "/sub/b%20b?c": b"HTTP/1.1 500 No\r\n\r\n",
    }
    answer, _ = uvloop.run(asked(redirecting(answers, heard), lambda port: probe(port, headers=(("Host", "shop"),))))
    assert answer == (500, "500")
    assert [b"Host: shop" in head for head in heard] == [True] * 3


def test_a_redirect_to_the_pods_address_leaves_the_declared_host() -> None:
    async def scene() -> None:
        heard: list[bytes] = []
        async with (
            application(redirecting({}, heard)) as other,
            application(redirecting({"/ready": to(f"http://{HERE}:{other}/x")}, heard)) as port,
            kubelet(probe(port, headers=(("Host", "shop"), ("X", "y")))) as ask,
        ):
            assert await ask() == (200, "200")
        assert b"Host: shop\r\n" in heard[0]
        assert f"Host: {HERE}:{other}\r\n".encode() in heard[1]
        assert b"X: y\r\n" in heard[1]

    uvloop.run(scene())


@pytest.mark.parametrize("location", ["http://elsewhere.invalid/", "//localhost/x", "https://10.0.0.1/", "mailto:a@b"])
def test_a_redirect_elsewhere_is_well_and_not_followed(location: str) -> None:
    heard: list[bytes] = []
    answer, _ = uvloop.run(asked(redirecting({"/ready": to(location)}, heard)))
    assert (answer, len(heard)) == ((200, "302"), 1)


@pytest.mark.parametrize(
    "more", [b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\n\r\n"]
)
def test_a_redirect_to_nowhere_is_well(more: bytes) -> None:
    answer, _ = uvloop.run(asked(says(more)))
    assert answer[0] == 200


def test_redirects_have_an_end() -> None:
    heard: list[bytes] = []
    answer, _ = uvloop.run(asked(redirecting({"/ready": to("/ready")}, heard)))
    assert (answer, len(heard)) == ((503, "stopped after 10 redirects"), 10)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\x00\x00\x04\x00\x00\x00\x00\x00",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 999999 What\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nbroken off",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[::1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: ftp://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:99999/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\xff\xfe\r\nContent-Length: 0\r\n\r\n",
        b"\xff" * 100_000,
    ],
    ids=lambda answer: str(answer[:40]),
)
@pytest.mark.parametrize("stays", [False, True])
def test_what_is_no_answer_is_a_failure(answer: bytes, stays: bool) -> None:
    told, took = uvloop.run(asked(says(answer, stays=stays), lambda port: probe(port, timeout=0.5)))
    assert told[0] == 503
    assert told[1]
    assert took < 3


def test_long_headers_and_long_bodies_are_well() -> None:
    long = (
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 30_000 + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + b"x" * 1024
    )
    endless = long + (b"\r\n400\r\n" + b"x" * 1024) * 20
    answer, _ = uvloop.run(asked(says(endless, stays=True)))
    assert answer == (200, "200")


def test_who_never_answers_has_the_time_out() -> None:
    answer, took = uvloop.run(asked(says(stays=True), lambda port: probe(port, timeout=0.3)))
    assert answer == (503, "no answer within 0.3 s")
    assert 0.25 < took < 2


def test_a_probe_that_is_not_declared() -> None:
    async def scene() -> None:
        async with kubelet() as ask:
            assert await ask() == (404, "no such probe is declared")

    uvloop.run(scene())


def test_a_certificate_is_not_verified(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*forge.save(forge.good(), tmp_path))

    async def scene() -> None:
        async with application(says(OK), context) as port, application(says(OK)) as clear:
            for at, wanted in ((port, 200), (clear, 503)):
                secure = Probe(name="it", kind="http", scheme="https", port=at, timeout=5.0)
                async with kubelet(secure) as ask:
                    assert (await ask())[0] == wanted

    uvloop.run(scene())


def test_a_connection_is_enough_for_a_tcp_probe() -> None:
    async def scene() -> None:
        async with application(says()) as port, kubelet(Probe(name="it", kind="tcp", port=port)) as ask:
            assert await ask() == (200, "200")
        async with kubelet(Probe(name="it", kind="tcp", port=port)) as ask:
            assert (await ask())[0] == 503

    uvloop.run(scene())


def test_many_who_ask_share_one_question() -> None:
    heard = 0
    answering = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        heard += 1
        await answering.wait()
        writer.write(OK)

    async def scene() -> None:
        async with application(slow) as port, kubelet(probe(port, timeout=30.0)) as ask:
            impatient = asyncio.ensure_future(ask())
            await eventually(lambda: heard)
            impatient.cancel()
            patient = [asyncio.ensure_future(ask()) for _ in range(20)]
            await asyncio.sleep(1.0)
            answering.set()
            assert await asyncio.gather(*patient) == [(200, "200")] * 20
            assert heard == 1
            assert await ask() == (200, "200")
            assert heard == 2

    uvloop.run(scene())


@pytest.mark.parametrize(
    "answer", [OK, b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", to("http://elsewhere.invalid/")]
)
def test_any_answer_is_a_hooks_success(answer: bytes) -> None:
    """And the time of a probe, which it has not, does not end it."""

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.4)
        writer.write(answer)

    told, _ = uvloop.run(asked(slow, hook))
    assert told[0] == 200


async def _reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize("serve", [says(), says(b"garbage\r\n\r\n"), _reset], ids=["end", "garbage", "reset"])
def test_a_hook_without_an_answer_fails_by_the_end_of_its_connection(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> None:
    heard = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        heard += 1
        await serve(reader, writer)

    async def scene() -> None:
        async with application(once) as port, kubelet(hook(port)) as ask:
            with pytest.raises(aiohttp.ClientConnectionError):
                await ask()

    uvloop.run(scene())
    assert heard == 1


def test_why_an_application_is_not_well_is_logged_when_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    answers = iter((OK, b"HTTP/1.1 5\r\nX\r\n\r\n", b"", b"", OK, OK))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(next(answers))

    async def scene() -> None:
        async with application(serve) as port, kubelet(probe(port)) as ask:
            assert [(await ask())[0] for _ in range(6)] == [200, 503, 503, 503, 200, 200]

    with caplog.at_level(logging.INFO, "proxy.probes"):
        uvloop.run(scene())
    bad, gone, well = [record.getMessage() for record in caplog.records if record.name == "proxy.probes"]
    assert bad.startswith("probe it: it does not answer in HTTP/1: Bad status line: Invalid status code: b'HTTP/1.1 5'")
    assert bad.isprintable()
    assert (gone, well) == ("probe it: Server disconnected", "probe it: well")
