"""The caller: a script that runs inside a pod and sends what it is told over kept-alive connections.

It is started as a file, with any Python 3 and nothing installed, and imports
nothing of this project. One JSON object a line comes in,

    {"url", "method", "headers", "raw", "times", "clients", "hear"}

and for each one goes out,

    {"answers": {kind: count}, "heard": {header: [value or null, ...]}, "failure": text of the last transport error}

A *kind* is the ``workload`` that the server's JSON answer names, or, where the
status is not 200, the status and the first word of ``smi-mesh-reason``.
``heard`` has every value that the servers saw for the header names in ``"hear"``.
Connections stay open from one line to the next. ``HTTP_PROXY`` is obeyed, as most programs do. ``raw`` unless empty is
sent instead, a byte for each character, on a connection that is half-closed behind it; each answer to it is counted.

``{"count": true}`` asks the application in this pod, past the mesh, what it has got: ``{"arrived": requests so far}``.
"""

from __future__ import annotations

import io
import json
import os
import socket
import sys
import threading
from collections import Counter
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

TIMEOUT = 15.0


class Client:
    """One connection to each place it was sent to."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], HTTPConnection] = {}

    def ask(self, order: dict[str, Any]) -> tuple[str, dict[str, str] | None, str]:
        """Sends one request; returns (kind, headers that the server saw or None, transport error or "")."""
        address, target = route(order["url"])
        connection = self._open.setdefault(address, HTTPConnection(*address, timeout=TIMEOUT))
        try:
            connection.request(order["method"], target, headers=order["headers"])
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, HTTPException) as error:
            connection.close()
            return "no answer", None, repr(error)
        return (*judge(answer.status, answer.headers.get("smi-mesh-reason", ""), body), "")


class Received(io.BytesIO):
    """What came on a connection, from which one answer after the other is read. Stands in for the socket, too."""

    def makefile(self, _mode: str) -> io.BytesIO:
        """As of a socket."""
        return self

    def close(self) -> None:
        """An answer that is read ends; what came behind it does not."""


def ask_raw(order: dict[str, Any]) -> list[tuple[str, dict[str, str] | None, str]]:
    """Sends bytes as they stand; for each answer (kind, headers that the server saw or None, transport error or "")."""
    answers: list[tuple[str, dict[str, str] | None, str]] = []
    try:
        with socket.create_connection(route(order["url"])[0], timeout=TIMEOUT) as connection:
            connection.sendall(order["raw"].encode("latin-1"))
            connection.shutdown(socket.SHUT_WR)
            received = Received(b"".join(iter(lambda: connection.recv(65536), b"")))
        while received.tell() < len(received.getbuffer()):
            answer = HTTPResponse(received, method=order["method"])  # type: ignore[arg-type]
            answer.begin()
            answers.append((*judge(answer.status, answer.headers.get("smi-mesh-reason", ""), answer.read()), ""))
    except (OSError, HTTPException) as error:
        return [*answers, ("no answer", None, repr(error))]
    return answers or [("no answer", None, "the connection was closed")]


def count() -> int:
    """How many requests the application in this pod has got; it is asked at the address where it listens."""
    connection = HTTPConnection(os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8080")), TIMEOUT)
    connection.request("COUNT", "/")
    return int(json.load(connection.getresponse())["arrived"])


def route(url: str) -> tuple[tuple[str, int], str]:
    """((host, port) to connect to, request target): through the pod's proxy where it has one."""
    parts = urlsplit(url)
    proxy = os.environ.get("HTTP_PROXY") or os.environ.get("http_proxy")
    if proxy:
        via = urlsplit(proxy if "//" in proxy else "http://" + proxy)
        return (via.hostname or "", via.port or 80), url
    return (parts.hostname or "", parts.port or 80), url[url.index(parts.netloc) + len(parts.netloc) :] or "/"


def judge(status: int, reason: str, body: bytes) -> tuple[str, dict[str, str] | None]:
    """The kind of an answer, and the headers the server saw."""
    if status != 200:
        return f"{status} {reason.partition(';')[0].strip()}".strip(), None
    try:
        said = json.loads(body)
        return said["workload"], said["headers"]
    except (ValueError, KeyError):
        return "200 unreadable", None


def carry_out(order: dict[str, Any], clients: list[Client]) -> dict[str, object]:
    """Shares ``times`` requests out among ``clients`` threads, in whole rounds; returns the answer line."""
    while len(clients) < order["clients"]:
        clients.append(Client())
    answers: Counter[str] = Counter()
    heard: dict[str, set[str | None]] = {}
    failures: list[str] = []
    lock = threading.Lock()

    def note(kind: str, headers: dict[str, str] | None, failure: str) -> None:
        with lock:
            answers[kind] += 1
            if failure:
                failures.append(failure)
            if headers is not None:
                for name in order["hear"]:
                    heard.setdefault(name, set()).add(headers.get(name))

    def work(client: Client, times: int) -> None:
        for _ in range(times):
            for answer in ask_raw(order) if order["raw"] else [client.ask(order)]:
                note(*answer)

    share, rest = divmod(order["times"], order["clients"])
    threads = [
        threading.Thread(target=work, args=(clients[index], share + (index < rest)))
        for index in range(order["clients"])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        "answers": dict(answers),
        "heard": {name: sorted(values, key=str) for name, values in heard.items()},
        "failure": failures[-1] if failures else "",
    }


def main() -> None:
    """Serves orders until standard input ends."""
    clients: list[Client] = []
    for line in sys.stdin:
        order = json.loads(line)
        said = {"arrived": count()} if "count" in order else carry_out(order, clients)
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
