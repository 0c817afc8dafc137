"""A local mesh attacked where no case of the conformance suite can: its ports, its addresses, its proxies.

One mesh for all tests: ``a`` may ask ``b`` for /public, nobody may anything else. After every attack the application
says what came to it, and each sidecar must still be the process it was.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.local import LocalMesh, LocalWorld

WORLDS = Path(__file__).parents[2] / "conformance" / "worlds"
POLICY = [
    {
        "apiVersion": "specs.smi-spec.io/v1alpha4",
        "kind": "HTTPRouteGroup",
        "metadata": {"name": "routes"},
        "spec": {"matches": [{"name": "public", "pathRegex": "/public"}]},
    },
    {
        "apiVersion": "access.smi-spec.io/v1alpha4",
        "kind": "TrafficTarget",
        "metadata": {"name": "a-b"},
        "spec": {
            "destination": {"kind": "ServiceAccount", "name": "b"},
            "sources": [{"kind": "ServiceAccount", "name": "a"}],
            "rules": [{"kind": "HTTPRouteGroup", "name": "routes"}],
        },
    },
]


@pytest.fixture(scope="module")
def world() -> Iterator[LocalWorld]:
    mesh = LocalMesh(smi=(sys.executable, "-m", "translator.cli"))
    with mesh.world("access", [WORLDS / "app.yaml", WORLDS / "access.yaml"]) as running:
        assert isinstance(running, LocalWorld)
        running.apply(POLICY)
        yield running


@pytest.fixture
def untouched(world: LocalWorld) -> Iterator[None]:
    """Nothing comes to the application meanwhile, and no sidecar dies."""
    before, alive = world.arrived("b"), sidecars(world)
    yield
    assert world.arrived("b") == before
    assert sidecars(world) == alive
    assert ask(world, "http://b/public") == {"b": 1}


def pods(world: LocalWorld) -> dict[str, dict[str, Any]]:
    status = json.loads(world.smi_local("status", "-o", "json"))
    return {f"{pod['namespace']}/{pod['workload']}": pod for pod in status["pods"]}


def sidecars(world: LocalWorld) -> dict[str, int]:
    return {name: pod["sidecar"]["pid"] for name, pod in pods(world).items() if pod["meshed"]}


def ask(world: LocalWorld, url: str, raw: str = "") -> dict[str, int]:
    """Asks from ``a``: kinds of answers, as the conformance suite has them."""
    order = {"url": url, "method": "GET", "headers": {}, "raw": raw, "times": 1, "clients": 1, "hear": []}
    return dict(world.send("a", order).answers)


def say(address: str, port: int, data: bytes) -> bytes:
    """What is answered to ``data`` on a connection that is half-closed behind it; empty when it is just closed."""
    with socket.create_connection((address, port), timeout=15) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))
        except TimeoutError:
            raise
        except OSError:  # reset, perhaps before it could be half-closed
            return b""


NO_TLS = [
    b"GET /public HTTP/1.1\r\nHost: b\r\n\r\n",
    b"SMI1\0\1\x1f\x90GET /public HTTP/1.1\r\nHost: b\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\0\x05hello",
    b"\x16\x03\x01\xff\xff" + bytes(70000),
    b"\x80\x2e\x01\x00\x02",
    b"\0" * 100,
    b"",
]


@pytest.mark.usefixtures("untouched")
def test_nothing_but_tls_is_answered_at_the_mesh_port(world: LocalWorld) -> None:
    address = world.address("b")
    assert [data for data in NO_TLS if b"HTTP" in say(address, 4143, data)] == []


@pytest.mark.usefixtures("untouched")
def test_tls_without_a_certificate_of_the_mesh_is_no_way_in(world: LocalWorld) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["smi-mesh/1"])
    with (
        socket.create_connection((world.address("b"), 4143), timeout=15) as plain,
        contextlib.suppress(ssl.SSLError, ConnectionError),
        context.wrap_socket(plain) as connection,
    ):
        connection.sendall(b"SMI1\0\1\x1f\x90GET /public HTTP/1.1\r\nHost: b\r\n\r\n")
        assert connection.recv(100) == b""


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("port", [8080, 9090])
def test_the_address_of_a_pod_gives_nobody_an_identity(world: LocalWorld, port: int) -> None:
    forged = b"GET /public HTTP/1.1\r\nHost: b\r\nsmi-mesh-client-id: default/a\r\n\r\n"
    answer = say(world.address("b"), port, forged)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"smi-mesh-reason: no-identity;" in answer


PLACES = [
    "127.0.0.1:8080",
    "[::1]:8080",
    "localhost:8080",
    "0.0.0.0:8080",
    "[::]:8080",
    "127.1:8080",
    "2130706433:8080",
    "0x7f000001:8080",
    "[::ffff:{ip}]:8080",
    "{host}:8080",
    "{ip}:4140",
    "{ip}:4143",
    "{ip}:4191",
    "{other}:4140",
    "{other}:4143",
    "{own}:4140",
    "{own}:4191",
    "b:4143",
    "b.nowhere:80",
    "example.com:80",
    "xn--b-0fa:80",
]


@pytest.mark.usefixtures("untouched")
def test_a_proxy_leads_to_what_the_mesh_has_and_nowhere_else(world: LocalWorld) -> None:
    """Not to loopback, not to where an application really listens, not to any sidecar's own ports."""
    ip, other, own = (world.address(name) for name in ("b", "c", "a"))
    host = ip.replace("127.80.", "127.81.")  # the application's own address
    got = {}
    for place in PLACES:
        name = place.format(ip=ip, other=other, own=own, host=host)
        for raw in (
            f"GET http://{name}/public HTTP/1.1\r\nHost: {name}\r\n\r\n",
            f"GET /public HTTP/1.1\r\nHost: {name}\r\n\r\n",
            f"CONNECT {name} HTTP/1.1\r\nHost: {name}\r\n\r\n",
        ):
            got[raw] = set(ask(world, "http://b/", raw))
    assert {raw: kinds for raw, kinds in got.items() if not kinds <= {"502 egress", "503 no-service"}} == {}


CONNECT = b"CONNECT b:80 HTTP/1.1\r\nHost: b:80\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 OK\r\n\r\n"
INSIDE = {
    b"GET /secret HTTP/1.1\r\nHost: b\r\n\r\n": 403,
    b"GET http://b/secret HTTP/1.1\r\nHost: c\r\n\r\n": 403,
    b"CONNECT b:80 HTTP/1.1\r\nHost: b:80\r\n\r\n": 405,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": 505,
}


@pytest.mark.usefixtures("untouched")
def test_connect_is_no_tunnel_past_policy(world: LocalWorld) -> None:
    proxy_of_a = world.address("a")
    for inside, status in INSIDE.items():
        answer = say(proxy_of_a, 4140, CONNECT + inside)
        assert answer.startswith(ESTABLISHED + b"HTTP/1.1 %d " % status), (inside, answer)


@pytest.mark.usefixtures("untouched")
def test_connect_gives_no_right_to_a_caller_without(world: LocalWorld) -> None:
    answer = say(world.address("c"), 4140, CONNECT + b"GET /public HTTP/1.1\r\nHost: b\r\n\r\n")
    assert answer.startswith(ESTABLISHED + b"HTTP/1.1 403 ")


@pytest.mark.usefixtures("untouched")
def test_the_admin_port_changes_nothing(world: LocalWorld) -> None:
    before = pods(world)["default/b"]["sidecar"]["configVersion"]
    address = world.address("b")
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"):
        for path in ("/config", "/live", "/ready", "/status", "/metrics", "/", "/shutdown", "/proxy-log-level", "/env"):
            assert admin(address, method, path).status in (400, 404, 405), (method, path)
    assert pods(world)["default/b"]["sidecar"]["configVersion"] == before


def admin(address: str, method: str, path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(address, 4191, timeout=15)
    connection.request(method, path, body='{"version": 99, "inbound": {"default_policy": "allow"}}')
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


@pytest.mark.parametrize("path", ["/live", "/status", "/metrics", "/config", "/audit", "/probe/x"])
def test_the_admin_port_tells_nothing_to_a_page_from_elsewhere(world: LocalWorld, path: str) -> None:
    """DNS rebinding: a name of somebody's own leads to the pod, and a browser takes the answer for his."""
    address = world.address("b")
    for host in ("evil.example", "evil.example:4191", f"{address}.evil.example"):
        status, said = under(host, address, path)
        assert (status, b"the Host must be" in said) == (403, True)
    for host in (f"{address}:4191", "localhost:4191", "b", "b.default.svc.cluster.local"):
        assert under(host, address, path)[0] in (200, 404)


def under(host: str, address: str, path: str) -> tuple[int, bytes]:
    with contextlib.closing(http.client.HTTPConnection(address, 4191, timeout=15)) as connection:
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_what_the_admin_port_shows_holds_no_key(world: LocalWorld) -> None:
    address = world.address("b")
    for path in ("/config", "/status", "/metrics"):
        with contextlib.closing(http.client.HTTPConnection(address, 4191, timeout=15)) as connection:
            connection.request("GET", path)
            said = connection.getresponse().read()
            assert said
            assert b"PRIVATE KEY" not in said
