"""Services without selector on a cluster: endpoints that somebody writes down, also as one side of a TrafficSplit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from cluster import APP_IMAGE, MESH, Place, eventually, got, kubectl, place

pytestmark = pytest.mark.usefixtures("mesh")

SERVER = """\
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        client = self.headers.get("smi-mesh-client-id", "nobody")
        body = f"{sys.argv[1]} to {client}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("", 8080), Answer).serve_forever()
"""


def pod(name: str, inject: str, **more: Any) -> dict[str, Any]:
    container = {
        "name": "c",
        "image": APP_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", SERVER, name],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}, "annotations": {"smi-mesh.io/inject": inject}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], **more},
    }


def service(name: str, **selector: str) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    spec = {"ports": ports, **({"selector": selector} if selector else {})}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def slice_of(name: str, *addresses: str, ready: bool = True) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-by-hand", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": ready}} for address in addresses],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


def split(root: str, **weights: int) -> dict[str, Any]:
    backends = [{"service": name, "weight": weight} for name, weight in weights.items()]
    return {
        "apiVersion": "split.smi-spec.io/v1alpha4",
        "kind": "TrafficSplit",
        "metadata": {"name": root},
        "spec": {"service": root, "backends": backends},
    }


def explained(url: str, source: str, namespace: str) -> Any:
    """What the controller explains, asked on its own loopback."""
    query = urlencode({"url": url, "from": source, "namespace": namespace})
    script = f"import urllib.request as r; print(r.urlopen('http://localhost:8080/explain?{query}').read().decode())"
    return json.loads(kubectl("-n", MESH, "exec", "deploy/smi-mesh-controller", "--", "python3", "-c", script))


@pytest.fixture(scope="module")
def shop() -> Iterator[Place]:
    with place("e2e-slices") as where:
        plain = ("old", "older")
        where.apply(*(pod(name, "disabled") for name in plain), *(pod(name, "enabled") for name in ("new", "client")))
        where.apply(service("db"), service("new", app="new"), service("web", app="new"))
        where.kubectl("wait", "pod", "--all", "--for=condition=Ready", "--timeout=180s")
        yield where


def address(shop: Place, name: str) -> str:
    return str(shop.got("pod", name)["status"]["podIP"])


def asked(shop: Place, url: str, times: int = 1) -> dict[str, int]:
    answers = shop.python("pod/client", "ask", url, str(times), "GET", "{}")
    return {str(kind): int(count) for kind, count in answers.items()}


def follows(shop: Place, url: str, *, by: str) -> None:
    eventually(f"requests get to {by}", lambda: list(asked(shop, url)) == [by], 20)


def test_requests_follow_the_slice_and_each_endpoint_is_called_as_what_it_is(shop: Place) -> None:
    """A pod without sidecar is called in the clear, one of the mesh by mutual TLS, with the caller's identity."""
    shop.apply(slice_of("db", address(shop, "old")))
    follows(shop, "http://db/", by="old to nobody")
    assert asked(shop, "http://db/", 20) == {"old to nobody": 20}

    shop.apply(slice_of("db", address(shop, "older")))
    follows(shop, "http://db/", by="older to nobody")

    shop.apply(slice_of("db", address(shop, "new")))
    follows(shop, "http://db/", by=f"new to {shop.name}/default")

    shop.apply(slice_of("db", address(shop, "new"), ready=False))
    follows(shop, "http://db/", by="503 no-endpoint")


def test_such_a_service_is_one_side_of_a_split(shop: Place) -> None:
    new = f"new to {shop.name}/default"
    shop.apply(slice_of("db", address(shop, "old")), split("web", db=1, new=3))
    eventually("the split is in force", lambda: "old to nobody" in asked(shop, "http://web/", 4), 20)
    assert asked(shop, "http://web/", 40) == {"old to nobody": 10, new: 30}

    shop.apply(slice_of("db", address(shop, "older")))
    eventually("requests follow the slice", lambda: "older to nobody" in asked(shop, "http://web/", 4), 20)
    assert asked(shop, "http://web/", 40) == {"older to nobody": 10, new: 30}

    shop.apply(slice_of("db"))
    eventually("its share goes to the other", lambda: asked(shop, "http://web/", 20) == {new: 20}, 20)


def test_the_commands_know_it(shop: Place) -> None:
    shop.apply(slice_of("db", address(shop, "old")))
    follows(shop, "http://db/", by="old to nobody")

    said = explained("http://db/", "client", shop.name)
    assert said["destination"]["service"] == f"{shop.name}/db"
    assert said["backends"][0]["endpoints"] == [f"{shop.name}/old"]
    assert said["answer"]["allowed"] is True


def test_what_is_of_no_use_in_a_slice_is_an_event(shop: Place) -> None:
    named = slice_of("db", address(shop, "old"))
    named["metadata"]["name"] = "db-wrong"
    named["ports"][0]["name"] = "other"
    shop.apply(named)

    def events() -> list[tuple[str, str]]:
        found = shop.got("events.events.k8s.io")["items"]
        return [
            (one["regarding"]["name"], one["reason"]) for one in found if one["regarding"]["kind"] == "EndpointSlice"
        ]

    eventually("there is an Event", lambda: ("db-wrong", "PortNotFound") in events(), 30)
    shop.kubectl("delete", "endpointslice", "db-wrong")


def test_the_api_server_is_reached_as_if_there_were_no_mesh(shop: Place) -> None:
    """By its own certificate, which a proxy could not show, and with a ServiceAccount's token."""
    folder = "/var/run/secrets/kubernetes.io/serviceaccount"
    script = (
        "import ssl, urllib.request as r\n"
        f"tls = ssl.create_default_context(cafile='{folder}/ca.crt')\n"
        "q = r.Request('https://kubernetes.default.svc/version')\n"
        f"q.add_header('Authorization', 'Bearer ' + open('{folder}/token').read())\n"
        "print(r.urlopen(q, context=tls, timeout=30).read().decode())\n"
    )
    version = json.loads(shop.exec("pod/client", "python3", "-c", script))
    assert version == json.loads(kubectl("get", "--raw", "/version"))
    assert got("-n", "default", "endpointslice", "kubernetes")["metadata"]["name"] == "kubernetes"


def test_an_external_name_is_reached_as_if_there_were_no_mesh(shop: Place) -> None:
    spec = {"type": "ExternalName", "externalName": f"db.{shop.name}.svc.cluster.local", "ports": [{"port": 80}]}
    shop.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "away"}, "spec": spec})
    shop.apply(slice_of("db", address(shop, "old")))
    follows(shop, "http://away/", by="old to nobody")
