"""Sidecars in hundreds: real control streams (mTLS, WebSocket, the contract) without anything behind them.

Each takes up what it is pushed as a sidecar does, short of building a table, and acknowledges it. The framing is done
by hand: a client library would cost more than the controller that is measured.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from proxy.contract.config import Config
from proxy.contract.messages import Ack, Hello, Push, Up, decode_down, encode
from proxy.contract.patch import patched
from proxy.newkey import new_key_and_request
from proxy.subscribe import STREAM_PATH
from proxy.tls import Pair, control_context
from translator.identity.authority import Authority
from translator.identity.subject import SidecarIdentity

TLS_RECORD = 22
"""Bytes around each record's content in TLS 1.3: header, content type, tag (RFC 8446 §5.2)."""

_UPGRADE = (
    f"GET {STREAM_PATH} HTTP/1.1\r\nHost: controller\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """Whose sidecar it is, and what its application has asked for."""

    namespace: str
    name: str
    account: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Taken:
    """One push: bytes on the wire (frame and TLS record), and when it was acknowledged (``time.perf_counter``)."""

    wire: int
    at: float


class Stream(asyncio.Protocol):
    """One sidecar's control stream."""

    def __init__(self, pod: Pod, told: Callable[[Stream, Taken], None]) -> None:
        self.pod = pod
        self.config = Config()
        self.lost = False
        self._told = told
        self._buffer = bytearray()
        self._open = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks for the stream."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass
        self._transport.write(_UPGRADE)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is not opened again."""
        self.lost = True

    def close(self) -> None:
        """Ends the stream."""
        self._transport.abort()

    def say(self, message: Up) -> None:
        """Sends one message."""
        self._send(2, encode(message))

    def data_received(self, data: bytes) -> None:
        """Whole frames are taken up, the rest waits."""
        self._buffer += data
        if not self._open:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                raise ConnectionError(head.decode("latin-1"))
            self._open, self._buffer = True, rest
            self.say(Hello(hosts=self.pod.hosts, reports=True, compact=True))
        while (frame := self._frame()) is not None:
            self._heard(*frame)

    def _frame(self) -> tuple[int, bytes, int] | None:
        """Opcode, payload and length of the next frame (RFC 6455 §5.2; the server's are not masked)."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, begin = buffer[1] & 127, 2
        if size > 125:
            begin = 4 if size == 126 else 10
            size = int.from_bytes(buffer[2:begin], "big")
        if len(buffer) < begin + size:
            return None
        opcode, payload = buffer[0] & 15, bytes(buffer[begin : begin + size])
        del buffer[: begin + size]
        return opcode, payload, begin + size

    def _heard(self, opcode: int, payload: bytes, length: int) -> None:
        if opcode == 9:
            self._send(10, payload)
        elif opcode == 2:
            message = decode_down(payload)
            if isinstance(message, Push):
                self.config = patched(self.config if message.base else Config(), message)
                self.say(Ack(version=message.version))
                self._told(self, Taken(length + TLS_RECORD, time.perf_counter()))

    def _send(self, opcode: int, payload: bytes) -> None:
        size = len(payload)
        head = (
            bytes((0x80 | opcode, 0x80 | size))
            if size < 126
            else bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
        )
        self._transport.write(head + bytes(4) + payload)  # masked with zeros: as it is


class Swarm:
    """Sidecars of one controller. ``told`` hears of every push that was taken."""

    def __init__(self, authority: Authority, port: int, told: Callable[[Stream, Taken], None]) -> None:
        self.streams: list[Stream] = []
        self._authority, self._port, self._told = authority, port, told

    def context(self, pod: Pod) -> ssl.SSLContext:
        """With a certificate of its own."""
        identity = SidecarIdentity(namespace=pod.namespace, service_account=pod.account, pod=pod.name)
        key, request = new_key_and_request(identity.spiffe_id(self._authority.trust_domain))
        return control_context(
            Pair(certificate=self._authority.issue(request, identity), key=key), self._authority.bundle
        )

    async def connect(self, pods: Iterable[Pod]) -> list[Stream]:
        """Opens a stream for each, some at a time."""
        loop, gate = asyncio.get_running_loop(), asyncio.Semaphore(16)

        async def one(pod: Pod) -> Stream:
            async with gate:
                context = self.context(pod)
                _, stream = await loop.create_connection(
                    lambda: Stream(pod, self._told), "127.0.0.1", self._port, ssl=context, server_hostname=""
                )
                return stream

        fresh = list(await asyncio.gather(*(one(pod) for pod in pods)))
        self.streams += fresh
        return fresh

    def close(self) -> None:
        """Ends all streams."""
        for stream in self.streams:
            stream.close()


async def shake_hands(context: ssl.SSLContext, port: int, seconds: float, at_once: int) -> int:
    """Full mTLS handshakes with the control port, one after the other; how many there were."""
    loop = asyncio.get_running_loop()
    until, done = loop.time() + seconds, 0

    async def worker() -> None:
        nonlocal done
        while loop.time() < until:
            transport, _ = await loop.create_connection(
                asyncio.Protocol, "127.0.0.1", port, ssl=context, server_hostname=""
            )
            transport.abort()
            done += 1

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return done


def epoch() -> str:
    """One life of a sidecar, for its reports."""
    return os.urandom(4).hex()


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]
