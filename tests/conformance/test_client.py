"""The caller script: what it counts, over how many connections, through which proxy."""

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from conformance import client
from conformance.client import judge, route


class Server(http.server.ThreadingHTTPServer):
    """Says ``web`` on every path but /denied and /broken; knows its connections and what they asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.connections = 0
        self.targets: list[str] = []


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_GET(self) -> None:
        self.server.targets.append(self.path)
        if self.path.endswith("/broken"):
            self.close_connection = True
            return
        body = json.dumps({"workload": "web", "headers": {k.lower(): v for k, v in self.headers.items()}}).encode()
        self.send_response(403 if self.path.endswith("/denied") else 200)
        if self.path.endswith("/denied"):
            self.send_header("smi-mesh-reason", "denied; no TrafficTarget allows it")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_COUNT(self) -> None:
        body = json.dumps({"arrived": len(self.server.targets)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def order(url: str, **changes: Any) -> dict[str, Any]:
    return {"url": url, "method": "GET", "headers": {}, "times": 1, "clients": 1, "hear": [], "raw": "", **changes}


def play(orders: list[dict[str, Any]], **environment: str) -> list[dict[str, Any]]:
    """Runs the script as a pod would."""
    clean = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    done = subprocess.run(
        [sys.executable, client.__file__],
        input="".join(json.dumps(line) + "\n" for line in orders),
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_one_connection_serves_all_orders(server: Server) -> None:
    url = f"http://127.0.0.1:{server.server_port}"

    said = play([order(f"{url}/a?b=c", times=5), order(f"{url}/denied", times=2)])

    assert [line["answers"] for line in said] == [{"web": 5}, {"403 denied": 2}]
    assert server.connections == 1
    assert server.targets == ["/a?b=c"] * 5 + ["/denied"] * 2


def test_clients_share_the_requests_out(server: Server) -> None:
    (said,) = play([order(f"http://127.0.0.1:{server.server_port}/", times=18, clients=4)])

    assert said["answers"] == {"web": 18}
    assert server.connections == 4


def test_a_pod_with_a_proxy_uses_it_and_keeps_the_name(server: Server) -> None:
    (said,) = play(
        [order("http://web.default..svc/x", hear=["host", "x-none"])],
        HTTP_PROXY=f"http://127.0.0.1:{server.server_port}",
    )

    assert server.targets == ["http://web.default..svc/x"]
    assert said == {"answers": {"web": 1}, "heard": {"host": ["web.default..svc"], "x-none": [None]}, "failure": ""}


def test_a_broken_connection_is_no_answer(server: Server) -> None:
    (said,) = play([order(f"http://127.0.0.1:{server.server_port}/broken", times=2)])

    assert said["answers"] == {"no answer": 2}
    assert "RemoteDisconnected" in said["failure"]


def test_raw_bytes_are_sent_as_they_are_and_each_answer_to_them_counts(server: Server) -> None:
    place = f"127.0.0.1:{server.server_port}"
    request = "GET {} HTTP/1.1\r\nHost: x\r\n\r\n"
    raw = request.format("/\xff") + request.format("/denied") + request.format("/broken")

    (one, none, broken) = play(
        [
            order("http://elsewhere/", raw=raw, hear=["host"]),
            order("http://elsewhere/", raw=request.format("/broken")),
            order("http://elsewhere/", raw="GET\r\n\r\n"),
        ],
        HTTP_PROXY=f"http://{place}",
    )

    assert one == {"answers": {"web": 1, "403 denied": 1}, "heard": {"host": ["x"]}, "failure": ""}
    assert server.targets == ["/\xff", "/denied", "/broken", "/broken"]
    assert none["answers"] == {"no answer": 1}
    assert set(broken["answers"]) <= {"400", "no answer"}


def test_the_application_in_the_pod_is_asked_what_came_past_any_proxy(server: Server) -> None:
    url = f"http://127.0.0.1:{server.server_port}/"

    said = play([order(url, times=3), {"count": True}], HOST="127.0.0.1", PORT=str(server.server_port))

    assert said[1] == {"arrived": 3}


def test_the_kind_of_an_answer() -> None:
    assert judge(200, "", b'{"workload": "v1", "headers": {"a": "b"}}') == ("v1", {"a": "b"})
    assert judge(200, "", b"hello") == ("200 unreadable", None)
    assert judge(503, "weights-zero; all weights are 0", b"") == ("503 weights-zero", None)
    assert judge(404, "", b"") == ("404", None)


def test_without_a_proxy_the_place_is_the_url_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HTTP_PROXY", raising=False)
    monkeypatch.delenv("http_proxy", raising=False)

    assert route("http://127.80.0.3:8080/a?b") == (("127.80.0.3", 8080), "/a?b")
    assert route("http://web") == (("web", 80), "/")
