"""Policy: what the golden cases do not show."""

from __future__ import annotations

import msgspec
import pytest

from proxy.contract.config import Config
from proxy.contract.patch import digest
from smi.meta import Meta
from smi.workloads import Pod
from translator.compiler import compile_sidecar
from translator.findings import Finding, Reason
from translator.settings import Settings
from translator.world import World


def compiled(annotations: dict[str, str], settings: Settings | None = None) -> tuple[Config, tuple[Finding, ...]]:
    pod = Pod(meta=Meta(name="web-0", annotations=annotations), ip="127.80.0.2")
    result = compile_sidecar(World.of((), [pod], settings), pod, frozenset())
    return result.config, result.findings


@pytest.mark.parametrize("policy", ["same-identity", "deny", "allow"])
def test_a_sidecar_that_got_a_config_has_the_digest_of_the_one_compiled_anew(policy: str) -> None:
    config, _ = compiled({"smi-mesh.io/default-policy": "".join(policy)})
    got = msgspec.msgpack.decode(msgspec.msgpack.encode(config), type=Config)
    assert digest(got) == digest(config)


def test_the_meshs_own_default_policy_has_the_same_digest_as_the_contracts() -> None:
    assert digest(compiled({}, Settings(default_policy="same-identity"))[0]) == digest(Config())


@pytest.mark.parametrize("name", ["default-policy", "unmeshed", "policy-mode"])
def test_a_wrong_annotation_is_a_finding_and_changes_nothing(name: str) -> None:
    config, findings = compiled({f"smi-mesh.io/{name}": "ALLOW"})
    assert config == compiled({})[0]
    assert [(one.kind, one.name, one.reason) for one in findings] == [("Pod", "web-0", Reason.INVALID_ANNOTATION)]


def test_annotations_of_other_people_are_left_alone() -> None:
    assert compiled({"example.org/default-policy": "deny", "smi-mesh.io/opaque-ports": "25"})[1] == ()
