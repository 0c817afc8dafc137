"""One request from end to end: the caller's side, then each server that may get it, then what the client is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from proxy.contract.check import is_host
from proxy.errors import BadRequest
from smi.workloads import Pod
from translator.explain import inbound, outbound
from translator.explain.answer import Answer, Caller, Explanation, Server
from translator.explain.mesh import Mesh
from translator.explain.question import Question
from translator.explain.reading import connected_to, read
from translator.local.lookup import found_in, pick
from translator.vocabulary import HTTP_PROXY

if TYPE_CHECKING:
    from proxy.http1.head import RequestHead

RUN_TIME = "what only a running sidecar knows is left out: ejected endpoints, spent budgets, whose turn it is"


def explain(mesh: Mesh, question: Question) -> Explanation:
    """What becomes of a request. Raises ``NoSuchPod`` where there is no such caller."""
    pod = find(mesh, question.namespace, question.source)
    proxied = knows_its_proxy(mesh, pod)
    try:
        head = read(question, proxied=proxied)
        authority = head.authority if proxied else connected_to(question)
    except BadRequest as refusal:
        answer = Answer(
            allowed=False,
            status=refusal.status,
            reason=refusal.reason.value,
            detail=refusal.detail,
            by="caller" if pod.meshed else "server",
        )
        return _explanation(mesh, question, pod, "", answer)
    return _of_head(mesh, question, pod, head, authority)


def find(mesh: Mesh, namespace: str, asked: str) -> Pod:
    """A pod by name, or the first of ``deploy/NAME``. Raises ``NoSuchPod``."""
    picked = pick([found_in(pod) for pod in mesh.world.pods], namespace, asked)
    return mesh.world.index.pods[f"{picked.namespace}/{picked.name}"]


def knows_its_proxy(mesh: Mesh, pod: Pod) -> bool:
    """Whether a pod's requests come to its sidecar by name. Else it is their connections' destination that is known."""
    if not mesh.settings(pod).listeners.transparent:
        return True
    namespace = mesh.world.objects.namespaces.get(pod.meta.namespace)
    levels = (pod.meta, namespace.meta) if namespace is not None else (pod.meta,)
    said = [meta.annotations[HTTP_PROXY.name] for meta in levels if HTTP_PROXY.name in meta.annotations]
    return said[:1] == ["enabled"]


def _of_head(mesh: Mesh, question: Question, pod: Pod, head: RequestHead, authority: bytes) -> Explanation:
    path = head.target.decode("utf-8", "replace")
    sidecar = mesh.settings(pod)
    dialled = authority if knows_its_proxy(mesh, pod) else outbound.resolved(mesh.world, sidecar, authority)
    host = outbound.host_of(dialled, sidecar)
    config = mesh.config(pod, host if is_host(host) else "")
    asking = outbound.Asking(
        world=mesh.world,
        sidecar=sidecar,
        table=mesh.table(pod, config),
        head=head,
        authority=authority,
        dialled=dialled,
        meshed=pod.meshed,
    )
    way = outbound.way(asking)
    served = inbound.servers(mesh, mesh.caller(pod), way.endpoints, head)
    notes = (f"the name is of a headless Service; of its addresses it is {host} here",) if dialled != authority else ()
    explanation = _explanation(mesh, question, pod, path, way.answer or _together(served), *way.notes, *notes)
    return replace(
        explanation,
        destination=way.destination,
        splits=way.splits,
        backends=way.backends,
        calls=way.calls,
        servers=served,
    )


def _together(served: Sequence[Server]) -> Answer:
    """What the client is told: one thing if all servers agree on it."""
    answers = list(dict.fromkeys(server.answer for server in served))
    if len(answers) == 1:
        return answers[0]
    if answers and all(answer.allowed for answer in answers):
        return Answer(allowed=True, would_be=next(answer.would_be for answer in answers if answer.would_be))
    return Answer(allowed=None, detail="it depends on the pod" if answers else "nobody of this mesh decides")


def _explanation(mesh: Mesh, question: Question, pod: Pod, path: str, answer: Answer, *notes: str) -> Explanation:
    caller = Caller(
        pod=pod.meta.key,
        workload=pod.workload,
        identity=mesh.caller(pod).identity,
        config_version=mesh.config(pod, "").version,
    )
    return Explanation(
        method=question.method,
        url=question.url,
        path=path,
        caller=caller,
        answer=answer,
        notes=(*notes, *mesh.notes, RUN_TIME),
    )
