"""Annotations of ours that say nothing we understand. Pure; the validating webhook refuses them.

What they may say is in ``translator.vocabulary``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from translator.vocabulary import fault


def faults(thing: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the annotations of an object and of the pod template in it."""
    spec = thing.get("spec") or {}
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    for where, holder in (
        ("metadata", thing),
        ("spec.template.metadata", spec.get("template") or {}),
        ("spec.jobTemplate.spec.template.metadata", job.get("template") or {}),
    ):
        annotations = (holder.get("metadata") or {}).get("annotations") or {}
        for name, value in annotations.items():
            wrong = fault(name, str(value))
            if wrong:
                yield f"{where}.annotations[{name}]: {wrong}"
