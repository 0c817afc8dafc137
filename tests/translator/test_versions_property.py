"""The same policy written at any version of SMI, and converted to any, compiles to the same config."""

from __future__ import annotations

import json
import os

import scenes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import Scene
from shapes import VERSIONS, can_be_written, manifest

from smi.convert import convert
from smi.decode import decode_text
from smi.workloads import Namespace, Service
from translator.compiler import compile_sidecar
from translator.world import World

EXAMPLES = int(os.environ.get("SMI_MESH_EXAMPLES", "1000")) // 4
HOSTS = frozenset({"web.one", "web.two", "v1.one"})


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    scene=st.one_of(scenes.access_scenes, scenes.split_scenes),
    versions=st.lists(st.sampled_from(VERSIONS), min_size=20, max_size=20),
    others=st.none() | st.lists(st.sampled_from(VERSIONS), min_size=20, max_size=20),
)
def test_what_is_written_at_any_version_means_what_was_meant(
    scene: Scene, versions: list[str], others: list[str] | None
) -> None:
    given_as_they_are = [thing for thing in scene.objects if isinstance(thing, Namespace | Service)]
    meant = [thing for thing in scene.objects if thing not in given_as_they_are and can_be_written(thing)]
    written = [manifest(thing, version) for thing, version in zip(meant, versions, strict=False)]
    if others is not None:
        written = [convert(one, version).manifest for one, version in zip(written, others, strict=False)]
    decoded = decode_text("\n---\n".join(map(json.dumps, written)), "random.yaml")
    assert decoded.problems == ()
    assert len(decoded.objects) == len(meant)
    one = World.of([*meant, *given_as_they_are], scene.pods)
    other = World.of([*decoded.objects, *given_as_they_are], scene.pods)
    for pod in scene.pods:
        assert compile_sidecar(other, pod, HOSTS) == compile_sidecar(one, pod, HOSTS)
