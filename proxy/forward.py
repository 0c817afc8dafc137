"""One request and its answer: from the downstream connection through a router to an endpoint and back.

The order of events is the whole difficulty here: bodies stream both ways at
once, an upstream may answer early, break, or never be reached. An
``Exchange`` holds that state; it does no I/O of its own but writes to the two
connections it sits between, synchronously, in the callback that brought the
bytes. Only opening a connection (or learning a name) takes a task.

What is moved on to another endpoint without any policy:
a connection that could not be opened (any method), and an idempotent request
on a reused connection that broke before an answer began. The request is kept
up to ``REPLAY_LIMIT`` for that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from proxy.deadlines import Deadlines
from proxy.errors import BadRequest, BadResponse, Reason, Refusal, Unavailable, connect_failure, reset
from proxy.http1.answer import Answer, status_line
from proxy.http1.body import Body, body_of, encode_chunk, encode_last_chunk
from proxy.http1.client import ClientConnection, open_connection
from proxy.http1.head import CHUNKED, MAX_HEAD, RequestHead, ResponseHead
from proxy.tunnel import Tunnel

if TYPE_CHECKING:
    from proxy.accesslog import AccessLog
    from proxy.contract.report import Direction
    from proxy.counters import Counters, Series
    from proxy.endpoints import EndpointState
    from proxy.http1.server import ServerConnection
    from proxy.tls import Contexts
    from proxy.transports import Transports

# Bytes of a request kept for sending it again.
REPLAY_LIMIT = 64 * 1024
# Interim answers to one request; more is a flood.
MAX_INTERIM = 16
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})


class Router(Protocol):
    """Decides where a request goes; one per direction."""

    def select(self, exchange: Exchange) -> EndpointState | None:
        """The endpoint for the next attempt; not one in ``exchange.tried``.

        None: not known yet, ``exchange.attempt()`` will be called later.
        Raises ``Refusal``.
        """

    def render(self, exchange: Exchange) -> tuple[bytes, ...]:
        """The request line and Host as they go out, and headers of our own, in pieces to be joined."""


@dataclass(slots=True, kw_only=True)
class Forwarding:
    """What all connections of one direction share."""

    loop: asyncio.AbstractEventLoop
    direction: Direction
    router: Router
    deadlines: Deadlines
    counters: Counters
    trust_domain: str
    contexts: Callable[[], Contexts | None]
    spawn: Callable[[Coroutine[Any, Any, None]], object]
    own: frozenset[tuple[str, int]]
    """Where this sidecar itself listens: a request sent there would come back for ever."""
    connections: set[ServerConnection] = field(default_factory=set)
    draining: bool = False
    transports: Transports
    access_log: AccessLog | None = None


class Exchange:
    """One request on ``down`` and what becomes of it.

    ``tried`` are the endpoints that failed it; ``stale``: the last only by an old connection that broke.
    """

    __slots__ = (
        "_answer",
        "_began",
        "_body",
        "_interim",
        "_partial",
        "_response_held",
        "_sent",
        "_size",
        "_target",
        "_wire",
        "_written",
        "down",
        "ended",
        "head",
        "keep",
        "request_done",
        "route",
        "series",
        "stale",
        "tried",
        "up",
    )

    def __init__(self, down: ServerConnection, head: RequestHead) -> None:
        self.down = down
        self.head = head
        self.keep = head.keep_alive
        self.request_done = not head.length
        self.ended = False
        self.up: ClientConnection | None = None
        self.tried: tuple[EndpointState, ...] = ()
        self.stale = False
        self.series: Series | None = None
        self.route: Any = None  # the router's own memory of what it decided
        self._target: EndpointState | None = None
        self._began = 0.0
        self._body: Body | None = None
        self._sent = 0.0  # when this attempt was first written
        self._wire: list[bytes] = []  # the request as sent, while it may have to be sent again
        self._written = 0  # pieces of it written to the present upstream
        self._size = 0
        self._answer: Answer | None = None
        self._response_held = False
        self._partial = b""
        self._interim = 0

    @property
    def announced(self) -> tuple[int | None, int | None]:
        """Bytes of the request's and of the answer's body, None where their heads do not say."""
        request = self.head.length
        answer = self._answer.response.length if self._answer is not None else -1
        return request if request >= 0 else None, answer if answer >= 0 else None

    @property
    def takes_request(self) -> bool:
        """Whether bytes from the client belong to this exchange."""
        return not self.request_done

    # -- the request ---------------------------------------------------------------------------

    def start(self, first: bytes) -> None:
        """Begin: ``first`` are the body bytes that came with the head."""
        forwarding = self.down.forwarding
        self._began = monotonic()  # the loop's own time has no more than milliseconds
        if self.head.length:
            self._body = body_of(self.head.length)
        try:
            target = forwarding.router.select(self)
            self._wire.append(self._render())
        except Refusal as refusal:
            if first:
                self._take_body(first)
            self.refuse(refusal)
            return
        if first:
            self._take_body(first)
            if self.ended:
                return
        if target is not None:
            self._send_to(target)

    def _render(self) -> bytes:
        head = self.head
        framing = b""
        if head.length > 0:
            framing = b"content-length: %d\r\n" % head.length
        elif head.length == CHUNKED:
            framing = b"transfer-encoding: chunked\r\n"
        elif head.upgrade:
            framing = b"connection: upgrade\r\nupgrade: %b\r\n" % head.upgrade
        elif head.method in ("POST", "PUT", "PATCH"):
            framing = b"content-length: 0\r\n"
        return b"".join((*self.down.forwarding.router.render(self), *head.lines, framing, b"\r\n"))

    def attempt(self) -> None:
        """Choose an endpoint and send the request there; also called again by a router that had to wait."""
        if self.ended:
            return
        try:
            target = self.down.forwarding.router.select(self)
        except Refusal as refusal:
            self.refuse(refusal)
            return
        if target is not None:
            self._send_to(target)

    def _send_to(self, target: EndpointState) -> None:
        self._target = target
        target.load.pending += 1
        forwarding = self.down.forwarding
        now = self._began if not self.tried else monotonic()
        connection = target.acquire(now, certain=self.head.method not in IDEMPOTENT)
        if connection is not None:
            connection.fresh = False
            self._attach(connection, now)
        else:
            forwarding.spawn(self._connect(target))

    async def _connect(self, target: EndpointState) -> None:
        forwarding = self.down.forwarding
        try:
            connection = await open_connection(forwarding, target)
        except Unavailable as failure:
            if not self.ended:
                self._move_on(failure)
            return
        if self.ended:
            target.release(connection, forwarding.loop.time())
        elif connection.peer in forwarding.own:
            connection.abort()
            self._move_on(Unavailable(502, Reason.LOOP, f"{target.name} is this sidecar"))
        elif connection.usable:
            self._attach(connection, monotonic())
        else:
            # Closed while this task waited for its turn: nobody would ever tell the exchange.
            connection.close()
            self._move_on(connect_failure(f"{target.name}: closed as soon as it was open"))

    def _attach(self, connection: ClientConnection, now: float) -> None:
        self.up = connection
        self._sent = now
        connection.exchange = self
        # In this order: what is written now may be more than the upstream takes, and hold the client.
        self.down.continue_reading()
        self._flush()

    def _flush(self) -> None:
        """Write what the present upstream has not had; keep it while it may be needed again."""
        up = self.up
        if up is None:
            if self._size > REPLAY_LIMIT:
                self.down.hold_reading()
            return
        wire = self._wire
        if self._written < len(wire):
            up.write(wire[0] if len(wire) == 1 else b"".join(wire[self._written :]))
            self._written = len(wire)
        if self._size > REPLAY_LIMIT:
            self._wire = []
            self._written = 0

    def request_received(self, data: bytes) -> None:
        """Body bytes from the client."""
        self._take_body(data)
        if not self.ended:
            self._flush()

    def _take_body(self, data: bytes) -> None:
        body = self._body
        assert body is not None
        try:
            payload = body.feed(data)
        except ValueError as error:
            self.refuse(BadRequest(str(error)))
            return
        if self.head.length == CHUNKED:
            payload = encode_chunk(payload) if payload else b""
            if body.done:
                payload += encode_last_chunk(body.trailers)
        if payload:
            self._size += len(payload)
            self._wire.append(payload)
        if body.done:
            self.request_done = True
            self.down.request_complete(body.rest)

    def half_closed(self) -> bool:
        """The client sends no more; whether its answer is still due."""
        if not self.request_done:
            self.refuse(BadRequest("the request's body is shorter than announced", 408))
        return True

    # -- the answer ----------------------------------------------------------------------------

    def response_received(self, data: bytes) -> None:
        """Bytes from the upstream."""
        try:
            if self._answer is None:
                self._read_heads(data)
            else:
                self._pass_on(self._answer, b"", data)
        except BadResponse as refusal:
            self._drop_upstream()
            self._failed()
            self.refuse(refusal)

    def _read_heads(self, data: bytes) -> None:
        up = self.up
        assert up is not None
        if self._partial:
            data = self._partial + data
            self._partial = b""
        while (end := data.find(b"\r\n\r\n")) >= 0:
            head = up.heads.parse(data[: end + 4])
            data = data[end + 4 :]
            if head.status >= 200:
                self._respond(head, data)
                return
            if head.status == 101:
                self._switch(head, data)
                return
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise BadResponse("too many interim responses")
            if not self.head.old:
                self.down.transport.write(b"".join((status_line(head), *head.lines, b"\r\n")))
        if len(data) > MAX_HEAD or (b"\n\n" in data or b"\n\r\n" in data):
            raise BadResponse("unterminated response head")
        self._partial = data

    def _respond(self, head: ResponseHead, rest: bytes) -> None:
        """The final answer's head is here."""
        target = self._target
        assert target is not None
        mesh = head.mesh if target.endpoint.mesh else None
        if mesh and self._peer_could_not_connect(mesh):
            return
        now = monotonic()
        if head.status >= 500:
            target.load.failed(now)
        else:
            # From the first write on: opening a connection says nothing about how quick the endpoint is.
            target.load.observe(now - self._sent, now)
        keep = self.keep and self.request_done and not self.down.forwarding.draining
        answer = self._answer = Answer(self.head, head, keep=keep)
        self._pass_on(answer, answer.head(mesh), rest)

    def _pass_on(self, answer: Answer, prefix: bytes, data: bytes) -> None:
        """Pass the answer on, behind ``prefix`` (its head), in one write; notice the end."""
        if data:
            try:
                prefix += answer.feed(data)
            except ValueError as error:
                raise BadResponse(str(error)) from None
        if prefix:
            self.down.transport.write(prefix)
        if answer.done:
            self._complete(answer)

    def _switch(self, head: ResponseHead, rest: bytes) -> None:
        """101: from here on both connections are one tunnel, if that was asked for."""
        if not self.head.upgrade or head.upgrade.strip().lower() != self.head.upgrade.strip().lower():
            raise BadResponse("switching protocols was not asked for")
        up, down = self.up, self.down
        assert up is not None
        lines = b"".join(head.lines)
        tunnel = Tunnel(down, up, lambda: self._end(101))
        down.transport.write(
            b"%b%bconnection: upgrade\r\nupgrade: %b\r\n\r\n%b" % (status_line(head), lines, head.upgrade, rest)
        )
        down.hand_over(tunnel)

    def response_ended(self) -> bool:
        """The upstream sends no more; whether its connection stays open nevertheless."""
        if self._answer is not None:
            last = self._answer.feed_eof()
            if last is not None:
                self.down.transport.write(last)
                self._complete(self._answer)
        return False

    def _complete(self, answer: Answer) -> None:
        """The answer is written whole."""
        up, target = self.up, self._target
        assert up is not None
        assert target is not None
        now = monotonic()
        self.up = None
        up.exchange = None
        if not self.request_done:
            up.abort()
        elif answer.reusable and not up.blocked:
            if self._response_held:
                up.transport.resume_reading()
            target.release(up, now)
        else:
            up.close()
        self._settle(answer.response.status, now)
        self.down.exchange_done(keep=answer.keep and self.keep and self.request_done)

    def hold_response(self) -> None:
        """The client reads slower than the upstream sends."""
        if self.up is not None and not self._response_held:
            self._response_held = True
            self.up.transport.pause_reading()

    def continue_response(self) -> None:
        """The client has caught up."""
        if self._response_held:
            self._response_held = False
            if self.up is not None:
                self.up.transport.resume_reading()

    # -- failures ------------------------------------------------------------------------------

    def upstream_lost(self, connection: ClientConnection) -> None:
        """The upstream's connection ended before its answer did."""
        self.up = None
        if self._answer is not None:
            # A truncated answer must not look like a whole one.
            self._failed()
            self._end(502, Reason.RESET)
            self.down.break_off()
        elif not connection.fresh and self.head.method in IDEMPOTENT and self._interim == 0 and not self._partial:
            self._move_on(reset(f"{connection.endpoint.name}: the connection broke before an answer"), stale=True)
        else:
            self._failed()
            self.refuse(reset(f"{connection.endpoint.name} closed the connection without an answer"))

    def _peer_could_not_connect(self, mesh: dict[bytes, bytes]) -> bool:
        """The server's own sidecar says that its application got nothing: as good as not connected."""
        reason = mesh.get(b"smi-mesh-reason", b"")
        if not reason.startswith((b"connect-failure", b"draining")) or self._size > REPLAY_LIMIT:
            return False
        self._drop_upstream()
        self._move_on(Unavailable(502, Reason.CONNECT_FAILURE, reason.partition(b"; ")[2].decode("latin-1")))
        return True

    def _move_on(self, failure: Refusal, *, stale: bool = False) -> None:
        """This endpoint did not get the request: try another, else tell the client.

        ``stale``: it was only an old connection that broke; where the backend has no other endpoint, a new one may do.
        """
        target = self._target
        assert target is not None
        self._failed(its_fault=not stale)
        self.tried = (*self.tried, target)
        self.stale = stale
        if self._size > REPLAY_LIMIT and not self._wire:
            self.refuse(failure)
            return
        self._written = 0
        self._partial = b""
        try:
            following = self.down.forwarding.router.select(self)
        except Refusal:
            if stale:
                self._target = target
                target.load.pending += 1
                self.down.forwarding.spawn(self._connect(target))
            else:
                self.refuse(failure)
            return
        if following is not None:
            self._send_to(following)

    def _failed(self, *, its_fault: bool = True) -> None:
        """Settle the present attempt, as a failure of its endpoint if it is to blame."""
        if self._target is not None:
            target, self._target = self._target, None
            target.load.pending -= 1
            if its_fault:
                target.load.failed(self.down.forwarding.loop.time())

    def _drop_upstream(self) -> None:
        up, self.up = self.up, None
        if up is not None:
            up.exchange = None
            up.abort()

    def refuse(self, refusal: Refusal) -> None:
        """Answer in the sidecar's own name, or break off when an answer has begun."""
        if self.ended:
            return
        begun = self._answer is not None
        self._drop_upstream()
        self._end(refusal.status, refusal.reason)
        if begun:
            self.down.break_off()
            return
        keep = self.keep and self.request_done and not isinstance(refusal, BadRequest)
        keep = keep and not (self.head.old or self.down.forwarding.draining)
        self.down.answer(refusal, head_only=self.head.method == "HEAD", keep=keep)

    def abandon(self) -> None:
        """The client is gone."""
        self._drop_upstream()
        self._end(499)

    def _end(self, status: int, reason: str = "") -> None:
        if not self.ended:
            self._settle(status, monotonic(), reason)

    def _settle(self, status: int, now: float, reason: str = "") -> None:
        self.ended = True
        self._wire = []
        if self._target is not None:
            self._target.load.pending -= 1
            self._target = None
        if self.series is not None:
            self.series.add(status, now - self._began)
            if (log := self.down.forwarding.access_log) is not None:
                log.add(self, self.series.labels, status, now - self._began, reason)
