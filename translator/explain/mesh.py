"""What explanations are made from: a moment of the world, and what its sidecars run on. Pure.

A running mesh gives what each sidecar has acknowledged (``translator.api``), a folder of manifests what each would be
told (``compiled``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from proxy.authorize import NOBODY, Caller
from proxy.contract.config import Config, Listeners, Sidecar, spiffe_id
from proxy.table import Lasting, Table, Unasked
from smi.workloads import Pod
from translator.compiler import compile_sidecar
from translator.names import pod_dns_name
from translator.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """``config`` gives the config of a pod's sidecar once that has asked for a host ("": for none in particular)."""

    world: World
    config: Callable[[Pod, str], Config]
    settings: Callable[[Pod], Sidecar]
    notes: tuple[str, ...] = ()

    def table(self, pod: Pod, config: Config) -> Table:
        """The routing table of a pod's sidecar, with nothing remembered beside it."""
        return Table(config, Lasting(pod.meta.key, lambda: 0.0), self.identity(pod))

    def identity(self, pod: Pod) -> str:
        """The SPIFFE ID of a pod."""
        return spiffe_id(self.world.settings.trust_domain, pod.meta.namespace, pod.service_account)

    def caller(self, pod: Pod) -> Caller:
        """What a pod's certificate says of it; one without sidecar has none."""
        return Caller(self.identity(pod), (pod_dns_name(pod),)) if pod.meshed else NOBODY


def compiled(world: World, *notes: str, transparent: bool = False) -> Mesh:
    """A mesh in which every sidecar runs on what the compiler gives it now.

    ``transparent``: the pods' kernels redirect connections to it, as on Kubernetes.
    """
    settings = world.settings

    def config(pod: Pod, host: str) -> Config:
        return compile_sidecar(world, pod, frozenset([host] if host else ())).config

    def sidecar(pod: Pod) -> Sidecar:
        return Sidecar(
            pod=pod.meta.name,
            namespace=pod.meta.namespace,
            service_account=pod.service_account,
            listeners=Listeners(address=pod.ip, transparent=transparent),
            trust_domain=settings.trust_domain,
            cluster_domain=settings.cluster_domain,
        )

    return Mesh(world=world, config=config, settings=sidecar, notes=notes)


def knows(config: Config, host: str) -> bool:
    """Whether a sidecar with ``config`` knows what a canonical host means, or would first have to ask."""
    return not isinstance(Table(config, Lasting("", lambda: 0.0), "").route(host.encode(), 80, "", ""), Unasked)
