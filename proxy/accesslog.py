"""The access log: one line on stdout for each request that is counted, off unless asked for.

No query (it may hold secrets) and no header's value is ever written. Lines are
gathered for a moment and written by a thread of their own: whoever reads them
slowly, or not at all, must not hold requests up. Lines that such a reader keeps
from being written are dropped, and counted.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from typing import TYPE_CHECKING

import msgspec

from proxy.contract.config import AccessLog as Kind

if TYPE_CHECKING:
    from proxy.contract.report import Labels
    from proxy.forward import Exchange

# Seconds that lines are gathered before they are written: one write serves many, and who follows does not notice.
GATHER = 0.1
# Bytes that may wait for being written; a busy sidecar fills that in some ten seconds.
MAX_WAITING = 8 << 20
# Seconds for the last lines to be written at the end.
LAST_WORDS = 1.0

Value = str | int | float | None
_STDOUT = 1


class AccessLog:
    """``kind`` is ``text`` or ``json``. ``write`` takes bytes and may block; ``now`` is the time of day."""

    def __init__(
        self,
        kind: Kind,
        loop: asyncio.AbstractEventLoop,
        write: Callable[[bytes], None] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.dropped = 0
        """Lines that were not written."""
        self._line = json_line if kind == "json" else text_line
        self._loop = loop
        self._write = write or to_stdout
        self._now = now
        self._lines: list[bytes] = []
        self._handed = 0
        self._written = 0
        self._queue: SimpleQueue[bytes] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="access log", daemon=True)
        self._thread.start()

    def add(self, exchange: Exchange, labels: Labels, status: int, seconds: float, reason: str) -> None:
        """Note one request that ended with ``status`` after ``seconds``; ``reason``: the word of a refusal."""
        began = self._now() - timedelta(seconds=seconds)
        if not self._lines:
            self._loop.call_later(GATHER, self.flush)
        self._lines.append(self._line(fields(exchange, labels, began, status, seconds, reason)))

    def flush(self) -> None:
        """Hand over what was gathered."""
        lines, self._lines = self._lines, []
        if not lines:
            return
        data = b"".join(lines)
        if self._handed - self._written + len(data) > MAX_WAITING:
            self.dropped += len(lines)
            return
        self._handed += len(data)
        self._queue.put(data)

    def close(self) -> None:
        """Write what is left, unless nobody takes it."""
        self.flush()
        self._queue.put(b"")
        self._thread.join(LAST_WORDS)

    def _work(self) -> None:
        while data := self._queue.get():
            try:
                self._write(data)
            except OSError:  # nobody reads any more
                self.dropped += data.count(b"\n")
            self._written += len(data)


def fields(
    exchange: Exchange, labels: Labels, began: datetime, status: int, seconds: float, reason: str
) -> dict[str, Value]:
    """What a line says; None where there is nothing to say."""
    head, down = exchange.head, exchange.down
    request_bytes = _announced(exchange.head.length)
    response_bytes = _announced(exchange.answer.response.length) if exchange.answer is not None else None
    return {
        "time": began.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "direction": labels.direction,
        "method": head.method,
        "authority": _text(down.connect_authority or head.authority),
        "path": _text(head.target.partition(b"?")[0]),
        "status": status,
        "reason": reason or None,
        "duration_ms": round(seconds * 1e3, 3),
        "request_bytes": request_bytes,
        "response_bytes": response_bytes,
        "destination": labels.destination or None,
        "split": labels.split or None,
        "backend": labels.backend or None,
        "match": labels.match or None,
        "pod": labels.pod or None,
        "target": labels.target or None,
        "peer": labels.peer or None,
        "tls": labels.tls or None,
    }


def json_line(said: dict[str, Value]) -> bytes:
    """One JSON object."""
    return msgspec.json.encode(said) + b"\n"


def text_line(said: dict[str, Value]) -> bytes:
    """``key=value`` each, ``-`` where there is nothing to say. No value has a space in it."""
    return (" ".join(f"{key}={'-' if value is None else value}" for key, value in said.items()) + "\n").encode()


def to_stdout(data: bytes) -> None:
    """All of it, however long it takes. Raises OSError when nobody reads any more."""
    view = memoryview(data)
    while view:
        view = view[os.write(_STDOUT, view) :]


def _text(value: bytes) -> str:
    """Bytes that were checked to have no spaces and controls in them; beyond ASCII as ``\\xNN``."""
    return value.decode("ascii", "backslashreplace")


def _announced(length: int) -> int | None:
    """Bytes of a body, None where its head does not say."""
    return length if length >= 0 else None
