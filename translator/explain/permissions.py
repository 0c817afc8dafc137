"""Who may call whom: the policies of all pods, asked without a request or with one. Pure."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from proxy.authorize import Authorizer, Caller, judge
from proxy.contract.config import Grant, HttpMatch, Inbound
from proxy.errors import BadRequest
from proxy.matching import MATCH_ALL_PATHS
from smi.workloads import Pod
from translator.endpoints import pod_ports
from translator.explain.answer import Permission
from translator.explain.conditions import described
from translator.explain.explain import find
from translator.explain.inbound import UNMESHED, lets_in
from translator.explain.mesh import Mesh
from translator.explain.question import BadQuestion, Check, asked
from translator.explain.reading import read

if TYPE_CHECKING:
    from proxy.http1.head import RequestHead


def check(mesh: Mesh, wanted: Check) -> tuple[Permission, ...]:
    """The answer to a check. Raises ``NoSuchPod`` and ``BadQuestion``."""
    pods = mesh.world.pods
    callers = [find(mesh, wanted.namespace, wanted.source)] if wanted.source else one_of_each(pods)
    servers = (
        [find(mesh, wanted.to_namespace, wanted.destination)]
        if wanted.destination
        else one_of_each(pods, wanted.to_namespace)
    )
    return permissions(mesh, callers, servers, _head(wanted) if wanted.method else None)


def _head(wanted: Check) -> RequestHead:
    try:
        return read(asked(wanted.method, f"http://server/{wanted.path.removeprefix('/')}", "", ""))
    except BadRequest as refusal:
        raise BadQuestion(f"{wanted.method} {wanted.path} is no request: {refusal.detail}") from refusal


def permissions(
    mesh: Mesh, callers: Sequence[Pod], servers: Sequence[Pod], head: RequestHead | None = None
) -> tuple[Permission, ...]:
    """For each caller and each port of each server; ``head`` None: whatever it may ask."""
    return tuple(
        permission for caller in callers for server in servers for permission in _of_pair(mesh, caller, server, head)
    )


def one_of_each(pods: Sequence[Pod], namespace: str = "") -> list[Pod]:
    """A pod for each workload (of a namespace): its pods are alike."""
    found: dict[tuple[str, str, str], Pod] = {}
    for pod in sorted(pods, key=lambda pod: (not pod.ready, pod.meta.key)):
        if not namespace or pod.meta.namespace == namespace:
            found.setdefault((pod.meta.namespace, pod.workload_kind, pod.workload or pod.meta.name), pod)
    return [found[key] for key in sorted(found)]


def _of_pair(mesh: Mesh, caller: Pod, server: Pod, head: RequestHead | None) -> Iterator[Permission]:
    for port in sorted(set(pod_ports(mesh.world, server)) - set(server.listen_ports.values())):
        may, by, only = _at_port(mesh, mesh.caller(caller), server, port, head)
        yield Permission(caller=_name(caller), server=_name(server), port=port, may=may, by=by, only=only)


def _name(pod: Pod) -> str:
    return f"{pod.meta.namespace}/{pod.workload or pod.meta.name}"


def _at_port(
    mesh: Mesh, caller: Caller, server: Pod, port: int, head: RequestHead | None
) -> tuple[Literal["yes", "no", "some"], str, tuple[str, ...]]:
    """(yes, no or some; by what; which requests where it is some)."""
    if not server.meshed:
        return "yes", UNMESHED, ()
    inbound = mesh.config(server, "").inbound
    authorizer = Authorizer(inbound, mesh.identity(server))
    verdict = (
        authorizer.decide(caller, port, None) if head is None else judge(authorizer, caller, port, copy.copy(head))
    )
    if verdict.reason is None:
        return "yes", verdict.by, ()
    reaching = _reaching(inbound, caller, port) if head is None and caller.identity else []
    every = [grant for grant in reaching if any(map(_is_any, grant.http or ()))]
    if every:
        return "yes", every[0].target, ()
    if reaching:
        by = ", ".join(grant.target for grant in reaching)
        return "some", by, tuple(described(match) for grant in reaching for match in grant.http or ())
    if inbound.audit:
        return "yes", f"audit mode; policy would not: {verdict.by}", ()
    return "no", verdict.by, ()


def _reaching(inbound: Inbound, caller: Caller, port: int) -> list[Grant]:
    """The grants that let some HTTP request of the caller in."""
    return [grant for grant in inbound.grants if grant.http and lets_in(replace(grant, http=None), caller, port, None)]


def _is_any(match: HttpMatch) -> bool:
    return not match.methods and match.path in MATCH_ALL_PATHS and not match.headers
