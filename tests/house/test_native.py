"""The compiled request path: built where there is a compiler, used only while it is of the source that lies here."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from proxy import native

HOUSE = Path(__file__).parents[2]
MODULES = tomllib.loads((HOUSE / "pyproject.toml").read_text())["tool"]["smi-mesh"]["native"]
WHERE = """
import importlib, sys
from proxy import native
native.prefer()
print(importlib.import_module(sys.argv[1]).__spec__.origin)
"""
COMPILER = shutil.which("cc") is not None and Path(sysconfig.get_path("include"), "Python.h").is_file()


def origin(file: str, **environment: str) -> str:
    """The file that a module comes from in a process that imports it before any other."""
    found = subprocess.run(
        [sys.executable, "-c", WHERE, file.removesuffix(".py").replace("/", ".")],
        capture_output=True,
        text=True,
        check=True,
        cwd=HOUSE,
        env={**os.environ, **environment},
    )
    return found.stdout.strip()


@pytest.mark.skipif(not COMPILER, reason="there is no C compiler, or no Python.h")
@pytest.mark.parametrize("file", MODULES)
def test_a_sidecar_runs_what_was_compiled(file: str) -> None:
    """Whichever is first: a compiled module needs the modules of its types to be there when it is imported."""
    assert origin(file).startswith(str(native.FOLDER))


def test_a_sidecar_can_be_told_to_run_the_source() -> None:
    assert origin("proxy/forward.py", SMI_MESH_PURE="1") == str(HOUSE / "proxy/forward.py")


def manifest(folder: Path, content: object) -> None:
    (folder / "manifest.json").write_text(json.dumps(content))


def test_what_was_compiled_of_another_source_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "forward.py").write_text("one = 1\n")
    manifest(tmp_path, {"sources": {"forward.py": "0" * 64}})
    monkeypatch.setattr(native, "ROOT", tmp_path)
    monkeypatch.setattr(native, "FOLDER", tmp_path)
    before = list(sys.path)
    assert native.prefer() == "forward.py has changed since it was compiled"
    assert sys.path == before


@pytest.mark.parametrize("content", [None, {}, [], {"sources": {"gone.py": ""}}])
def test_nothing_compiled_is_no_error(content: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if content is not None:
        manifest(tmp_path, content)
    monkeypatch.setattr(native, "ROOT", tmp_path)
    monkeypatch.setattr(native, "FOLDER", tmp_path)
    assert native.prefer() == "nothing was compiled for this interpreter"
