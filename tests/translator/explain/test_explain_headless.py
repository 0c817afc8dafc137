"""Where kernels redirect connections: the name of a headless Service is an address before a sidecar sees it."""

from __future__ import annotations

import pytest
from shop import told

from smi.decode import decode_text
from smi.meta import Meta
from smi.workloads import Pod
from translator.explain.answer import Explanation
from translator.explain.mesh import compiled
from translator.world import World

MANIFESTS = """
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: plain}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: next}
spec: {clusterIP: 10.96.0.9, selector: {app: next}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {name: db}
spec: {service: db, backends: [{service: next, weight: 1}]}
"""


def pod(name: str, ip: str, *, ready: bool = True, annotations: dict[str, str] | None = None) -> Pod:
    app, _, _ = name.partition("-")
    return Pod(
        meta=Meta(name=name, labels={"app": app}, annotations=annotations or {}), ip=ip, mesh_port=4143, ready=ready
    )


def asked(url: str, *headers: str, ready: bool = True, annotations: dict[str, str] | None = None) -> Explanation:
    pods = [
        pod("client", "10.1.0.1", annotations=annotations),
        pod("db-0", "10.1.0.2", ready=ready),
        pod("db-1", "10.1.0.3", ready=ready),
        pod("next-0", "10.1.0.4"),
    ]
    world = World.of(decode_text(MANIFESTS, "m.yaml").objects, pods)
    return told(compiled(world, transparent=True), f"GET {url}", "client", *headers)


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("http://db:8080/", ()),
        ("http://db.default.svc.cluster.local:8080/x?y", ()),
        ("http://10.1.0.2:8080", ("Host: db",)),
        ("http://10.1.0.3:8080?x", ("Host: db.default:8080",)),
    ],
)
def test_a_headless_root_is_split_at_the_addresses_it_stands_for(url: str, headers: tuple[str, ...]) -> None:
    found = asked(url, *headers)
    assert found.destination is not None
    assert (found.destination.service, found.destination.port) == ("default/db", 80)
    assert [(one.split, one.applies) for one in found.splits] == [("default/db", True)]
    assert [server.pods for server in found.servers] == [("default/next-0",)]


@pytest.mark.parametrize(
    ("url", "headers", "destination"),
    [
        ("http://10.1.0.2:8080/", (), "default/db-0"),
        ("http://10.1.0.2:8080/", ("Host: next",), "default/db-0"),
        ("http://10.1.0.2:8080/", ("Host: db:80",), "default/db-0"),
        ("http://db-1.db:8080/", (), "default/db-1"),
        ("http://plain:8080/", (), "default/db-0"),
    ],
)
def test_all_else_goes_to_the_pod(url: str, headers: tuple[str, ...], destination: str) -> None:
    found = asked(url, *headers)
    assert found.destination is not None
    assert found.destination.pod == destination
    assert found.splits == ()


def test_a_port_that_only_the_service_has_is_no_pods() -> None:
    """Nobody translates it: a headless Service's targetPort is for its clients to know."""
    found = asked("http://db/")
    assert (found.answer.status, found.answer.reason) == (503, "no-service")


def test_whose_destination_is_an_address_of_a_service_may_say_any_host() -> None:
    found = asked("http://next/", "Host: db")
    assert found.destination is not None
    assert found.destination.service == "default/next"


def test_who_knows_its_proxy_says_names() -> None:
    found = asked("http://db/", annotations={"smi-mesh.io/http-proxy": "enabled"})
    assert found.destination is not None
    assert (found.destination.service, found.destination.port) == ("default/db", 80)


@pytest.mark.parametrize("url", ["http://a b/", "http://10.1.0.2:99999/", "http://me@next/"])
def test_what_is_no_authority_is_refused(url: str) -> None:
    assert asked(url, "Host: next").answer.status == 400


def test_nobody_ready_has_an_address() -> None:
    assert asked("http://plain:8080/", ready=False).answer.status == 503
