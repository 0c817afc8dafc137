"""Finds a pod in ``pods.json`` for ``exec`` and ``logs``. With json alone: these commands must start fast."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from translator.local.errors import NoSuchPod
from translator.local.state import MeshState, read_state

if TYPE_CHECKING:
    from smi.workloads import Pod

WORKLOADS = {
    "deploy": "Deployment",
    "deployment": "Deployment",
    "sts": "StatefulSet",
    "statefulset": "StatefulSet",
}
"""What may stand before the slash of ``deploy/NAME``."""


class Found(NamedTuple):
    """A pod; ``state`` says why it is not running, in words."""

    namespace: str
    name: str
    kind: str
    workload: str
    ready: bool
    phase: str
    state: str


def find_pod(state: MeshState, namespace: str, asked: str) -> Found:
    """As ``pick``, among the pods of a running mesh."""
    return pick(read_pods(state), namespace, asked)


def pick(pods: list[Found], namespace: str, asked: str) -> Found:
    """The pod of this name, or the first of ``deploy/NAME`` (a ready one if there is); ``NoSuchPod`` otherwise."""
    kind, slash, name = asked.rpartition("/")
    if slash and kind in WORKLOADS:
        suited = [pod for pod in pods if pod.kind == WORKLOADS[kind] and pod.workload == name]
    elif kind in ("", "pod", "po"):
        suited = [pod for pod in pods if pod.name == name]
    else:
        raise NoSuchPod(f'"{asked}" is neither a pod nor deploy/NAME or sts/NAME')
    here = sorted((pod for pod in suited if pod.namespace == namespace), key=_rank)
    if here:
        return here[0]
    raise NoSuchPod(_missing(namespace, asked, pods, suited))


def _rank(pod: Found) -> tuple[bool, bool, str]:
    return pod.phase == "Terminating", not pod.ready, pod.name


def _missing(namespace: str, asked: str, pods: list[Found], suited: list[Found]) -> str:
    text = f'no pod "{asked}" in namespace "{namespace}"'
    if suited:
        return f"{text}: it is in {', '.join(sorted({pod.namespace for pod in suited}))} (-n)"
    names = sorted(pod.name for pod in pods if pod.namespace == namespace)
    return f"{text}: there is {', '.join(names)}" if names else f"{text}: there are no pods"


def found_in(pod: Pod) -> Found:
    """A pod of the world as one of ``pods.json``."""
    phase = "Running" if pod.ready else "Pending"
    meta = pod.meta
    return Found(meta.namespace, meta.name, pod.workload_kind, pod.workload, pod.ready, phase, phase)


def read_pods(state: MeshState) -> list[Found]:
    """All pods."""
    found = []
    for record in json.loads(read_state(state, state.pods))["pods"]:
        pod = record["pod"]
        why = ": ".join(part for part in (record["reason"], record["message"]) if part)
        found.append(
            Found(
                namespace=pod["meta"]["namespace"],
                name=pod["meta"]["name"],
                kind=pod["workload_kind"],
                workload=pod["workload"],
                ready=pod["ready"],
                phase=record["phase"],
                state=f"{record['phase']} ({why})" if why else record["phase"],
            )
        )
    return found
