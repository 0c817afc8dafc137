"""Endpoints: who stands behind a Service port, as the contract's check would have it."""

from __future__ import annotations

from dataclasses import replace

from proxy.contract.check import contradictions
from proxy.contract.config import Endpoint
from smi.meta import Meta
from smi.workloads import Pod, Service, ServicePort
from translator.compiler import compile_sidecar
from translator.endpoints import pod_cluster, pod_ports, service_endpoints
from translator.world import World

HTTP = ServicePort(port=80, target_port="http")


def pod(name: str, ip: str, http: int = 8080, mesh_port: int = 4143, listen_ports: dict[int, int] | None = None) -> Pod:
    return Pod(
        meta=Meta(name=name, labels={"app": "web"}),
        ip=ip,
        ports={"http": http},
        ready=True,
        mesh_port=mesh_port,
        listen_ports=listen_ports or {},
    )


def service(cluster_ip: str = "") -> Service:
    return Service(meta=Meta(name="web"), ports=(HTTP,), selector={"app": "web"}, cluster_ip=cluster_ip)


def behind(*pods: Pod) -> tuple[Endpoint, ...]:
    world = World.of([service()], pods)
    return service_endpoints(world, service(), HTTP)


def test_a_named_target_port_is_each_pods_own() -> None:
    found = behind(pod("a", "127.80.0.2", http=8080), pod("b", "127.80.0.3", http=9090))
    assert [(endpoint.ip, endpoint.port) for endpoint in found] == [("127.80.0.2", 8080), ("127.80.0.3", 9090)]


def test_one_address_is_one_endpoint() -> None:
    assert [endpoint.pod for endpoint in behind(pod("old", "127.80.0.2"), pod("new", "127.80.0.2"))] == ["default/new"]


def test_a_pod_without_sidecar_is_dialled_where_it_is_bound() -> None:
    [endpoint] = behind(pod("a", "127.80.0.2", http=80, mesh_port=0, listen_ports={80: 20080}))
    assert endpoint == Endpoint(ip="127.80.0.2", port=80, pod="default/a", listen=20080)


def test_a_pod_with_sidecar_is_expected_to_show_its_identity() -> None:
    [endpoint] = behind(pod("a", "127.80.0.2", http=80, listen_ports={80: 20080}))
    assert (endpoint.mesh, endpoint.identity) == (4143, "spiffe://cluster.local/ns/default/sa/default")
    assert endpoint.listen == 0


def test_a_pod_is_called_at_the_port_that_is_bound_too() -> None:
    one = pod("a", "127.80.0.2", http=80, listen_ports={80: 20080})
    assert pod_ports(World.of([service()], [one]), one) == {80: "pod:127.80.0.2:80", 20080: "pod:127.80.0.2:80"}


def test_a_cluster_address_that_is_none_does_not_spoil_the_config() -> None:
    for address in ("None", "somewhere", "10.0.0"):
        world = World.of([service(address)], [pod("a", "127.80.0.2")])
        config = compile_sidecar(world, world.pods[0], frozenset({"web.default"})).config
        assert config.services["default/web"].cluster_ip == ""
        assert contradictions(config) == ()


def test_who_is_not_ready_is_called_by_its_own_address() -> None:
    starting = replace(pod("a", "127.80.0.2"), ready=False)
    [endpoint] = pod_cluster(World.of([service("None")], [starting]), starting, 8080).endpoints
    assert endpoint.pod == "default/a"
    assert behind(starting) == ()


def test_who_is_not_ready_answers_for_a_service_that_wants_it_so() -> None:
    wanted = replace(service(), publish_not_ready=True)
    world = World.of([wanted], [replace(pod("a", "127.80.0.2"), ready=False), pod("b", "127.80.0.3")])
    assert [endpoint.pod for endpoint in service_endpoints(world, wanted, HTTP)] == ["default/a", "default/b"]
