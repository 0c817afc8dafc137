"""Whether the sidecar runs the compiled twins of its hot modules.

``hatch_build.py`` compiles them with mypyc where it can. A twin stands for the
very source it was made of, byte by byte, or it is not used: what is read here
is what runs. Only ``proxy.__main__`` asks; whoever imports the modules gets the source.
"""

from __future__ import annotations

import json
import os
import sys
from hashlib import sha256
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import proxy
import proxy.http1

ROOT = Path(__file__).resolve().parent.parent
# The suffix is the interpreter's ABI between two dots; sysconfig knows it too, and everything else about its build.
FOLDER = ROOT / "proxy" / "_native" / EXTENSION_SUFFIXES[0].split(".")[1]
PURE = "SMI_MESH_PURE"
"""Environment variable: set to anything, the source is run."""


def prefer() -> str:
    """Import compiled twins from now on; empty if so, else the reason why not. Call it before anything is imported."""
    if os.environ.get(PURE):
        return f"{PURE} is set"
    try:
        sources: dict[str, str] = json.loads((FOLDER / "manifest.json").read_bytes())["sources"]
        for name, digest in sources.items():
            if sha256((ROOT / name).read_bytes()).hexdigest() != digest:
                return f"{name} has changed since it was compiled"
    except (OSError, ValueError, KeyError, TypeError):
        return "nothing was compiled for this interpreter"
    sys.path.append(str(FOLDER))  # the library that the twins share is a top-level module
    proxy.__path__.insert(0, str(FOLDER / "proxy"))
    proxy.http1.__path__.insert(0, str(FOLDER / "proxy" / "http1"))
    return ""
