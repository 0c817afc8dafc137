"""Manifests that ship with the product.

Belongs here: YAML (demos, CRDs, the installation) and the few lines that find it.
Does not belong: code beyond locating files.
Next: ``translator.demo`` runs the demos, ``translator.local`` any folder of manifests, ``translator.kube.install``
prints what an installation is.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def demo(name: str) -> Path:
    """The folder of a demo's manifests. Raises ``KeyError`` when there is no such demo."""
    if name not in demos():
        raise KeyError(name)
    return _demos() / name


def demos() -> tuple[str, ...]:
    """The names of the demos, sorted."""
    return tuple(sorted(entry.name for entry in _demos().iterdir() if entry.is_dir()))


def installation(part: str) -> Path:
    """The folder ``crds``, ``base`` or ``overlays/…``."""
    return _folder().joinpath(*part.split("/"))


def _demos() -> Path:
    return _folder() / "demos"


def _folder() -> Path:
    return Path(str(files(__name__)))
