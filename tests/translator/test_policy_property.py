"""Random policies: compiler and sidecar's decision together against the oracle. No false allow, no false deny.

``SMI_MESH_EXAMPLES=20000 pytest tests/translator/test_policy_property.py`` looks harder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import oracle
import scenes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.authorize import NOBODY, Authorizer, Caller
from proxy.contract.check import contradictions
from proxy.contract.config import spiffe_id
from smi.workloads import Pod
from translator.compiler import compile_sidecar
from translator.settings import Settings
from translator.world import World

EXAMPLES = int(os.environ.get("SMI_MESH_EXAMPLES", "1000"))


@dataclass(frozen=True)
class Asked:
    """A request as the sidecar's matchers see it."""

    method: str
    policy_path: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str | None:
        return self.headers.get(name)


def asked(request: oracle.Request) -> Asked:
    return Asked(request.method, request.path, request.headers)


def caller_of(pod: Pod) -> Caller:
    identity = spiffe_id("cluster.local", pod.meta.namespace, pod.service_account)
    return Caller(identity=identity, pods=(f"{pod.meta.name}.{pod.meta.namespace}.pod",))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(scene=scenes.access_scenes, requests=st.lists(scenes.requests, min_size=3, max_size=3))
def test_a_sidecar_lets_in_exactly_what_the_targets_say(scene: oracle.Scene, requests: list[oracle.Request]) -> None:
    world = World.of(scene.objects, scene.pods, Settings(default_policy=scene.default_policy))
    for destination in scene.pods:
        config = compile_sidecar(world, destination, frozenset()).config
        assert contradictions(config) == ()
        inbound = config.inbound
        authorizer = Authorizer(inbound, oracle.spiffe(scene, destination))
        for caller in (None, *scene.pods):
            who = NOBODY if caller is None else caller_of(caller)
            for port in scenes.CONTAINER_PORTS:
                for request in (None, *requests):
                    expected = oracle.allowed(scene, caller, destination, port, request)
                    verdict = authorizer.decide(who, port, None if request is None else asked(request))
                    assert verdict.allowed == expected, (
                        f"{'false allow' if verdict.allowed else 'false deny'}: {caller and caller.meta.key} -> "
                        f"{destination.meta.key}:{port} {request}\ncompiled: {inbound}\nverdict: {verdict}"
                    )
