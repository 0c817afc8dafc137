"""Compile the modules of a request's path with mypyc, beside their source: a build hook, and a script by itself.

The source stays what is read, tested and run where nothing was compiled: without
a C compiler or mypyc the build says so and goes on. What is built lies in
``proxy/_native/<ABI>/`` with a manifest of the sources' digests, by which
``proxy.native`` tells whether it is current.

    python hatch_build.py    builds for this interpreter what is not current
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import sysconfig
import tempfile
import tomllib
from contextlib import chdir
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run as a script, in an environment without the build backend
    BuildHookInterface = object  # type: ignore[assignment,misc]

ROOT = Path(__file__).resolve().parent
PURE = "SMI_MESH_PURE"
"""Set to anything: build nothing, and let a sidecar run from source."""


class NativeHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the compiled modules to a wheel, and to the tree of an editable installation."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See hatchling."""
        folder = build()
        if folder is not None and version == "standard":
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
            build_data["force_include"][str(folder)] = str(folder.relative_to(ROOT))


def build() -> Path | None:
    """Compile what is not current; the folder of the result, None where this machine cannot."""
    if os.environ.get(PURE):
        return None
    names: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["smi-mesh"]["native"]
    folder = ROOT / "proxy" / "_native" / str(sysconfig.get_config_var("SOABI"))
    manifest = {"sources": {name: hashlib.sha256((ROOT / name).read_bytes()).hexdigest() for name in names}}
    written = folder / "manifest.json"
    if written.is_file() and json.loads(written.read_bytes()) == manifest:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    try:
        compile_to(folder, names)
    except (Exception, SystemExit) as error:
        # mypyc ends the process when the types are wrong; setuptools when there is no compiler or no Python.h.
        shutil.rmtree(folder, ignore_errors=True)
        print(f"smi-mesh runs from source, nothing was compiled: {error}", file=sys.stderr)
        return None
    written.write_text(json.dumps(manifest, indent=1))
    return folder


def compile_to(folder: Path, names: list[str]) -> None:
    """Compile modules, named by their files, into ``folder``."""
    from mypyc.build import mypycify  # noqa: PLC0415 (may be missing, then the source is run)
    from setuptools import Distribution  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as scratch, chdir(ROOT):
        # Types are checked elsewhere; here a dependency that is not installed is simply not known.
        options = ["--ignore-missing-imports", "--follow-imports=silent", f"--cache-dir={scratch}/cache"]
        modules = mypycify([*options, *names], opt_level="3", debug_level="0", target_dir=scratch, strip_asserts=False)
        command = Distribution({"name": "smi-mesh", "ext_modules": modules}).get_command_obj("build_ext")
        command.build_lib, command.build_temp = str(folder), f"{scratch}/objects"
        command.ensure_finalized()
        command.run()


if __name__ == "__main__":
    sys.exit(0 if build() is not None or os.environ.get(PURE) else 1)
