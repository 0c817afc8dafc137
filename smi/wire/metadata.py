"""``metadata``: Kubernetes' ObjectMeta as far as the mesh reads it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field, PlainValidator

from smi.errors import Invalid
from smi.meta import Meta
from smi.names import shown
from smi.wire.base import Label, Name, Wire


def _timestamp(value: object) -> datetime:
    """RFC 3339, always with a zone."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is not None and moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise Invalid(f"must be a time such as 2024-05-01T12:00:00Z, not {shown(value)}")


class Labels(Wire):
    """Where labels and annotations stand without a name: a pod template's metadata."""

    spelling: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset(
        {
            "name",
            "namespace",
            "generateName",
            "managedFields",
            "ownerReferences",
            "selfLink",
            "finalizers",
            "uid",
            "resourceVersion",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "clusterName",
        }
    )
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class Metadata(Labels):
    """``metadata`` of an object in a namespace."""

    name: Name
    namespace: Annotated[Label, BeforeValidator(lambda value: value if value != "" else "default")] = "default"
    creation_timestamp: Annotated[datetime, PlainValidator(_timestamp)] | None = None
    generation: int = 0
    uid: str = ""

    def to_meta(self) -> Meta:
        """The hub's Meta."""
        return Meta(
            name=self.name,
            namespace=self.namespace,
            labels=self.labels,
            annotations=self.annotations,
            created=self.creation_timestamp,
            generation=self.generation,
            uid=self.uid,
        )


class LabelMetadata(Metadata):
    """``metadata`` of kinds whose names become DNS labels: Namespace and Service."""

    name: Label


class Object(Wire):
    """The top of any manifest of a namespaced kind."""

    also_known: ClassVar[frozenset[str]] = frozenset({"status"})
    api_version: str
    kind: str
    metadata: Metadata
