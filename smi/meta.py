"""Identity of an object: the part of Kubernetes' ObjectMeta that SMI semantics depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from sys import intern


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """Name, namespace and annotations of one object.

    ``created`` decides between several splits with one root (oldest first); a
    source sets it to the manifest's ``creationTimestamp`` or to when the object
    was first seen. ``uid`` tells an object from a later one of the same name,
    ``generation`` one ``spec`` from the next; empty and 0 where no API server
    gave them.
    """

    name: str
    namespace: str = "default"
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    created: datetime | None = None
    generation: int = 0
    uid: str = ""

    @property
    def key(self) -> str:
        """``namespace/name``, unique within one kind. The same text is the same object: tables hold it many times."""
        return intern(f"{self.namespace}/{self.name}")
