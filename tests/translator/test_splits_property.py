"""Random splits: where the compiled config sends a request, against the oracle."""

from __future__ import annotations

import os
from fractions import Fraction
from math import gcd

import oracle
import scenes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.contract.check import contradictions
from proxy.contract.config import Config, HttpMatch, Port
from smi.specs import HTTPMatch
from smi.workloads import Service
from translator.compiler import compile_sidecar
from translator.world import World

EXAMPLES = int(os.environ.get("SMI_MESH_EXAMPLES", "1000"))


def compiled_route(config: Config, port: Port, request: oracle.Request) -> oracle.Route:
    """A plain evaluation of the contract: the first rule that matches, else the Service's own endpoints."""
    for rule in port.rules:
        if rule.matches is not None and not any(meets(match, request) for match in rule.matches):
            continue
        if not rule.backends:
            return oracle.Route(failure="no-service")
        if not any(backend.weight for backend in rule.backends):
            return oracle.Route(failure="weights-zero")
        ready = {
            backend.service: backend.weight
            for backend in rule.backends
            if backend.weight and config.clusters[backend.cluster].endpoints
        }
        total = sum(ready.values())
        if not ready:
            return oracle.Route(failure="no-endpoint")
        return oracle.Route(shares={service: Fraction(weight, total) for service, weight in ready.items()})
    if not config.clusters[port.cluster].endpoints:
        return oracle.Route(failure="no-endpoint")
    return oracle.Route(shares={port.cluster.rpartition(":")[0]: Fraction(1)})


def meets(match: HttpMatch, request: oracle.Request) -> bool:
    return oracle.meets(
        HTTPMatch(name="", methods=match.methods, path_regex=match.path, headers=match.headers), request
    )


def check_clusters(scene: oracle.Scene, config: Config) -> None:
    """Every referenced cluster is there, no other, each with exactly the ready pods."""
    referenced = set()
    for service in config.services.values():
        for port in service.ports.values():
            referenced.add(port.cluster)
            for rule in port.rules:
                weights = [backend.weight for backend in rule.backends]
                assert all(isinstance(weight, int) and weight >= 0 for weight in weights)
                assert gcd(*weights) in (0, 1)
                assert len({backend.service for backend in rule.backends}) == len(rule.backends)
                referenced |= {backend.cluster for backend in rule.backends}
    assert set(config.clusters) == referenced
    for key, cluster in config.clusters.items():
        owner, _, number = key.rpartition(":")
        found = {(endpoint.ip, endpoint.port) for endpoint in cluster.endpoints}
        assert found == oracle.pods_behind(scene, owner, int(number))
        assert len(found) == len(cluster.endpoints)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(scene=scenes.split_scenes, requests=st.lists(scenes.requests, min_size=3, max_size=3))
def test_a_request_goes_where_the_splits_say(scene: oracle.Scene, requests: list[oracle.Request]) -> None:
    world = World.of(scene.objects, scene.pods)
    services = [thing for thing in scene.objects if isinstance(thing, Service)]
    hosts = {f"{service.meta.name}.{service.meta.namespace}": service for service in services}
    config = compile_sidecar(world, scene.pods[0], frozenset(hosts)).config
    assert contradictions(config) == ()
    check_clusters(scene, config)
    for host, service in hosts.items():
        if service.type == "ExternalName":
            assert config.hosts[host].service == ""
            continue
        ports = config.services[config.hosts[host].service].ports
        for entry in service.ports:
            if entry.protocol != "TCP":
                continue
            for request in requests:
                expected = oracle.expected_route(scene, service.meta.namespace, service.meta.name, entry.port, request)
                got = compiled_route(config, ports[entry.port], request)
                assert got == expected, f"{host}:{entry.port} {request}\n{config.services}"
