"""The sidecar's end of the control stream: what the controller pushes is checked, put in force and kept on disk.

One connection at a time, made anew for ever. On each the sidecar says what it
runs on (``Hello``); each push is read, checked against what is in force
(``judge``), handed to ``apply``, which builds a table and swaps it, and
acknowledged. Whatever is wrong with a push is answered by a NACK and changes
nothing. Neighbours: ``proxy.contract`` (the frames), ``proxy.tls`` (whom we
speak to), ``proxy.lastgood`` (the disk); the request path calls ``resolve``.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import msgspec

from proxy import lastgood
from proxy.contract.check import contradictions, is_host
from proxy.contract.config import Config, Control, Host, Sidecar
from proxy.contract.messages import (
    MAX_FRAME_BYTES,
    Ack,
    Ask,
    Counted,
    Down,
    Hello,
    Nack,
    Observe,
    Push,
    Up,
    decode_down,
    encode,
)
from proxy.contract.patch import digest, patched
from proxy.contract.weights import WrongNumber
from proxy.controller import controller_session, controller_url
from proxy.errors import ConfigRejected, Reason, SettingsError, Unavailable
from proxy.reporting import Reporter
from proxy.tls import Contexts

STREAM_PATH = "/v1/stream"

MAX_WAITING = 1024
"""Hosts asked for and not answered yet; beyond it requests fail at once instead of piling up behind a dead link."""

HOSTS_PER_ASK = 256
"""Keeps an Ask below 64 KiB, so that it passes the controller's limit on frames."""

CONNECT_SECONDS = 5.0
"""For TCP, TLS and the WebSocket handshake together; the controller is near."""

CONNECT_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)

HEARTBEAT_SECONDS = 5.0
"""A ping this often; an answer missing for half of it ends the stream: a stalled controller is left in 7.5 s."""

CLOSE_SECONDS = 1.0
"""For the goodbye of a stream that ends: nothing is lost with it, and a stalled controller gives none."""

FIRST_DELAY_SECONDS = 0.05
"""Wait before the first reconnect: a restarted controller is back within a second."""

MAX_DELAY_SECONDS = 5.0
"""Longest wait: what a mesh of 5,000 sidecars per replica can bear as steady load while a controller is down."""

SETTLED_SECONDS = 10.0
"""A stream that lived this long (or brought a config) worked: the next wait is the first one again."""

log = logging.getLogger("proxy.subscribe")


def backoff(failures: int, jitter: float) -> float:
    """Seconds to wait after so many failures in a row (≥ 1); ``jitter`` in [0, 1) takes off up to half of it."""
    whole = min(MAX_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(failures - 1, 30))
    return whole * (1.0 - jitter / 2.0)


def read(current: Config, frame: bytes) -> Down | Nack:
    """What a frame from the controller says, or that it cannot be read. Pure."""
    try:
        return decode_down(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return Nack(reason=f"cannot be read: {error}", current=current.version)


def judge(current: Config, push: Push) -> Config | Nack:
    """The config that a push makes of the one in force, or why it is refused. Pure."""
    if push.base not in (0, current.version):
        return Nack(reason=f"base {push.base} is not in force", current=current.version, version=push.version)
    if push.version <= current.version:
        return Nack(reason=f"version {push.version} is not newer", current=current.version, version=push.version)
    try:
        candidate = patched(current if push.base else Config(), push)
    except WrongNumber as error:
        return Nack(reason=str(error), current=current.version, version=push.version)
    reasons = contradictions(candidate)
    if reasons:
        return Nack(reason="; ".join(reasons), current=current.version, version=push.version)
    return candidate


class Subscription:
    """The config in force and the stream that changes it.

    ``apply`` puts a config in force, in one step, or raises ``ConfigRejected``
    and changes nothing; it is not called for ``initial``. ``contexts`` gives
    the TLS contexts of the moment. ``reporter`` sends what was counted. ``jitter`` gives numbers in [0, 1).
    """

    def __init__(
        self,
        sidecar: Sidecar,
        contexts: Callable[[], Contexts],
        apply: Callable[[Config], None],
        initial: Config,
        *,
        reporter: Reporter | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.sidecar = sidecar
        self.current = initial
        self.connected = False
        """Whether the stream stands, for ``/ready`` and ``/metrics``."""
        self.last_nack = ""
        """Why the last refused push was refused."""
        self._contexts = contexts
        self._apply = apply
        self._reporter = reporter
        self._jitter = jitter
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._vain: set[str] = set()
        self._unsent: list[str] = []
        self._to_ask = asyncio.Event()
        self._to_reconnect = asyncio.Event()
        self._to_store = asyncio.Event()

    async def run(self) -> None:
        """Keeps the stream up until cancelled. Needs ``sidecar.control``."""
        async with asyncio.TaskGroup() as group:
            if self.sidecar.state:
                group.create_task(self._keep_on_disk(Path(self.sidecar.state)), name="last good config")
            group.create_task(self._keep_connected(), name="control stream")

    def reconnect(self) -> None:
        """A new certificate is in force: the stream, which was opened with the last one, is opened anew with it.

        So it never outlives its certificate, and the controller sees who holds one of which issuer.
        """
        self._to_reconnect.set()

    async def resolve(self, host: str, seconds: float) -> Host:
        """What a canonical host name means, asked of the controller unless known. Waits ``seconds`` at most.

        Raises ``Unavailable`` when there was no answer in time. The question stays open: a late
        answer still comes into ``current``, and a new stream begins with all open questions. While
        there is no stream nobody waits for a question a second time.
        """
        known = self.current.hosts.get(host)
        if known is not None:
            return known
        if not is_host(host):
            return Host()
        if host in self._vain and not self.connected:
            raise _unanswered(host, "there is no controller to ask")
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(self._ask(host))
        except TimeoutError:
            self._vain.add(host)
            raise _unanswered(host, f"the controller did not answer in {seconds:g} s") from None
        known = self.current.hosts.get(host)
        if known is None:
            raise _unanswered(host, "the answer was taken back at once")
        return known

    def _ask(self, host: str) -> asyncio.Future[None]:
        waiting = self._waiting.get(host)
        if waiting is not None:
            return waiting
        if len(self._waiting) >= MAX_WAITING:
            raise _unanswered(host, f"{MAX_WAITING} other names wait for the controller")
        self._waiting[host] = answer = asyncio.get_running_loop().create_future()
        self._unsent.append(host)
        self._to_ask.set()
        return answer

    async def _keep_connected(self) -> None:
        control = self.sidecar.control
        if control is None:
            raise SettingsError("a sidecar without a controller has nothing to subscribe to")
        failures = 0
        async with controller_session(control, self.sidecar.trust_domain, _now, CONNECT_TIMEOUT) as session:
            while True:
                began, version = time.monotonic(), self.current.version
                try:
                    await self._stream(session, control)
                except (aiohttp.ClientError, OSError) as error:
                    log.warning("control stream lost error=%s", str(error) or type(error).__name__)
                except Exception:
                    # Our own mistake must not end the data path: it serves on with what it has.
                    log.exception("control stream failed")
                else:
                    log.info("control stream closed")
                if self._to_reconnect.is_set():
                    continue
                if self.current.version != version or time.monotonic() - began > SETTLED_SECONDS:
                    failures = 0
                failures += 1
                await asyncio.sleep(backoff(failures, self._jitter()))

    async def _stream(self, session: aiohttp.ClientSession, control: Control) -> None:
        """One connection, from dialling to its end."""
        socket = await self._connect(session, control)
        self.connected = True
        self._vain.clear()
        log.info("control stream open version=%d", self.current.version)
        try:
            async with asyncio.TaskGroup() as group:
                beside = [
                    group.create_task(self._send_asks(socket), name="asks"),
                    group.create_task(self._leave(socket), name="reconnect"),
                ]
                if self._reporter is not None:
                    reports = self._reporter.run(lambda report: _send(socket, report))
                    beside.append(group.create_task(reports, name="reports"))
                await self._receive(socket)
                for task in beside:
                    task.cancel()
        except* (aiohttp.ClientError, OSError) as errors:
            raise ConnectionError(str(errors.exceptions[0])) from errors
        finally:
            self.connected = False
            await socket.close()

    async def _connect(self, session: aiohttp.ClientSession, control: Control) -> aiohttp.ClientWebSocketResponse:
        self._to_reconnect.clear()
        async with asyncio.timeout(CONNECT_SECONDS):
            socket = await session.ws_connect(
                controller_url(control, STREAM_PATH),
                ssl=self._contexts().control,
                heartbeat=HEARTBEAT_SECONDS,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
                compress=0,
                max_msg_size=MAX_FRAME_BYTES,
            )
        # A Hello names all open questions, so none of them is to be sent again.
        self._unsent.clear()
        await _send(socket, self._hello())
        return socket

    def _hello(self) -> Hello:
        hosts = dict.fromkeys((*self.current.hosts, *self._waiting))
        return Hello(
            version=self.current.version,
            digest=digest(self.current),
            hosts=tuple(hosts),
            reports=self._reporter is not None,
            compact=True,
        )

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            match message.type:
                case aiohttp.WSMsgType.BINARY:
                    answer = self._heard(read(self.current, message.data))
                    if answer is not None:
                        await _send(socket, answer)
                case aiohttp.WSMsgType.TEXT:
                    await _send(socket, self._refuse(Nack(reason="text frame", current=self.current.version)))
                case _:
                    raise ConnectionError(f"control stream broken: {message.data!r}")

    def _heard(self, message: Down | Nack) -> Up | None:
        match message:
            case Push():
                return self._put_in_force(message)
            case Nack():
                return self._refuse(message)
            case Observe() if self._reporter is not None:
                self._reporter.asked(message)
            case Counted() if self._reporter is not None:
                self._reporter.counted(message)
            case Observe() | Counted():
                log.info("ignored %s: this sidecar does not report", type(message).__name__)
        return None

    def _put_in_force(self, push: Push) -> Ack | Nack:
        verdict = judge(self.current, push)
        if isinstance(verdict, Nack):
            return self._refuse(verdict)
        try:
            self._apply(verdict)
        except ConfigRejected as error:
            return self._refuse(Nack(reason=str(error), current=self.current.version, version=verdict.version))
        except Exception as error:
            log.exception("config not applied version=%d", verdict.version)
            reason = f"internal error: {error!r}"
            return self._refuse(Nack(reason=reason, current=self.current.version, version=verdict.version))
        self.current = verdict
        self._answer()
        self._to_store.set()
        log.debug("config in force version=%d", verdict.version)
        return Ack(version=verdict.version)

    def _refuse(self, nack: Nack) -> Nack:
        self.last_nack = nack.reason
        log.warning("config refused version=%d reason=%s", nack.version, nack.reason)
        return nack

    def _answer(self) -> None:
        for host in [host for host in self._waiting if host in self.current.hosts]:
            answer = self._waiting.pop(host)
            if not answer.done():
                answer.set_result(None)

    async def _leave(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        await self._to_reconnect.wait()
        await socket.close()

    async def _send_asks(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """All hosts that came up in one tick of the loop go into one frame."""
        while True:
            await self._to_ask.wait()
            self._to_ask.clear()
            while self._unsent:
                hosts, self._unsent = self._unsent[:HOSTS_PER_ASK], self._unsent[HOSTS_PER_ASK:]
                await _send(socket, Ask(hosts=tuple(hosts)))

    async def _keep_on_disk(self, folder: Path) -> None:
        """Stores the newest config, beside the loop; what came while one was being written is skipped."""
        while True:
            await self._to_store.wait()
            self._to_store.clear()
            try:
                await asyncio.to_thread(lastgood.store, folder, self.current)
            except OSError as error:
                log.warning("last good config not stored error=%s", error)


def _unanswered(host: str, detail: str) -> Unavailable:
    return Unavailable(503, Reason.NO_SERVICE, f"{host}: {detail}")


def _now() -> datetime:
    return datetime.now(UTC)


async def _send(socket: aiohttp.ClientWebSocketResponse, message: Up) -> None:
    await socket.send_bytes(encode(message))
