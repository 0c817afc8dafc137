"""gRPC probes against a server of gRPC's own, and against servers that are anything but."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import time
from collections.abc import Iterator
from concurrent import futures
from subprocess import run

import aiohttp
import grpc
import hpack
import msgspec
import pytest
import uvloop
from eventually import eventually
from kubelet import HERE, application, kubelet, says
from ports import free_port

from proxy.contract.config import File, Listeners, Probe
from proxy.contract.config import Sidecar as Settings
from proxy.grpccall import frame
from proxy.sidecar import Sidecar
from translator.kube.admission.inject import SETTINGS as SETTINGS_OF_A_SIDECAR
from translator.kube.admission.inject import injected
from translator.kube.admission.settings import Injected

SETTINGS = frame(4, 0, 0, b"")
HEAD = frame(1, 4, 1, hpack.Encoder().encode([(":status", "200"), ("content-type", "application/grpc")]))
BODY = frame(0, 0, 1, b"\0\0\0\0\x02\x08\x01")
TRAILERS = frame(1, 5, 1, hpack.Encoder().encode([("grpc-status", "0")]))


def probe(port: int, service: str = "", timeout: float = 5.0) -> Probe:
    return Probe(name="it", kind="grpc", port=port, service=service, timeout=timeout)


def checked(asked: bytes, context: grpc.ServicerContext) -> bytes:
    """``Health/Check`` as bytes: some services, and what is known of them."""
    known = {"": b"\x08\x01", "shop.Cart": b"\x08\x01", "down": b"\x08\x02", "no word": b""}
    service = asked[2:].decode()
    if service == "slow":
        time.sleep(1.5)
    if service == "headers":
        context.send_initial_metadata(
            [("x-agent", dict(context.invocation_metadata())["user-agent"]), ("x", "y" * 4000)]
        )
        service = ""
    if service not in known:
        context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
    return known[service]


def server(*, healthy: bool) -> Iterator[int]:
    """The port of a gRPC server, with a health service or with none."""
    check = grpc.unary_unary_rpc_method_handler(checked)
    there = grpc.server(futures.ThreadPoolExecutor(4))
    if healthy:
        handlers = grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": check})
        there.add_generic_rpc_handlers((handlers,))
    port = there.add_insecure_port(f"{HERE}:0")
    there.start()
    yield port
    there.stop(None).wait()


@pytest.fixture(scope="module")
def healthy() -> Iterator[int]:
    yield from server(healthy=True)


@pytest.fixture(scope="module")
def plain() -> Iterator[int]:
    yield from server(healthy=False)


@pytest.mark.parametrize(
    ("service", "answer"),
    [
        ("", (200, "200")),
        ("shop.Cart", (200, "200")),
        ("headers", (200, "200")),
        ("down", (503, "it is NOT_SERVING")),
        ("no word", (503, "it is UNKNOWN")),
        ("nobody", (503, "it answers grpc-status 5 no such service")),
        ("slow", (503, "no answer within 0.5 s")),
        ("x" * 20000, (503, "20009 bytes do not fit into a frame")),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_server_of_grpc(healthy: int, service: str, answer: tuple[int, str]) -> None:
    async def scene() -> None:
        async with kubelet(probe(healthy, service, 0.5 if service == "slow" else 5.0)) as ask:
            assert await ask() == answer

    uvloop.run(scene())


def test_a_server_without_a_health_service(plain: int) -> None:
    async def scene() -> None:
        async with kubelet(probe(plain)) as ask:
            assert await ask() == (503, "it does not implement grpc.health.v1.Health")

    uvloop.run(scene())


def test_nobody_listens() -> None:
    async def scene() -> None:
        with socket.socket() as sock:
            sock.bind((HERE, 0))
            async with kubelet(probe(sock.getsockname()[1])) as ask:
                status, text = await ask()
        assert status == 503
        assert "Connect" in text or "refused" in text

    uvloop.run(scene())


@pytest.mark.parametrize(
    ("pieces", "why"),
    [
        ((b"",), "it ends the connection without an answer"),
        ((SETTINGS, HEAD, BODY), "it ends the connection without an answer"),
        ((b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",), "it does not speak HTTP/2 in the clear"),
        ((b"\x15\x03\x01\x00\x02\x02\x16",) * 3, "it does not speak HTTP/2 in the clear"),
        ((b"\xff" * 4096,) * 64, "it does not speak HTTP/2 in the clear"),
        ((SETTINGS, frame(7, 0, 0, b"\0\0\0\0\0\0\0\x0bcalm down")), "it ends the connection, error 11"),
        ((SETTINGS, frame(3, 0, 1, b"\0\0\0\x08")), "it resets the call, error 8"),
        ((SETTINGS, frame(1, 0, 1, b"\0\x01x\x7f" + b"\xff" * 99)), "it ends the connection without an answer"),
        ((SETTINGS, frame(1, 4, 1, b"\0\x01x" + b"\xff" * 99)), "its headers are unreadable"),
        (
            (SETTINGS, frame(1, 0, 1, b"\0" * 16384), *[frame(9, 0, 1, b"\0" * 16384)] * 40),
            "it answers more than 60000 bytes",
        ),
        ((SETTINGS, HEAD, *[frame(0, 0, 1, b"\0" * 16384)] * 40), "it answers more than 60000 bytes"),
        ((SETTINGS, *[frame(6, 0, 0, b"pingpong") * 1000] * 40), "it answers more than 60000 bytes"),
    ],
    ids=range(12),
)
@pytest.mark.parametrize("stays", [False, True])
def test_whatever_else_answers_is_not_well(pieces: tuple[bytes, ...], why: str, stays: bool) -> None:
    """At once where it can be seen; within the time-out where the server goes on."""
    patience = 0.3 if stays and "without an answer" in why else 5.0

    async def scene() -> None:
        async with application(says(*pieces, stays=stays)) as port, kubelet(probe(port, timeout=patience)) as ask:
            start = time.monotonic()
            status, text = await ask()
            assert time.monotonic() - start < 4
        assert status == 503
        assert text.startswith("no answer within 0.3 s" if patience < 1 else why)

    uvloop.run(scene())


def test_a_farewell_does_not_keep_it_from_answering() -> None:
    farewell = frame(7, 0, 0, b"\0\0\0\1\0\0\0\0")

    async def scene() -> None:
        async with application(says(SETTINGS, farewell, HEAD, BODY, TRAILERS)) as port, kubelet(probe(port)) as ask:
            assert await ask() == (200, "200")

    uvloop.run(scene())


def test_a_reset_connection_is_a_failure() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async def scene() -> None:
        async with application(reset) as port, kubelet(probe(port)) as ask:
            status, text = await ask()
        assert status == 503
        assert "reset" in text.lower()

    uvloop.run(scene())


def test_a_server_that_sends_slowly_has_the_time_out_and_no_longer() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SETTINGS)
        while not writer.is_closing():
            writer.write(frame(6, 0, 0, b"pingpong"))
            await writer.drain()
            await asyncio.sleep(0.01)

    async def scene() -> None:
        async with application(drip) as port, kubelet(probe(port, timeout=0.3)) as ask:
            start = time.monotonic()
            assert await ask() == (503, "no answer within 0.3 s")
            assert time.monotonic() - start < 2

    uvloop.run(scene())


def test_from_the_pods_yaml_to_the_servers_answer(healthy: int) -> None:
    """What the injection tells a sidecar, a whole sidecar serves where the kubelet is told to ask."""
    container = {
        "name": "web",
        "ports": [{"name": "grpc", "containerPort": healthy}],
        "readinessProbe": {"grpc": {"port": healthy, "service": "shop.Cart"}},
        "livenessProbe": {"grpc": {"port": healthy, "service": "down"}},
    }
    spec = injected({"spec": {"containers": [container]}}, {}, Injected(), "")["spec"]
    (told,) = (one["value"] for one in spec["initContainers"][0]["env"] if one["name"] == SETTINGS_OF_A_SIDECAR)
    probes = msgspec.json.decode(told, type=File).sidecar.probes
    admin = free_port()
    listeners = Listeners(address=HERE, outbound=free_port(), mesh=0, admin=admin)
    settings = Settings(pod="web-0", namespace="shop", service_account="web", listeners=listeners, probes=probes)

    async def scene() -> list[int]:
        stop = asyncio.Event()
        running = asyncio.create_task(Sidecar(File(sidecar=settings), asyncio.get_running_loop()).run(stop))
        told = []
        async with aiohttp.ClientSession(base_url=f"http://{HERE}:{admin}") as session:
            await eventually(lambda: _open(admin))
            for place in ("readinessProbe", "livenessProbe"):
                async with session.get(spec["containers"][0][place]["httpGet"]["path"]) as answer:
                    told.append(answer.status)
        stop.set()
        await running
        return told

    assert uvloop.run(scene()) == [200, 503]


def _open(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((HERE, port)) == 0


def test_what_reads_headers_is_loaded_with_the_first_such_probe_only() -> None:
    code = "import sys, proxy.__main__, proxy.sidecar; print('hpack' in sys.modules)"
    done = run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
