"""Requests that are sent when they are due, whatever became of those before, over sixteen kept-alive connections.

Host, port, requests a second, seconds, one of how many is a POST (0: none). Prints
{"kinds": {"GET 200": n}, "failures": [[when, kind, why]]}. Any Python 3 runs it, inside a pod.
"""

import collections
import http.client
import json
import sys
import threading
import time

WORKERS = 16
SHOWN = 50

host, port = sys.argv[1], int(sys.argv[2])
rate, seconds, every = float(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])
begin, lock = time.monotonic(), threading.Lock()
kinds: collections.Counter[str] = collections.Counter()
failures: list[tuple[float, str, str]] = []


class Client:
    """One connection, opened anew when it broke."""

    def __init__(self) -> None:
        self.connection: http.client.HTTPConnection | None = None

    def ask(self, method: str) -> tuple[str, str]:
        """(status or what went wrong, the mesh's reason)."""
        try:
            self.connection = self.connection or http.client.HTTPConnection(host, port, timeout=15)
            self.connection.request(method, "/", body=b"x" if method == "POST" else None)
            answer = self.connection.getresponse()
            answer.read()
            if answer.getheader("Connection") == "close":
                self.connection = None
            return str(answer.status), answer.getheader("smi-mesh-reason") or ""
        except (OSError, http.client.HTTPException) as error:
            self.connection = None
            return f"no answer {type(error).__name__}", ""


def work(mine: int) -> None:
    """Every sixteenth request."""
    client, number = Client(), mine
    while (due := begin + number / rate) <= begin + seconds:
        time.sleep(max(0.0, due - time.monotonic()))
        method = "POST" if every and number % every == 0 else "GET"
        number, began = number + WORKERS, time.time()
        kind, why = client.ask(method)
        with lock:
            kinds[f"{method} {kind}"] += 1
            if kind != "200" and len(failures) < SHOWN:
                failures.append((began, f"{method} {kind}", why))


threads = [threading.Thread(target=work, args=(mine,)) for mine in range(WORKERS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.stdout.write(json.dumps({"kinds": kinds, "failures": failures}))
