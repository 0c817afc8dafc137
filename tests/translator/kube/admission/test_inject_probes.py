"""What the sidecar is told of a container's probes and hooks, and what the kubelet is told instead."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from proxy.contract.config import File, Probe
from translator.kube.admission.inject import injected
from translator.kube.admission.settings import Injected

PORTS = [{"name": "http", "containerPort": 8080}, {"name": "health", "containerPort": 9000}, {"containerPort": 7000}]


def rewritten(place: str, asked: dict[str, Any], group: str = "containers") -> tuple[dict[str, Any], tuple[Probe, ...]]:
    """The container with ``asked`` at ``place`` after the injection, and what its sidecar is told."""
    container: dict[str, Any] = {"name": "web", "ports": PORTS}
    holder = container.setdefault("lifecycle", {}) if place in ("postStart", "preStop") else container
    holder[place] = asked
    pod = {"spec": {"containers": [{"name": "other"}], group: [container]}}
    spec = injected(pod, {}, Injected(), "")["spec"]
    env = {one["name"]: one.get("value", "") for one in spec["initContainers"][0]["env"]}
    file = msgspec.json.decode(env["SMI_MESH_SIDECAR"], type=File)
    new = spec[group][-1]
    return new.get("lifecycle", {}) if holder is not container else new, file.sidecar.probes


GOLDEN: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"grpc": {"port": 9000}}, {"kind": "grpc", "port": 9000}),
    ({"grpc": {"port": 9000, "service": None}}, {"kind": "grpc", "port": 9000}),
    (
        {"grpc": {"port": 9000, "service": "shop.Cart"}, "timeoutSeconds": 4},
        {"kind": "grpc", "port": 9000, "service": "shop.Cart", "timeout": 4.0},
    ),
    ({"tcpSocket": {"port": "health"}}, {"kind": "tcp", "port": 9000}),
    ({"tcpSocket": {"port": 7000}, "timeoutSeconds": 2}, {"kind": "tcp", "port": 7000, "timeout": 2.0}),
    ({"httpGet": {"port": 8080}}, {"kind": "http", "port": 8080}),
    ({"httpGet": {"port": "http", "path": "/live?deep=1"}}, {"kind": "http", "port": 8080, "path": "/live?deep=1"}),
    ({"httpGet": {"port": "8080", "path": ""}}, {"kind": "http", "port": 8080}),
    ({"httpGet": {"port": 8080, "scheme": "HTTPS"}}, {"kind": "http", "port": 8080, "scheme": "https"}),
    ({"httpGet": {"port": 8080, "scheme": "HTTP", "host": ""}}, {"kind": "http", "port": 8080}),
    (
        {"httpGet": {"port": 8080, "httpHeaders": [{"name": "A", "value": "1"}, {"name": "a", "value": "2"}]}},
        {"kind": "http", "port": 8080, "headers": (("A", "1"), ("a", "2"))},
    ),
    (
        {"httpGet": {"port": 8080, "httpHeaders": [{"name": "Accept", "value": ""}]}},
        {"kind": "http", "port": 8080, "headers": (("Accept", ""),)},
    ),
]


@pytest.mark.parametrize("place", ["startupProbe", "readinessProbe", "livenessProbe"])
@pytest.mark.parametrize(("asked", "told"), GOLDEN, ids=str)
def test_a_probe_is_the_sidecars(place: str, asked: dict[str, Any], told: dict[str, Any]) -> None:
    rest = {"periodSeconds": 7, "failureThreshold": 2, "terminationGracePeriodSeconds": 9}
    new, probes = rewritten(place, {**asked, **rest})

    assert probes == (Probe(name=f"web-{place}", **told),)
    patience = {key: value for key, value in asked.items() if key == "timeoutSeconds"}
    assert new[place] == {"httpGet": {"path": f"/probe/web-{place}", "port": 4191}, **patience, **rest}


def test_a_native_sidecars_probes_are_the_sidecars_too() -> None:
    _, probes = rewritten("startupProbe", {"grpc": {"port": 9000}}, group="initContainers")
    assert probes == (Probe(name="web-startupProbe", kind="grpc", port=9000),)


@pytest.mark.parametrize("place", ["postStart", "preStop"])
def test_a_hook_over_http_is_the_sidecars(place: str) -> None:
    new, probes = rewritten(place, {"httpGet": {"path": "/bye", "port": "http", "scheme": "HTTPS"}})

    assert new[place] == {"httpGet": {"path": f"/probe/web-{place}", "port": 4191}}
    assert probes == (Probe(name=f"web-{place}", kind="http", port=8080, path="/bye", scheme="https", hook=True),)


@pytest.mark.parametrize(
    "asked", [{"exec": {"command": ["true"]}}, {"sleep": {"seconds": 3}}, {"tcpSocket": {"port": 8080}}], ids=str
)
def test_another_hook_stays(asked: dict[str, Any]) -> None:
    """One that connects only fails at the kubelet, and is not made to succeed."""
    new, probes = rewritten("preStop", dict(asked))
    assert (new["preStop"], probes) == (asked, ())


@pytest.mark.parametrize(
    "asked",
    [
        {"exec": {"command": ["true"]}},
        {"httpGet": {"port": "nowhere"}},
        {"httpGet": {"port": 0}},
        {"httpGet": {"port": 70000}},
        {"httpGet": {"port": "9" * 5000}},
        {"httpGet": {"port": 80, "host": "elsewhere"}},
        {"tcpSocket": {"port": 80, "host": "127.0.0.1"}},
        {"grpc": {}},
        {"periodSeconds": 3},
    ],
    ids=lambda asked: str(asked)[:60],
)
def test_a_probe_that_is_not_about_a_port_of_the_pod_stays(asked: dict[str, Any]) -> None:
    new, probes = rewritten("livenessProbe", dict(asked))
    assert (new["livenessProbe"], probes) == (asked, ())


def test_what_the_kubelet_would_expand_in_a_variable_stays_as_it_is() -> None:
    headers = [{"name": "x", "value": "$(POD_NAME) $$"}]
    _, (probe,) = rewritten(
        "livenessProbe", {"httpGet": {"port": 8080, "path": "/$(POD_IP)/$$", "httpHeaders": headers}}
    )
    _, (call,) = rewritten("livenessProbe", {"grpc": {"port": 8080, "service": "$$"}})

    written = (probe.path, *(value for _, value in probe.headers), call.service)
    assert written == ("/$$(POD_IP)/$$$$", "$$(POD_NAME) $$$$", "$$$$")  # of which it makes one of two
