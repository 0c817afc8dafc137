"""Our sidecar's configurations, as the file that ``python -m proxy --config FILE`` reads. Pure.

They are what the controller would push: for the work see ``benchmarks.peers.work``.
"""

from __future__ import annotations

from benchmarks.peers import work
from benchmarks.peers.work import HOST, Keys
from proxy.contract.config import (
    Backend,
    Breaker,
    Cluster,
    Config,
    Endpoint,
    File,
    Grant,
    HttpMatch,
    Inbound,
    Listeners,
    Policy,
    Port,
    Retry,
    Rule,
    Service,
    Sidecar,
    Source,
    TlsFiles,
)

_OWN, _STABLE, _CANARY = (f"default/{name}:80" for name in ("web", "stable", "canary"))


def plain(port: int, upstream: int) -> File:
    """One hop, one route."""
    clusters = {_OWN: Cluster(endpoints=(Endpoint(ip=HOST, port=upstream),))}
    services = {"default/web": Service(ports={80: Port(cluster=_OWN)})}
    return File(sidecar=_caller(port), config=Config(version=1, services=services, clusters=clusters))


def features(port: int, upstream: int) -> File:
    """One hop with everything on that a caller's side has."""
    return File(sidecar=_caller(port), config=_routed(Endpoint(ip=HOST, port=upstream)))


def near(port: int, mesh: int, app: int, keys: Keys) -> File:
    """The caller's side of a pair; the server's sidecar listens at ``mesh``, its application at ``app``."""
    there = Endpoint(ip=HOST, port=app, mesh=mesh, identity=work.identity(work.SERVER), pod="server-0")
    return File(sidecar=_caller(port, keys), config=_routed(there))


def far(mesh: int, app: int, keys: Keys) -> File:
    """The server's side of a pair."""
    match = HttpMatch(name="items/all", methods=work.ALLOWED, path=work.BELOW)
    grant = Grant(target="default/web", sources=(Source(identity=work.identity(work.CLIENT)),), http=(match,))
    listeners = Listeners(address=HOST, outbound=0, mesh=mesh, admin=0)
    config = Config(version=1, inbound=Inbound(named=True, grants=(grant,)))
    return File(sidecar=_sidecar(work.SERVER, listeners, keys, app), config=config)


def grpc(port: int, upstream: int) -> File:
    """One hop of gRPC, as in a pod: the kernel redirects what is for ``CLUSTER_IP``, and the bytes pass unread."""
    clusters = {_OWN: Cluster(endpoints=(Endpoint(ip=HOST, port=upstream),))}
    services = {"default/web": Service(ports={80: Port(cluster=_OWN, protocol="grpc")}, cluster_ip=work.CLUSTER_IP)}
    listeners = Listeners(address=HOST, outbound=port, mesh=0, admin=0, transparent=True)
    return File(
        sidecar=_sidecar(work.CLIENT, listeners, None), config=Config(version=1, services=services, clusters=clusters)
    )  # fmt: skip


def _caller(port: int, keys: Keys | None = None) -> Sidecar:
    return _sidecar(work.CLIENT, Listeners(address=HOST, outbound=port, mesh=0, admin=0), keys)


def _sidecar(account: str, listeners: Listeners, keys: Keys | None, app: int = 0) -> Sidecar:
    tls = TlsFiles(bundle=str(keys.bundle), certificate=str(keys.certificate), key=str(keys.key)) if keys else None
    return Sidecar(
        pod=f"{account}-0",
        namespace="default",
        service_account=account,
        listeners=listeners,
        app_address=HOST if app else "",
        tls=tls,
    )


def _routed(endpoint: Endpoint) -> Config:
    """Routing, a match, a split, retries, a time-out and a breaker towards one endpoint."""
    stable, canary = work.WEIGHTS
    rules = (
        Rule(
            split="default/by-header",
            backends=(Backend(service="default/canary", cluster=_CANARY, weight=1),),
            matches=(HttpMatch(name="testers/canary", headers=(work.CANARY_HEADER,)),),
        ),
        Rule(
            split="default/by-weight",
            backends=(
                Backend(service="default/stable", cluster=_STABLE, weight=stable),
                Backend(service="default/canary", cluster=_CANARY, weight=canary),
            ),
        ),
    )
    policy = Policy(retry=Retry(limit=1, connect_failure=True, reset=True), request_timeout=float(work.TIMEOUT))
    leaf = Cluster(endpoints=(endpoint,), breaker=Breaker(consecutive_failures=work.FAILURES))
    return Config(
        version=1,
        services={"default/web": Service(ports={80: Port(cluster=_OWN, rules=rules)}, policy=policy)},
        clusters={_OWN: Cluster(), _STABLE: leaf, _CANARY: leaf},
    )
