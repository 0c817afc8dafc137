"""One request and its answer: from the downstream connection through a router to an endpoint and back.

The order of events is the whole difficulty here: bodies stream both ways at once, an upstream may answer early, break,
or never be reached. An ``Exchange`` holds that state; it does no I/O of its own but writes to the two connections it
sits between, synchronously, in the callback that brought the bytes. Only opening a connection (or learning a name)
takes a task.

Moved on to another endpoint without any policy: a connection that could not be opened (any method), and an idempotent
request whose connection broke before an answer began, if that was an old one or led to a sidecar (which answers 502
where it was the application that broke). What else is sent again, and how long is waited: see ``proxy.call``.
"""

from __future__ import annotations

import random
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from proxy.attempt import Attempt
from proxy.call import Call, CallPolicy
from proxy.errors import BadRequest, BadResponse, Reason, Refusal, Unavailable, no_endpoint, reset, timeout
from proxy.expiry import Expired
from proxy.forwarding import NO_TICKET
from proxy.http1.answer import Answer
from proxy.http1.head import RequestHead
from proxy.http1.outgoing import Outgoing
from proxy.http1.response import ResponseHead
from proxy.patience import Patience
from proxy.retry import IDEMPOTENT, MARK, SPENT, Decision, Outcome, decide, first_word, told
from proxy.tunnel import Tunnel

if TYPE_CHECKING:
    from proxy.contract.config import Breaker
    from proxy.counters import Series
    from proxy.endpoints import EndpointState
    from proxy.http1.client import ClientConnection
    from proxy.http1.server import ServerConnection

# Interim answers to one request; more is a flood.
MAX_INTERIM: Final = 16


class Exchange:
    """One request on ``down`` and what becomes of it.

    ``tried`` are the endpoints that failed it; ``stale``: the last only by a connection that broke;
    ``again``: the policy has it sent again. ``waiting``: for an endpoint; ``answer``: once its head is here. The router
    leaves in ``route`` what it decided, and sets ``patience``, ``breaker``, ``ticket`` and ``series``.
    """

    __slots__ = (
        "_attempt",
        "_began",
        "_interim",
        "_outgoing",
        "_resent",
        "_response_held",
        "again",
        "answer",
        "breaker",
        "down",
        "ended",
        "head",
        "keep",
        "patience",
        "request_done",
        "route",
        "series",
        "stale",
        "ticket",
        "tried",
        "up",
        "waiting",
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
        self.again = False
        self.waiting = False
        self.route: Any = None
        self.patience: Patience | None = None
        self.breaker: Breaker | None = None
        self.ticket = NO_TICKET
        self.series: Series | None = None
        self._outgoing = Outgoing(head)
        self._attempt: Attempt | None = None
        self._began = 0.0
        self.answer: Answer | None = None
        self._response_held = False
        self._resent = False
        self._interim = 0

    @property
    def takes_request(self) -> bool:
        """Whether bytes from the client belong here."""
        return not self.request_done

    # -- the request ---------------------------------------------------------------------------

    def start(self, first: bytes) -> None:
        """Begin: ``first`` are the body bytes that came with the head."""
        forwarding = self.down.forwarding
        self._began = monotonic()  # the loop's own time has no more than milliseconds
        try:
            target = forwarding.router.select(self)
            self._outgoing.begin(forwarding.router.render(self))
        except Refusal as refusal:
            if first:
                self._take_body(first)
            self.refuse(refusal)
            return
        if first:
            self._take_body(first)
            if self.ended:
                return
        self._go(target, self._began)

    def begin_policy(self, policy: CallPolicy) -> None:
        """The router has found a policy: from the request's beginning it has retries and time by it."""
        forwarding = self.down.forwarding
        call = Call(policy, self.head, self._began)
        self.patience = Patience(forwarding.loop, forwarding.alarms, call, self.expired)

    def attempt(self) -> None:
        """Choose an endpoint and send the request there; also called by a router that had to wait."""
        if self.ended:
            return
        self.waiting = False
        try:
            target = self.down.forwarding.router.select(self)
        except Refusal as refusal:
            self.refuse(refusal)
            return
        self._go(target, monotonic())

    def _go(self, target: EndpointState | None, now: float) -> None:
        if target is not None:
            self._send_to(target, now)
        elif self.patience is not None:
            self.patience.watch()

    def _send_to(self, target: EndpointState, now: float) -> None:
        self._attempt = Attempt(target, self.breaker, now, random.random)
        if self.patience is not None:
            self.patience.tried(now)
        connection = target.acquire(now, certain=self.head.method not in IDEMPOTENT)
        if connection is not None:
            connection.fresh = False
            self._attach(connection, now)
        else:
            self.down.forwarding.spawn(self._connect(target, self._attempt))

    async def _connect(self, target: EndpointState, attempt: Attempt, *, relayed: bool = False) -> None:
        """Open a connection for ``attempt``, unless that is given up meanwhile."""
        forwarding = self.down.forwarding
        try:
            connection = await forwarding.open(target, relayed=relayed)
        except Unavailable as failure:
            if self._attempt is attempt:
                self._move_on(failure)
            return
        if self._attempt is attempt:
            self._attach(connection, monotonic())
        elif relayed:
            connection.abort()  # nobody took what its other end may have said
        else:
            target.release(connection, monotonic())

    def _attach(self, connection: ClientConnection, now: float) -> None:
        attempt = self._attempt
        assert attempt is not None
        self.up = connection
        attempt.sent = now
        connection.exchange = self
        # In this order: what is written now may be more than the upstream takes, and hold the client.
        self.down.continue_reading()
        self._flush()

    def _flush(self) -> None:
        """Write what the present upstream has not had; keep it while it may be needed again."""
        up = self.up
        outgoing = self._outgoing
        if up is None:
            if outgoing.full:
                self.down.hold_reading()
            return
        pending = outgoing.take()
        if pending:
            up.write(pending)
        if self.patience is not None:
            self.patience.call.kept = not outgoing.full
            self.patience.progress(sent=self.request_done, answered=False)

    def request_received(self, data: bytes) -> None:
        """Body bytes from the client."""
        self._take_body(data)
        if not self.ended:
            self._flush()

    def _take_body(self, data: bytes) -> None:
        outgoing = self._outgoing
        try:
            outgoing.feed(data)
        except ValueError as error:
            self.refuse(BadRequest(str(error)))
            return
        if outgoing.done:
            self.request_done = True
            self.down.request_complete(outgoing.rest)

    def half_closed(self) -> bool:
        """The client sends no more; whether its answer is still due."""
        if not self.request_done:
            self.refuse(BadRequest("the request's body is shorter than announced", 408))
        return True

    # -- the answer ----------------------------------------------------------------------------

    def response_received(self, data: bytes) -> None:
        """Bytes from the upstream."""
        try:
            if self.answer is None:
                self._read_heads(data)
            else:
                self._pass_on(self.answer, b"", data)
        except BadResponse as refusal:
            self._drop_upstream()
            self._give_up(failed=True)
            self.refuse(refusal)

    def _read_heads(self, data: bytes) -> None:
        up = self.up
        assert up is not None
        while True:
            head, data = up.heads.read(data)
            if head is None:
                return
            if head.status >= 200:
                self._respond(head, data)
                return
            if head.status == 101:
                self._switch(up, head, data)
                return
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise BadResponse("too many interim responses")
            if not self.head.old:
                self.down.transport.write(b"".join((head.start, *head.lines, b"\r\n")))

    def _respond(self, head: ResponseHead, rest: bytes) -> None:
        """The final answer's head is here."""
        attempt = self._attempt
        assert attempt is not None
        forwarding = self.down.forwarding
        now = monotonic()
        mesh = head.mesh if attempt.endpoint.endpoint.mesh else None
        if mesh and self._peer_could_not_connect(mesh):
            return
        attempt.answered(head.status, head.grpc, now)
        if self.patience is not None or mesh is not None:
            spent = mesh is not None and mesh.pop(MARK, b"") == SPENT
            word = first_word(mesh.get(b"smi-mesh-reason", b"")) if mesh else ""
            if self._decide(Outcome(head.status, word, head.grpc, spent), now) is Decision.RETRY:
                self._discard(head, rest, now)
                self._again()
                return
        if self.ticket >= 0 and forwarding.amplification.marks(self.ticket, head.status):
            mesh = {MARK: SPENT}
        keep = self.keep and self.request_done and not forwarding.draining
        answer = self.answer = Answer(self.head, head, keep=keep)
        if self.patience is not None:
            self.patience.progress(sent=self.request_done, answered=True)
        self._pass_on(answer, answer.head(mesh), rest)

    def _pass_on(self, answer: Answer, prefix: bytes, data: bytes) -> None:
        """Pass the answer on, behind ``prefix`` (its head), in one write; notice the end."""
        if data:
            prefix += answer.feed(data)
            if self.patience is not None:
                self.patience.progress(sent=self.request_done, answered=True)
        if prefix:
            self.down.transport.write(prefix)
        if answer.done:
            self._complete(answer)

    def _switch(self, up: ClientConnection, head: ResponseHead, rest: bytes) -> None:
        """101: from here on both connections are one tunnel, if that was asked for."""
        if not self.head.upgrade or head.upgrade.strip().lower() != self.head.upgrade.strip().lower():
            raise BadResponse("switching protocols was not asked for")
        down, attempt = self.down, self._attempt
        assert attempt is not None
        attempt.answered(101, 0, monotonic())
        if self.patience is not None:
            self.patience.stop()
        lines = b"".join(head.lines)
        tunnel = Tunnel(self.head, down, up, lambda: self._end(101))
        down.transport.write(
            b"%b%bconnection: upgrade\r\nupgrade: %b\r\n\r\n%b" % (head.start, lines, head.upgrade, rest)
        )
        down.hand_over(tunnel)

    def response_ended(self) -> bool:
        """The upstream sends no more; whether its connection stays open nevertheless."""
        if self.answer is not None:
            last = self.answer.feed_eof()
            if last is not None:
                self.down.transport.write(last)
                self._complete(self.answer)
        return False

    def _complete(self, answer: Answer) -> None:
        """It is written whole."""
        now = monotonic()
        self._free(answer, now)
        self._settle(answer.response.status, now)
        self.down.exchange_done(keep=answer.keep and self.keep and self.request_done)

    def _free(self, answer: Answer, now: float) -> None:
        up, self.up = self.up, None
        assert up is not None
        up.finished(now, whole=self.request_done, reusable=answer.reusable, held=self._response_held)

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
        if self.answer is not None:
            # A truncated answer must not look like a whole one.
            self._give_up(failed=True)
            self._end(502, Reason.RESET)
            self.down.break_off()
        elif (
            not (connection.fresh and (self._resent or not connection.endpoint.endpoint.mesh))
            and self.head.method in IDEMPOTENT
            and not (self._interim or connection.heads.partial)
        ):
            self._resent |= connection.fresh  # once, whatever else is tried for it
            failure = reset(f"{connection.endpoint.name}: the connection broke before an answer")
            self._move_on(failure, stale=True, failed=connection.fresh)
        else:
            self._give_up(failed=True)
            self._conclude(reset(f"{connection.endpoint.name} closed the connection without an answer"))

    def _peer_could_not_connect(self, mesh: dict[bytes, bytes]) -> bool:
        """The server's own sidecar says that its application got nothing: as good as not connected."""
        reason = mesh.get(b"smi-mesh-reason", b"")
        if not reason.startswith((b"connect-failure", b"draining")) or not self._outgoing.again():
            return False
        self._drop_upstream()
        self._move_on(Unavailable(502, Reason.CONNECT_FAILURE, reason.partition(b"; ")[2].decode("latin-1")))
        return True

    def _move_on(self, failure: Refusal, *, stale: bool = False, failed: bool = True) -> None:
        """This endpoint did not get the request: try another, else the policy decides.

        ``stale``: it was only a connection that broke; where the backend has no other endpoint, a new one may do.
        """
        attempt = self._attempt
        assert attempt is not None
        self._give_up(failed=failed)
        self.stale = stale
        self.again = False
        if not self._outgoing.again():
            self.refuse(failure)
            return
        router, now = self.down.forwarding.router, monotonic()
        try:
            following = router.select(self)
        except Refusal:
            if stale:
                self._send_to(attempt.endpoint, now)
            else:
                self._conclude(failure)
            return
        self._go(following, now)

    def _conclude(self, failure: Refusal, *, expired: bool = False) -> None:
        """The attempt has failed for good: it is sent again if the policy says so, else the client is told."""
        decision = self._decide(Outcome(failure.status, failure.reason, 0, False, expired), monotonic())
        if decision is Decision.RETRY:
            self._again()
        else:
            self.refuse(told(failure, decision))

    def _decide(self, outcome: Outcome, now: float) -> Decision:
        attempts = self.patience.call.attempts if self.patience is not None else None
        decision = decide(attempts, outcome, self._outgoing.size, now)
        if decision.spent:
            self.down.forwarding.amplification.spent()
        return decision

    def _discard(self, head: ResponseHead, rest: bytes, now: float) -> None:
        """Nobody is told of an answer after which the request is sent again; its connection is kept if it is whole."""
        answer = Answer(self.head, head, keep=False)
        answer.feed(rest)
        if answer.done:
            self._free(answer, now)
        self._drop_upstream()
        self._give_up(failed=False)

    def _again(self) -> None:
        """Send the request again, after the policy's pause."""
        patience = self.patience
        assert patience is not None
        assert patience.call.attempts is not None
        self._outgoing.again()
        self.stale = False
        self.again = True
        patience.again(patience.call.attempts.pause(random.random()), self.attempt)

    def _give_up(self, *, failed: bool) -> None:
        """The present attempt is over; ``failed``: that is its endpoint's fault."""
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            now = monotonic()
            self.tried = (*self.tried, attempt.endpoint)
            if failed:
                attempt.failed(now)
            attempt.over(now)

    def _drop_upstream(self) -> None:
        up, self.up = self.up, None
        if up is not None:
            up.abort()

    def refuse(self, refusal: Refusal) -> None:
        """Answer in the sidecar's own name, or break off when an answer has begun."""
        if self.ended:
            return
        self._drop_upstream()
        self._end(refusal.status, refusal.reason)
        if self.answer is not None:
            self.down.break_off()
            return
        keep = self.keep and self.request_done and not isinstance(refusal, BadRequest)
        keep = keep and not (self.head.old or self.down.forwarding.draining)
        marked = self.ticket >= 0 and self.down.forwarding.amplification.marks(self.ticket, refusal.status)
        self.down.answer(refusal, head_only=self.head.method == "HEAD", keep=keep, marked=marked)

    def abandon(self) -> None:
        """The client is gone."""
        self._drop_upstream()
        self._end(499)

    def expired(self, what: Expired) -> None:
        """One of the policy's times has run out."""
        if self.waiting:
            self.down.forwarding.amplification.spent()
            self.refuse(no_endpoint("no endpoint became ready in time"))
            return
        self._drop_upstream()
        name = self._attempt.endpoint.name if self._attempt is not None else "no endpoint"
        # Silence in the middle of an answer is a failure too, unless it is the client who does not read on.
        self._give_up(failed=self.answer is None or (what is Expired.IDLE and not self._response_held))
        failure = timeout(f"{name}: {what.value} time-out")
        if what is Expired.TRY:
            self._conclude(failure, expired=True)
        else:
            self.refuse(failure)

    def _end(self, status: int, reason: str = "") -> None:
        if not self.ended:
            self._settle(status, monotonic(), reason)

    def _settle(self, status: int, now: float, reason: str = "") -> None:
        self.ended = True
        self._outgoing.forget()
        if self._attempt is not None:
            self._attempt.over(now)
            self._attempt = None
        if self.patience is not None:
            self.patience.stop()
        if self.waiting:
            self.waiting = False
            self.down.forwarding.router.given_up(self)
        if self.series is not None:
            self.series.add(status, now - self._began)
            if (log := self.down.forwarding.access_log) is not None:
                log.add(self, self.series.labels, status, now - self._began, reason)
