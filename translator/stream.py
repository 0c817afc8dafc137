"""One control stream as the controller keeps it: thousands are open, so each is a protocol and no task.

What a sidecar says is taken up as it comes, and what ``translator.publish`` says is next goes out in the same moment
in which it becomes known (``translator.reconcile`` wakes the stream). Nothing waits for a sidecar: to one that is slow
or stuck no more is written, and it is dropped when it stays so. All deadlines are seen to by one round through all
streams (``Streams``), not by timers of their own. Next: ``translator.push`` (who may open one),
``translator.websocket`` (frames).
"""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter
from typing import Final

import msgspec

from proxy.contract.messages import Ack, Ask, Hello, Nack, Observe, Up, decode_up, deflated, encode
from proxy.contract.report import Report
from proxy.contract.spiffe import Peer
from translator import websocket
from translator.collect import Collector, Intake
from translator.publish import Slot
from translator.reconcile import MAX_REASON_CHARS, Reconciler, Subscriber, nobody, one_line

MAX_FRAME_BYTES: Final = 1 << 20
"""Largest message from a sidecar: a Hello with 1,024 hosts of 253 characters is a quarter of it."""

READ_BYTES: Final = 64 * 1024
"""Read at once. The buffer is shared, for what is read is taken up before anything else is."""

HEARTBEAT_SECONDS: Final = 10.0
"""Of silence until a ping; a sidecar that does not answer within half of it is dropped."""

HELLO_SECONDS: Final = 5.0
"""For the first message; until then a stream costs memory and says nothing."""

SEND_SECONDS: Final = 5.0
"""For reading what was sent: only a peer that stopped reading takes longer."""

ACK_SECONDS: Final = 10.0
"""For the answer to a push; building a table takes milliseconds."""

CREDIT_SECONDS: Final = 0.25
SHARE: Final = 0.05
"""Of the controller's time, what one sidecar's messages may cost at once, and of each second after that. From one that
costs more nothing is read for a while: it would be for all others to wait for."""

REST_SECONDS: Final = 5.0
"""At most without reading, so that it is not taken for silence."""

ROUND_SECONDS: Final = 1.0
STEPS: Final = 20
"""Each stream's deadlines are looked at once a round, some streams at a step: a thousand pings at once are felt."""

log = logging.getLogger("translator.push")


class ProtocolBroken(Exception):
    """The sidecar erred: a message that cannot be read, or not at this time."""


class Streams:
    """All that are open, and what they share. For one event loop."""

    def __init__(self, reconciler: Reconciler, collector: Collector) -> None:
        self.reconciler = reconciler
        self.collector = collector
        self.buffer = memoryview(bytearray(READ_BYTES))
        self._open: dict[Stream, None] = {}
        self._newest: dict[str, Stream] = {}
        self._left: dict[Stream, None] = {}
        """To be looked at in this round."""
        self._timer: asyncio.TimerHandle | None = None

    def opened(self, stream: Stream) -> None:
        """Its deadlines are seen to from now on."""
        self._open[stream] = None
        if self._timer is None:
            self._later()

    def greeted(self, stream: Stream) -> None:
        """The newest stream of a pod is the one that counts: an older one is from before a restart or a cut."""
        older = self._newest.get(stream.pod)
        self._newest[stream.pod] = stream
        if older is not None:
            older.abort()

    def ended(self, stream: Stream) -> bool:
        """Whether it was its pod's newest."""
        self._open.pop(stream, None)
        self._left.pop(stream, None)
        if self._newest.get(stream.pod) is not stream:
            return False
        del self._newest[stream.pod]
        return True

    def close(self) -> None:
        """All sidecars are told to go elsewhere."""
        for stream in tuple(self._open):
            stream.close(websocket.GOING_AWAY)
        if self._timer is not None:
            self._timer.cancel()

    def _later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(ROUND_SECONDS / STEPS, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._left:
            self._left = dict(self._open)
        for _ in range(len(self._open) // STEPS + 1):
            if self._left:
                self._left.popitem()[0].look()
        if self._open:
            self._later()


class Stream(asyncio.BufferedProtocol):
    """One sidecar's. ``peer`` is who its certificate says it is, ``pod`` (``namespace/name``) what of that counts."""

    __slots__ = (
        "_cost",
        "_cost_at",
        "_heard",
        "_incoming",
        "_intake",
        "_loop",
        "_opened",
        "_over",
        "_paused",
        "_peer",
        "_pinged",
        "_rest",
        "_slot",
        "_streams",
        "_subscriber",
        "_timer",
        "_transport",
        "pod",
    )

    def __init__(self, streams: Streams, pod: str, peer: Peer, transport: asyncio.Transport) -> None:
        self.pod = pod
        self._streams, self._peer, self._transport = streams, peer, transport
        self._loop = asyncio.get_running_loop()
        self._incoming = websocket.Incoming(MAX_FRAME_BYTES)
        self._subscriber: Subscriber | None = None
        self._slot: Slot | None = None
        self._intake: Intake | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._opened = self._heard = self._loop.time()
        self._pinged: float | None = None
        self._paused: float | None = None
        """Since when what is written has to wait, and so what would be read as well."""
        self._cost, self._cost_at = 0.0, self._opened
        """Seconds spent on it above its share, and when that was."""
        self._rest: asyncio.TimerHandle | None = None
        """Set while nothing is read of it because it cost too much."""
        self._over = False
        streams.opened(self)

    # -- what the transport tells --------------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        """See ``asyncio.BufferedProtocol``."""
        del sizehint
        return self._streams.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Takes up what has come."""
        if self._over:
            return
        began = perf_counter()
        self._heard, self._pinged = self._loop.time(), None
        self._take_up(nbytes)
        self._account(perf_counter() - began)

    def _take_up(self, nbytes: int) -> None:
        try:
            messages = self._incoming.feed(bytes(self._streams.buffer[:nbytes]))
            for opcode, payload in messages:
                if opcode != websocket.PING and not self._over:
                    self._take(opcode, payload)
            self._answer(messages)
        except websocket.BadFrame as error:
            self._refuse(str(error), error.code)
        except ProtocolBroken as error:
            self._refuse(str(error), websocket.PROTOCOL_ERROR)

    def connection_lost(self, exc: Exception | None) -> None:
        """The stream has ended, whoever ended it."""
        del exc
        self._end()

    def pause_writing(self) -> None:
        """It reads more slowly than we write: until it has caught up nothing is pushed, and nothing heard of it."""
        self._paused = self._loop.time()
        if self._rest is None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._paused = None
        if self._rest is None:
            self._transport.resume_reading()
        self.pump()

    # -- what others tell ----------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Sends what is due, or sees to it that it will be sent when it is."""
        slot = self._slot
        if self._over or self._paused is not None or slot is None:
            return
        wait = slot.wait(self._streams.reconciler.clock())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wait is None:
            return
        if wait > 0:
            self._timer = self._loop.call_later(wait, self.pump)
            return
        try:
            self._push(slot)
        except Exception:
            # Whoever woke us has all others to see to as well.
            log.exception("push failed pod=%s", self.pod)
            self.abort()

    def look(self) -> None:
        """Drops a sidecar that should have been heard of by now, and pings one that is silent."""
        now, slot = self._loop.time(), self._slot
        if self._over:
            return
        if slot is None:
            if now - self._opened > HELLO_SECONDS:
                self._drop(f"no Hello in {HELLO_SECONDS:g} s")
        elif self._paused is not None and now - self._paused > SEND_SECONDS:
            self._drop(f"it has not read in {SEND_SECONDS:g} s")
        elif slot.in_flight is not None and self._streams.reconciler.clock() - slot.sent_at > ACK_SECONDS:
            self._drop(f"a push was not answered in {ACK_SECONDS:g} s")
        elif self._rest is not None:
            pass  # what it says is not read
        elif self._pinged is not None:
            if now - self._pinged > HEARTBEAT_SECONDS / 2:
                self._drop(f"a ping was not answered in {HEARTBEAT_SECONDS / 2:g} s")
        elif now - self._heard > HEARTBEAT_SECONDS:
            self._pinged = now
            self._write(websocket.PING, b"")

    def close(self, code: int) -> None:
        """Ends the stream in order."""
        if not self._over:
            self._leave(websocket.closing(code))

    def abort(self) -> None:
        """Ends the stream at once."""
        self._transport.abort()
        self._end()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _take(self, opcode: int, payload: bytes) -> None:
        match opcode:
            case websocket.BINARY:
                self._hear(_read(payload))
            case websocket.PONG:
                pass
            case websocket.CLOSE:
                self._leave(websocket.frame(websocket.CLOSE, payload))
            case _:
                raise ProtocolBroken("a text, where messages are binary")

    def _account(self, took: float) -> None:
        """Reads nothing for a while of one that costs too much."""
        subscriber, now = self._subscriber, self._heard
        if self._over:
            return
        if subscriber is not None:
            took += subscriber.cost
            subscriber.cost = 0.0
        self._cost = max(0.0, self._cost - (now - self._cost_at) * SHARE) + took
        self._cost_at = now
        if self._cost > CREDIT_SECONDS and self._rest is None:
            log.debug("too much is heard of pod=%s", self.pod)
            if self._paused is None:
                self._transport.pause_reading()
            rest = min((self._cost - CREDIT_SECONDS) / SHARE, REST_SECONDS)
            self._rest = self._loop.call_later(rest, self._rested)

    def _rested(self) -> None:
        self._rest = None
        self._heard = self._loop.time()
        if self._paused is None and not self._over:
            self._transport.resume_reading()

    def _answer(self, messages: list[websocket.Message]) -> None:
        """Of several pings the last one is answered (RFC 6455 §5.5.3)."""
        pings = [payload for opcode, payload in messages if opcode == websocket.PING]
        if pings and not self._over:
            self._write(websocket.PONG, pings[-1])

    def _leave(self, last: bytes) -> None:
        """Ends the stream in order, and at once if the sidecar does not take part in that."""
        self._transport.write(last)
        self._transport.close()
        self._loop.call_later(SEND_SECONDS, self._transport.abort)
        self._end()

    def _hear(self, message: Up) -> None:
        subscriber, reconciler = self._subscriber, self._streams.reconciler
        if subscriber is None:
            if not isinstance(message, Hello):
                raise ProtocolBroken("the first message is no Hello")
            self._greet(message)
            return
        match message:
            case Ack():
                reconciler.acked(subscriber, message.version)
            case Nack():
                reconciler.nacked(subscriber, message)
            case Ask():
                reconciler.asked(subscriber, message.hosts)
            case Report():
                if self._intake is None:
                    self._intake = self._streams.collector.intake(self.pod)
                self._write(websocket.BINARY, encode(self._intake.take(message)))
            case Hello():
                raise ProtocolBroken("a second Hello")

    def _greet(self, hello: Hello) -> None:
        self._streams.greeted(self)
        subscriber = self._streams.reconciler.opened(self.pod, self._peer.identity, hello, self._peer.issuer)
        subscriber.wake = self.pump
        self._subscriber, self._slot = subscriber, subscriber.slot
        log.info("stream open pod=%s version=%d build=%s", self.pod, hello.version, one_line(hello.build[:40]))
        if hello.reports:
            self._write(websocket.BINARY, encode(Observe(seconds=self._streams.collector.interval)))

    def _push(self, slot: Slot) -> None:
        reconciler, subscriber = self._streams.reconciler, self._subscriber
        if subscriber is None or subscriber.slot is not slot:
            return
        push = slot.take(reconciler.clock())
        try:
            message = encode(push)
            if slot.compact:
                message = deflated(message)
        except (msgspec.MsgspecError, OverflowError, ValueError) as error:
            refusal = Nack(reason=f"cannot be encoded: {error}", current=push.base, version=push.version)
            reconciler.nacked(subscriber, refusal)
            return
        reconciler.counts.pushes += 1
        reconciler.counts.push_bytes += len(message)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("push pod=%s version=%d base=%d bytes=%d", self.pod, push.version, push.base, len(message))
        self._write(websocket.BINARY, message)

    def _write(self, opcode: int, payload: bytes) -> None:
        self._transport.write(websocket.frame(opcode, payload))

    def _refuse(self, reason: str, code: int) -> None:
        log.warning("stream ended pod=%s reason=%s", self.pod, one_line(reason[:MAX_REASON_CHARS]))
        self.close(code)

    def _drop(self, reason: str) -> None:
        log.warning("stream ended pod=%s reason=%s", self.pod, reason)
        self.abort()

    def _end(self) -> None:
        """Whatever comes now comes too late."""
        if self._over:
            return
        self._over = True
        for timer in (self._timer, self._rest):
            if timer is not None:
                timer.cancel()
        self._timer = self._rest = None
        newest, subscriber = self._streams.ended(self), self._subscriber
        if newest and subscriber is not None:
            subscriber.wake = nobody
            subscriber.cost += self._cost  # by connecting again nobody gets rid of it
            self._streams.reconciler.closed(subscriber)
            log.info("stream closed pod=%s", self.pod)


def _read(payload: bytes) -> Up:
    try:
        return decode_up(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolBroken(f"a message cannot be read: {error}") from error
