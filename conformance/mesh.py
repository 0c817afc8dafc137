"""What a kind of mesh must offer so that cases can be run against it. ``conformance.local`` is one such adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


class MeshError(Exception):
    """The mesh could not be started, changed or asked: no case is to blame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a caller got: answers by kind, the values servers saw for the asked header names, a transport error."""

    answers: Mapping[str, int]
    heard: Mapping[str, Sequence[str | None]]
    failure: str


class World(Protocol):
    """A running mesh with a world's manifests in it."""

    def apply(self, objects: Sequence[Mapping[str, Any]]) -> None:
        """Puts ``objects`` in place of those applied before; returns when the mesh should have taken them up."""
        ...

    def send(self, caller: str, order: Mapping[str, Any]) -> Heard:
        """Runs an order (see ``conformance.client``) in the first pod of the workload ``[namespace/]name``."""
        ...

    def arrived(self, workload: str) -> int:
        """How many requests the application in the workload's first pod has got so far, asked without the mesh."""
        ...

    def address(self, workload: str) -> str:
        """The IP address of the first pod of the workload ``[namespace/]name``."""
        ...


class Mesh(Protocol):
    """A kind of mesh."""

    def world(self, name: str, manifests: Sequence[Path]) -> AbstractContextManager[World]:
        """A mesh with these files in it, all pods ready; gone when the context ends. Raises ``MeshError``."""
        ...
