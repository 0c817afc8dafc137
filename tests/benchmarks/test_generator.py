"""The generator of latencies, against servers of our own on the loopback: what it times, and when it gives up."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import pytest

from benchmarks.latency import REQUEST, Generator

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
PATIENCE = 10.0
Answer = Callable[[int], Sequence[bytes]]
"""The pieces of a connection's n-th answer; an empty one closes the connection."""


@contextmanager
def serving(answer: Answer) -> Iterator[int]:
    """A server's port."""
    ends: list[socket.socket] = []

    def serve(end: socket.socket) -> None:
        number, read = 0, b""
        while data := end.recv(65536):
            read += data
            while read.startswith(REQUEST):
                read = read[len(REQUEST) :]
                for piece in answer(number):
                    if not piece:
                        end.shutdown(socket.SHUT_RDWR)
                        return
                    end.sendall(piece)
                number += 1

    def accept() -> None:
        while True:
            try:
                end, _ = listener.accept()
            except OSError:
                return
            end.settimeout(PATIENCE)
            ends.append(end)
            threads.append(threading.Thread(target=serve, args=(end,)))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads = [threading.Thread(target=accept)]
        threads[0].start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    threads[0].join(PATIENCE)
    for end in ends:
        with suppress(OSError):  # closed by the server already
            end.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(PATIENCE)
    for end in ends:
        end.close()


def run(port: int, due: list[float], connections: int = 2) -> Generator:
    generator = Generator("127.0.0.1", port, connections)
    try:
        generator.run(due)
    finally:
        generator.close()
    return generator


def test_every_request_is_timed_once() -> None:
    with serving(lambda _: [OK]) as port:
        generator = run(port, [number / 1000 for number in range(50)])

    assert len(generator.taken) == 50
    assert min(generator.taken) > 0


def test_an_answer_in_pieces_is_one() -> None:
    with serving(lambda _: [OK[:20], OK[20:-1], OK[-1:]]) as port:
        assert len(run(port, [0.0] * 5).taken) == 5


def test_waiting_for_a_connection_counts_from_when_a_request_was_due() -> None:
    """No coordinated omission: all are due at once over one connection, so each has waited for those before it."""
    with serving(lambda _: [OK]) as port:
        generator = run(port, [0.0] * 20, connections=1)

    assert generator.taken == sorted(generator.taken)
    assert len(set(generator.taken)) == 20
    assert len(generator.late) == 1, "only the first was sent as soon as it could be"


def test_an_answer_cut_short_is_none() -> None:
    with serving(lambda _: [OK[:-1], b""]) as port, pytest.raises(ValueError, match="closed before"):
        run(port, [0.0])
