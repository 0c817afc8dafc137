"""Does a pod get a sidecar? Pure.

The annotation ``smi-mesh.io/inject`` of the pod decides, then of its namespace; without one it gets none. Some pods
never do, whatever is written on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from proxy.contract.ports import SIDECAR_UID
from translator import vocabulary
from translator.kube.admission.settings import Injected
from translator.kube.pods import containers_of, has_sidecar

INJECT: Final = vocabulary.INJECT.name
ALIAS: Final = vocabulary.LINKERD_INJECT.name
ENABLED: Final = "enabled"
NEVER: Final = frozenset({"kube-system", "kube-public", "kube-node-lease"})
"""Namespaces without which there is no cluster, and so no mesh."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """``inject``, or why not. ``refused``: the pod asks for a sidecar and cannot have one."""

    inject: bool
    why: str = ""
    refused: bool = False


def decide(pod: Mapping[str, Any], namespace: str, inherited: Mapping[str, str], settings: Injected) -> Decision:
    """What becomes of a pod (core/v1) in ``namespace``, whose annotations are ``inherited``."""
    spec = pod.get("spec") or {}
    if namespace in NEVER or namespace == settings.namespace:
        return Decision(inject=False, why=f"pods of {namespace} never get a sidecar")
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    if not wanted(annotations, inherited, linkerd_alias=settings.linkerd_alias):
        return Decision(inject=False, why=f"neither the pod nor its namespace says {INJECT}: {ENABLED}")
    if has_sidecar(spec):
        return Decision(inject=False, why="it has a sidecar already")
    if spec.get("hostNetwork"):
        return Decision(inject=False, why="it uses its node's network (hostNetwork), which is not ours to redirect")
    for name, uid in _users(spec):
        if uid == SIDECAR_UID:
            whose = f"uid {SIDECAR_UID}, which is the sidecar's"
            why = f"container {name!r} runs as {whose}: its traffic could not be told apart"
            return Decision(inject=False, why=why, refused=True)
    return Decision(inject=True)


def wanted(annotations: Mapping[str, str], inherited: Mapping[str, str], *, linkerd_alias: bool = True) -> bool:
    """Whether a pod with ``annotations`` in a namespace with ``inherited`` asks for a sidecar."""
    names = (INJECT, ALIAS) if linkerd_alias else (INJECT,)
    for said in (annotations, inherited):
        for name in names:
            if name in said:
                return said[name] == ENABLED
    return False


def _users(spec: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    own = (spec.get("securityContext") or {}).get("runAsUser")
    for container in containers_of(spec):
        yield str(container.get("name")), (container.get("securityContext") or {}).get("runAsUser", own)
