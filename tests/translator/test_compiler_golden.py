"""Every rule of SMI as a file: manifests and pods in, the sidecar's config out. See ``tests/golden/README.md``."""

from __future__ import annotations

import difflib
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from proxy.contract.check import contradictions
from proxy.contract.config import Config
from smi.decode import Decoded, decode_text
from smi.meta import Meta
from smi.workloads import Pod
from translator.compiler import Compiled, compile_sidecar
from translator.review import review
from translator.settings import Settings
from translator.world import World

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = sorted(GOLDEN.rglob("*.yaml"))
REWRITE = "SMI_MESH_REWRITE_GOLDEN" in os.environ


def pod_of(number: int, text: dict[str, Any]) -> Pod:
    namespace, name = text["pod"].split("/")
    kind, _, workload = text.get("workload", "").partition("/")
    return Pod(
        meta=Meta(
            name=name, namespace=namespace, labels=text.get("labels", {}), annotations=text.get("annotations", {})
        ),
        ip=text.get("ip", f"127.80.0.{number + 2}"),
        service_account=text["as"],
        workload=workload,
        workload_kind=kind,
        ports=text.get("ports", {}),
        ready=text.get("ready", True),
        mesh_port=4143 if text.get("meshed", True) else 0,
        listen_ports=text.get("listen", {}),
    )


def compile_case(path: Path) -> tuple[Compiled, World]:
    header, _, manifests = path.read_text().partition("---\n")
    case = yaml.safe_load(header)
    decoded = decode_text(manifests, path.name) if manifests else Decoded()
    assert decoded.problems == ()
    pods = [pod_of(number, text) for number, text in enumerate(case["pods"])]
    world = World.of(decoded.objects, pods, Settings(**case.get("settings", {})))
    return compile_sidecar(world, world.index.pods[case["sidecar"]], frozenset(case.get("hosts", ()))), world


def as_text(compiled: Compiled, world: World) -> str:
    findings = sorted({*compiled.findings, *review(world)})
    document = {
        "config": msgspec.to_builtins(compiled.config, str_keys=True),
        "findings": [f"{one.kind} {one.namespace}/{one.name}: {one.reason}: {one.message}" for one in findings],
    }
    return json.dumps(document, indent=2) + "\n"


@pytest.mark.parametrize("path", CASES, ids=lambda path: str(path.relative_to(GOLDEN).with_suffix("")))
def test_compiled_config_is_as_written_down(path: Path) -> None:
    compiled, world = compile_case(path)
    got = as_text(compiled, world)
    written = path.with_suffix(".json")
    if REWRITE:
        written.write_text(got)
        pytest.skip("written anew")
    expected = written.read_text()
    difference = "".join(difflib.unified_diff(expected.splitlines(True), got.splitlines(True), "expected", "compiled"))
    assert got == expected, f"{written.name}\n{difference}"


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_expected_config_is_one_the_sidecar_takes(path: Path) -> None:
    expected = json.loads(path.with_suffix(".json").read_text())["config"]
    config = msgspec.convert(expected, Config, strict=False)
    assert config == compile_case(path)[0].config
    assert contradictions(config) == ()


def test_every_expected_file_has_its_case() -> None:
    assert [path.with_suffix(".yaml") for path in sorted(GOLDEN.rglob("*.json"))] == CASES
