"""The demo's client: one kept-alive connection to a sidecar's HTTP proxy port, one request after the other.

It runs in a thread of its own and never stops between two steps, so that a
request lost by a change of the config would be seen. What it counts goes to
the *tally* it was last told; ``translator.demo.play`` swaps that.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from translator.demo.scenario import TIMEOUT, Request

PACE = 1 / 300
"""Seconds from one request to the next at least: fast enough for 1,000 in a few seconds, slow enough to watch."""

NO_ANSWER = "no answer"


@dataclass(slots=True, kw_only=True)
class Tally:
    """What came back to ``request``: answers by kind, and the seconds each took. Full after ``limit`` answers."""

    request: Request = field(default_factory=Request)
    limit: int | None = None
    answers: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    full: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        if self.limit == 0:
            self.full.set()

    def expect(self, more: int) -> None:
        """Not full until there are ``more`` answers than now."""
        self.limit = self.answers.total() + more
        self.full.clear()

    def add(self, kind: str, seconds: float) -> None:
        """Counts one answer."""
        self.answers[kind] += 1
        self.seconds.setdefault(kind, []).append(seconds)
        if self.limit is not None and self.answers.total() >= self.limit:
            self.full.set()


def kind_of(status: int, reason: str, body: str) -> str:
    """The kind of an answer (see ``translator.demo.scenario``); ``reason`` is the header ``smi-mesh-reason``."""
    if status == http.HTTPStatus.OK:
        return body.partition(":")[0].strip()
    return f"{status} {reason.partition(';')[0].strip()}".rstrip()


class Traffic:
    """Requests for ``url`` through the proxy at ``host:port`` for as long as the ``with`` block lasts."""

    def __init__(self, host: str, port: int, url: str) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
        self._url = url
        self._tally = Tally(limit=0)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-traffic", daemon=True)

    def count_into(self, tally: Tally) -> None:
        """From the next request on, send what ``tally`` says and count there."""
        self._tally = tally

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        socket_in_use: socket.socket | None = self._connection.sock
        if socket_in_use is not None:
            with contextlib.suppress(OSError):
                socket_in_use.shutdown(socket.SHUT_RDWR)  # an answer that is still waited for is not wanted any more
        self._thread.join(TIMEOUT)
        self._connection.close()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._end.wait(max(0.0, due - time.monotonic())):
            due = max(due + PACE, time.monotonic() - PACE)
            tally = self._tally
            if not tally.full.is_set():
                begin = time.perf_counter()
                kind = self._ask(tally.request)
                tally.add(kind, time.perf_counter() - begin)

    def _ask(self, request: Request) -> str:
        try:
            self._be_patient(request.timeout)
            self._connection.request(request.method, self._url + request.query, headers=dict(request.headers))
            answer = self._connection.getresponse()
            body = answer.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return NO_ANSWER
        return kind_of(answer.status, answer.headers.get("smi-mesh-reason", ""), body)

    def _be_patient(self, seconds: float) -> None:
        self._connection.timeout = seconds
        if self._connection.sock is not None:
            self._connection.sock.settimeout(seconds)
