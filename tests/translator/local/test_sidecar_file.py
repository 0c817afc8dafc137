from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from proxy.contract.config import ClearListener, File
from smi.meta import Meta
from smi.workloads import Container, ContainerPort, Namespace, Pod, Service, ServicePort, Workload
from translator.local.records import MeshRecord, PodRecord
from translator.local.sidecar import Surroundings, Wanted, access_log, clear_ports, is_meshed, sidecar_file
from translator.local.state import MeshState

WEB = Workload(
    kind="Deployment",
    meta=Meta(name="web", namespace="shop"),
    template=Meta(name="web", namespace="shop", labels={"app": "web", "v": "1"}),
    containers=(
        Container(
            name="c",
            ports=(
                ContainerPort(port=8080, name="http"),
                ContainerPort(port=53, protocol="UDP"),
                ContainerPort(port=4191),
            ),
        ),
        Container(name="d", ports=(ContainerPort(port=80), ContainerPort(port=8080))),
    ),
)


def service(target: int | str, *, namespace: str = "shop", protocol: str = "TCP", **selector: str) -> Service:
    port = ServicePort(port=90, target_port=target, protocol=protocol)
    return Service(meta=Meta(name="s", namespace=namespace), ports=(port,), selector=selector)


def test_callers_in_the_clear_may_knock_at_every_container_port_but_the_sidecars() -> None:
    assert clear_ports(WEB, []) == (80, 8080)


@pytest.mark.parametrize(
    ("selecting", "ports"),
    [
        (service(9000, app="web"), (80, 8080, 9000)),
        (service(0, app="web"), (80, 90, 8080)),
        (service("http", app="web"), (80, 8080)),
        (service(4143, app="web"), (80, 8080)),
        (service(9000, app="web", v="2"), (80, 8080)),
        (service(9000), (80, 8080)),
        (service(9000, app="web", namespace="other"), (80, 8080)),
        (service(9000, app="web", protocol="UDP"), (80, 8080)),
    ],
)
def test_and_at_the_target_ports_of_services_that_select_the_pod(selecting: Service, ports: tuple[int, ...]) -> None:
    assert clear_ports(WEB, [selecting]) == ports


@pytest.mark.parametrize(
    ("pod", "namespace", "meshed"),
    [
        ({}, {}, True),
        ({"smi-mesh.io/inject": "disabled"}, {}, False),
        ({"linkerd.io/inject": "disabled"}, {}, False),
        ({}, {"smi-mesh.io/inject": "disabled"}, False),
        ({"smi-mesh.io/inject": "enabled"}, {"smi-mesh.io/inject": "disabled"}, True),
        ({"smi-mesh.io/inject": "enabled", "linkerd.io/inject": "disabled"}, {}, True),
    ],
)
def test_inject(pod: dict[str, str], namespace: dict[str, str], meshed: bool) -> None:
    one = Workload(kind="Pod", meta=Meta(name="x"), template=Meta(name="x", annotations=pod))
    assert is_meshed(one, Namespace(meta=Meta(name="default", annotations=namespace))) is meshed


@pytest.mark.parametrize(
    ("pod", "namespace", "log"),
    [
        ({}, {}, ""),
        ({"smi-mesh.io/access-log": "text"}, {}, "text"),
        ({}, {"smi-mesh.io/access-log": "json"}, "json"),
        ({"smi-mesh.io/access-log": "text"}, {"smi-mesh.io/access-log": "json"}, "text"),
        ({"smi-mesh.io/access-log": "none"}, {"smi-mesh.io/access-log": "json"}, ""),
        ({"smi-mesh.io/access-log": "apache"}, {"smi-mesh.io/access-log": "json"}, "json"),
        ({"smi-mesh.io/access-log": ""}, {}, ""),
    ],
)
def test_access_log(pod: dict[str, str], namespace: dict[str, str], log: str) -> None:
    one = Workload(kind="Pod", meta=Meta(name="x"), template=Meta(name="x", annotations=pod))
    assert access_log(one, Namespace(meta=Meta(name="default", annotations=namespace))) == log


def test_without_a_namespace_object_pods_are_meshed() -> None:
    assert is_meshed(WEB, None)


def test_the_file_says_who_the_sidecar_is_and_where_everything_lies() -> None:
    mesh = MeshRecord(
        name="mesh",
        instance="i",
        pid=1,
        api_port=8001,
        directories=(),
        control_address="127.80.3.1",
        control_port=4190,
    )
    around = Surroundings(
        mesh=mesh, state=MeshState(directory=Path("/state/mesh")), first_unprivileged=1024, egress=True
    )
    pod = Pod(meta=Meta(name="web-1", namespace="shop"), ip="127.80.3.7", service_account="seller", workload="web")
    record = PodRecord(pod=pod, uid="u", app_address="127.81.3.7")
    file = sidecar_file(record, Wanted((80, 8080), "json"), around)
    sidecar = file.sidecar
    assert (sidecar.pod, sidecar.namespace, sidecar.service_account) == ("web-1", "shop", "seller")
    assert sidecar.app_address == "127.81.3.7"
    assert sidecar.egress
    assert sidecar.access_log == "json"
    assert sidecar.listeners.address == "127.80.3.7"
    assert sidecar.listeners.clear == (ClearListener(port=20080, target=80), ClearListener(port=8080, target=8080))
    assert sidecar.app_ports == {80: 20080}
    assert sidecar.control is not None
    assert (sidecar.control.address, sidecar.control.port) == ("127.80.3.1", 4190)
    assert sidecar.control.identity == "spiffe://cluster.local/ns/smi-mesh/sa/smi-mesh-controller"
    assert sidecar.tls is not None
    assert sidecar.tls.bundle == "/state/mesh/bundle.pem"
    assert sidecar.tls.token == "/state/mesh/pods/shop.web-1/token"
    assert msgspec.json.decode(msgspec.json.encode(file), type=File) == file
