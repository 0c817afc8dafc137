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

_SHORT = {"Deployment": "deploy", "StatefulSet": "sts"}

NAMED = 10
"""So many are named where the one that was asked for is not there."""


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
    names = sorted({_asked_for(pod) for pod in pods if pod.namespace == namespace})
    if not names:
        return f"{text}: there are no pods"
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{text}: there {'is' if len(names) == 1 else 'are'} {', '.join(names[:NAMED])}{more}"


def _asked_for(pod: Found) -> str:
    """How a user would ask for this pod: by its workload where it has one."""
    kind = _SHORT.get(pod.kind)
    return f"{kind}/{pod.workload}" if kind else pod.name


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
