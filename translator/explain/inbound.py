"""The server's side: which policy is in force at a container port, and what it says to a request. Pure.

The verdict is ``proxy.authorize``'s; why each TrafficTarget does or does not let the request in is asked of the same
code with that target alone, and less and less of it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec.structs import replace

from proxy.authorize import NOBODY, Authorizer, Caller, barred, judge
from proxy.contract.config import Endpoint, Grant, Inbound, own_ports
from proxy.errors import Refusal
from proxy.paths import canonical_path
from smi.workloads import Pod
from translator.explain.answer import Answer, Server, Target
from translator.explain.conditions import explained, failing
from translator.explain.mesh import Mesh
from translator.policy import grant, targets_on

if TYPE_CHECKING:
    from proxy.http1.head import RequestHead

UNMESHED = "none: the pod has no sidecar"
NO_POD = "none: it is no pod of this cluster"
GONE = "not known: the pod has just gone"


def servers(mesh: Mesh, caller: Caller, endpoints: tuple[Endpoint, ...], head: RequestHead) -> tuple[Server, ...]:
    """What each endpoint would say; pods that say the same are one entry."""
    alike: dict[Server, list[str]] = {}
    for endpoint in endpoints:
        pod = mesh.world.index.pods.get(endpoint.pod)
        said = _server(mesh, caller, pod, endpoint, copy.copy(head))
        alike.setdefault(said, []).append(endpoint.pod or f"{endpoint.ip}:{endpoint.port}")
    return tuple(replace(server, pods=tuple(sorted(pods))) for server, pods in alike.items())


def _server(mesh: Mesh, caller: Caller, pod: Pod | None, endpoint: Endpoint, head: RequestHead) -> Server:
    if pod is None or not pod.meshed:
        gone = pod is None and bool(endpoint.mesh)
        return Server(
            pods=(),
            port=endpoint.port,
            meshed=gone,
            policy=GONE if gone else UNMESHED if pod is not None or endpoint.pod else NO_POD,
            audit=False,
            answer=Answer(allowed=None if gone else True),
            why="" if gone else "nobody judges it",
            path=_shown(head),
        )
    inbound = mesh.config(pod, "").inbound
    authorizer = Authorizer(inbound, mesh.identity(pod))
    refusal = barred(head, endpoint.port, own_ports(mesh.settings(pod).listeners))
    if refusal is not None:
        answer, why = _refused(refusal), refusal.detail
    else:
        verdict = judge(authorizer, caller, endpoint.port, head)
        refusal = verdict.refusal()
        would_be = "" if verdict.reason is None or refusal is not None else f"{verdict.reason.value}: {verdict.by}"
        answer = Answer(allowed=True, would_be=would_be) if refusal is None else _refused(refusal)
        why = _why(verdict.by, would_be)
    return Server(
        pods=(),
        port=endpoint.port,
        meshed=True,
        policy=policy_name(inbound),
        audit=inbound.audit,
        answer=answer,
        why=why,
        path=_shown(head),
        targets=tuple(_targets(mesh, pod, inbound, caller, endpoint.port, head)),
    )


def policy_name(inbound: Inbound) -> str:
    """What is in force, in words."""
    name = "TrafficTargets" if inbound.named else f"default policy {inbound.default_policy}"
    return f"{name}, unmeshed: allow" if inbound.unmeshed else name


def _why(by: str, would_be: str) -> str:
    if would_be:
        return f"audit mode lets it in; policy would not: {by}"
    return f"TrafficTarget {by}" if "/" in by and " " not in by else by


def _refused(refusal: Refusal) -> Answer:
    return Answer(allowed=False, status=refusal.status, reason=refusal.reason.value, detail=refusal.detail, by="server")


def _shown(head: RequestHead) -> str:
    return head.target.decode("utf-8", "replace")


def _targets(mesh: Mesh, pod: Pod, inbound: Inbound, caller: Caller, port: int, head: RequestHead) -> Iterator[Target]:
    """The grants in force, then the targets that name the pod and grant nothing."""
    if not head.policy_path:  # nobody looked: the caller is nobody, or was refused for another reason
        head.policy_path = canonical_path(head.path).path.decode("latin-1")
    for granted in inbound.grants:
        yield _target(granted, caller, port, head)
    known = {granted.target for granted in inbound.grants}
    for target in targets_on(mesh.world, pod):
        if target.meta.key not in known:
            remarks = grant(mesh.world, target)[1]
            why = "; ".join(finding.message for finding in remarks) or "not in force yet"
            yield Target(target=target.meta.key, lets_in=False, source=False, port=False, why=why)


def _target(granted: Grant, caller: Caller, port: int, head: RequestHead) -> Target:
    source = lets_in(replace(granted, ports=None, http=None), caller, port, head)
    there = lets_in(replace(granted, http=None), caller, port, head)
    whole = lets_in(granted, caller, port, head)
    matches = None if granted.http is None else tuple(explained(match, head) for match in granted.http)
    at_port = granted.ports is None or port in granted.ports
    why = []
    if not source:
        why.append("the caller is not among its sources" if caller != NOBODY else "the caller has no identity")
    elif not there:
        at_port = False
    if not at_port:
        ports = ", ".join(map(str, granted.ports or ())) or "no port"
        why.append(f"it is for port {ports}")
    if matches is not None and not any(match.accepts for match in matches):
        why += [f"{match.name} fails on {failing(match)}" for match in matches]
    if whole:
        accepted = next((match.name for match in matches or () if match.accepts), "")
        why = [f"source, port and match {accepted}" if accepted else "source and port"]
    return Target(
        target=granted.target, lets_in=whole, source=source, port=at_port, why="; ".join(why), matches=matches
    )


def lets_in(granted: Grant, caller: Caller, port: int, head: RequestHead | None) -> bool:
    """Whether a grant by itself lets a request in."""
    return Authorizer(Inbound(named=True, grants=(granted,)), "").decide(caller, port, head).reason is None
