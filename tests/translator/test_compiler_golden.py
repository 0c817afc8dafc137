"""Every rule of SMI as a file: manifests and pods in, the sidecar's config out. See ``tests/golden/README.md``."""

from __future__ import annotations

import difflib
import json
import os
from pathlib import Path

import msgspec
import pytest
from goldencases import CASES, GOLDEN, load_case

from proxy.contract.check import contradictions
from proxy.contract.config import Config
from translator.compiler import Compiled, compile_sidecar
from translator.review import review
from translator.world import World

REWRITE = "SMI_MESH_REWRITE_GOLDEN" in os.environ


def compile_case(path: Path) -> tuple[Compiled, World]:
    world, pod, hosts = load_case(path)
    return compile_sidecar(world, pod, hosts), world


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
