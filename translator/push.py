"""The control stream's end in the controller: one WebSocket over mTLS per sidecar.

Who is there is read from the certificate, never from what is said. Each stream
has a reader (this handler's task) and a writer, which sends what
``translator.publish`` says is next: a sidecar that is slow or stuck keeps only
its own writer waiting, and is dropped when it stays silent. What to send comes
from ``translator.reconcile``, reports go to ``translator.collect``.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from proxy.contract.messages import Ack, Ask, Hello, Nack, Observe, Up, decode_up, encode
from proxy.contract.report import Report
from proxy.contract.spiffe import Peer, PeerRejected
from translator.collect import Collector, Intake
from translator.identity.authority import Authority
from translator.identity.enrol import sidecar_of
from translator.identity.serving import peer_of
from translator.identity.subject import BadIdentity
from translator.publish import Slot
from translator.reconcile import Reconciler, Subscriber

STREAM_PATH = "/v1/stream"

MAX_FRAME_BYTES = 1 << 20
"""Largest frame from a sidecar: a Hello with 1,024 hosts of 253 characters is a quarter of it."""

HEARTBEAT_SECONDS = 10.0
"""A ping this often; a sidecar that does not answer within half of it is dropped."""

HELLO_SECONDS = 5.0
"""For the first frame; until then a stream costs memory and says nothing."""

SEND_SECONDS = 5.0
"""For handing a frame to the socket: only a peer that stopped reading takes longer."""

ACK_SECONDS = 10.0
"""For the answer to a push; building a table takes milliseconds."""

log = logging.getLogger("translator.push")


class ProtocolBroken(Exception):
    """The sidecar erred: a frame that cannot be read, or not at this time."""


class Publisher:
    """Serves ``GET /v1/stream`` to sidecars that show a certificate of ``authority``."""

    def __init__(self, reconciler: Reconciler, authority: Authority, collector: Collector) -> None:
        self._reconciler = reconciler
        self._authority = authority
        self._collector = collector
        self._transports: dict[str, asyncio.Transport] = {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One stream, from the handshake to its end. 403 without a certificate that names one pod of the mesh."""
        try:
            peer = peer_of(request, self._authority)
            sidecar = sidecar_of(peer)
        except (PeerRejected, BadIdentity) as error:
            log.warning("stream refused peer=%s reason=%s", request.remote, error)
            return web.Response(status=403, text=f"{error}\n")
        pod = f"{sidecar.namespace}/{sidecar.pod}"
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT_SECONDS, compress=False, max_msg_size=MAX_FRAME_BYTES)
        await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket
        try:
            await self._serve(pod, peer, socket, transport)
        except (ProtocolBroken, TimeoutError, ConnectionError) as error:
            log.warning("stream ended pod=%s reason=%s", pod, str(error) or type(error).__name__)
            transport.abort()
        return socket

    async def _serve(self, pod: str, peer: Peer, socket: web.WebSocketResponse, transport: asyncio.Transport) -> None:
        async with asyncio.timeout(HELLO_SECONDS):
            hello = await _receive(socket)
        if not isinstance(hello, Hello):
            raise ProtocolBroken("the first frame is no Hello")
        self._replace(pod, transport)
        subscriber = self._reconciler.opened(pod, peer.identity, hello, peer.issuer)
        log.info("stream open pod=%s version=%d build=%s", pod, hello.version, hello.build[:40])
        try:
            if hello.reports:
                await _send(socket, encode(Observe(seconds=self._collector.interval)))
            async with asyncio.TaskGroup() as group:
                writer = group.create_task(self._write(subscriber, socket), name=f"pushes to {pod}")
                await self._read(subscriber, socket, self._collector.intake(pod))
                writer.cancel()
        except* (ProtocolBroken, TimeoutError, ConnectionError) as errors:
            raise ProtocolBroken(str(errors.exceptions[0]) or type(errors.exceptions[0]).__name__) from errors
        finally:
            if self._transports.get(pod) is transport:
                del self._transports[pod]
                self._reconciler.closed(subscriber)
                log.info("stream closed pod=%s", pod)

    def _replace(self, pod: str, transport: asyncio.Transport) -> None:
        """The newest stream of a pod is the one that counts: an older one is from before a restart or a cut."""
        older = self._transports.get(pod)
        self._transports[pod] = transport
        if older is not None:
            older.abort()

    async def _read(self, subscriber: Subscriber, socket: web.WebSocketResponse, intake: Intake) -> None:
        slot = subscriber.slot
        while True:
            message = await _receive(socket)
            if message is None or subscriber.slot is not slot:
                return
            match message:
                case Ack():
                    self._reconciler.acked(subscriber, message.version)
                case Nack():
                    self._reconciler.nacked(subscriber, message)
                case Ask():
                    self._reconciler.asked(subscriber, message.hosts)
                case Report():
                    await _send(socket, encode(intake.take(message)))
                case Hello():
                    raise ProtocolBroken("a second Hello")

    async def _write(self, subscriber: Subscriber, socket: web.WebSocketResponse) -> None:
        slot, clock = subscriber.slot, self._reconciler.clock
        while subscriber.slot is slot:
            subscriber.changed.clear()
            wait = slot.wait(clock())
            if wait == 0:
                await self._push(subscriber, socket)
            elif wait is not None:
                await _changed(subscriber, wait)
            elif slot.in_flight is None:
                await subscriber.changed.wait()
            else:
                await self._answer(subscriber, slot)

    async def _answer(self, subscriber: Subscriber, slot: Slot) -> None:
        """Waits for something to change while a push is on its way."""
        left = slot.sent_at + ACK_SECONDS - self._reconciler.clock()
        if not await _changed(subscriber, left):
            raise TimeoutError(f"a push was not answered in {ACK_SECONDS:g} s")

    async def _push(self, subscriber: Subscriber, socket: web.WebSocketResponse) -> None:
        push = subscriber.slot.take(self._reconciler.clock())
        try:
            frame = encode(push)
        except (msgspec.MsgspecError, OverflowError, ValueError) as error:
            refusal = Nack(reason=f"cannot be encoded: {error}", current=push.base, version=push.version)
            self._reconciler.nacked(subscriber, refusal)
            return
        counts = self._reconciler.counts
        counts.pushes += 1
        counts.push_bytes += len(frame)
        log.debug("push pod=%s version=%d base=%d bytes=%d", subscriber.pod, push.version, push.base, len(frame))
        await _send(socket, frame)


async def _send(socket: web.WebSocketResponse, frame: bytes) -> None:
    async with asyncio.timeout(SEND_SECONDS):
        await socket.send_bytes(frame)


async def _receive(socket: web.WebSocketResponse) -> Up | None:
    """The next message; None when the stream has ended. Raises ``ProtocolBroken``."""
    message = await socket.receive()
    if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED):
        return None
    if message.type is not WSMsgType.BINARY:
        raise ProtocolBroken(f"{message.type.name} frame: {message.data!r}"[:200])
    try:
        return decode_up(message.data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        await socket.close(code=WSCloseCode.PROTOCOL_ERROR, message=b"cannot be read")
        raise ProtocolBroken(f"frame cannot be read: {error}") from error


async def _changed(subscriber: Subscriber, seconds: float) -> bool:
    """Whether something changed within so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await subscriber.changed.wait()
    except TimeoutError:
        return False
    return True
