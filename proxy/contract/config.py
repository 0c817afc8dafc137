"""The compiled config of one sidecar: what the controller pushes and `python -m proxy --config FILE` takes.

All of it is plain immutable data. Keys:

* a *service key* is ``namespace/name``,
* a *cluster key* is ``namespace/name:port`` (the port of the Service) or
  ``pod:ip:port``: a set of endpoints that are ready now,
* a *host* is a canonical authority without port: ``web.default``,
  ``pod-0.web.default`` or an IP address (see ``proxy.matching.canonical_host``).
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from proxy.contract.ports import ADMIN, MESH, OUTBOUND

DefaultPolicy = Literal["same-identity", "deny", "allow"]
Algorithm = Literal["ewma", "least-request", "round-robin", "hash"]
AccessLog = Literal["", "text", "json"]


class HttpMatch(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Conditions on one request; all must hold, an absent one holds always.

    ``path`` is RE2 anchored at the start; header names are in lower case, values RE2 for the whole value.
    """

    name: str = ""
    methods: tuple[str, ...] = ()
    path: str = ""
    headers: tuple[tuple[str, str], ...] = ()


# ``Retry``, ``Balance`` and ``Breaker`` are written out in full, for the reason given at ``Inbound``.
class Retry(Struct, frozen=True, kw_only=True):
    """Which requests to a Service are sent again, after what, how often.

    ``statuses`` are ranges of HTTP status codes, both ends included, ``grpc``
    are grpc-status codes. ``limit`` counts attempts beyond the first.
    ``try_timeout`` is for one attempt until its answer's head; None: none.
    Times are seconds. The budget is a bucket that holds at most
    ``budget_min`` × ``budget_ttl`` + ``budget_ratio`` × the requests of the last
    ``budget_ttl``, and gains ``budget_min`` a second and ``budget_ratio`` a request.

    ``routes`` None: every request with an idempotent method. Otherwise only
    requests that one of them matches, and of other methods only where that
    match lists the method by name (``HttpMatch.methods``).
    """

    limit: int = 1
    statuses: tuple[tuple[int, int], ...] = ()
    grpc: tuple[int, ...] = ()
    connect_failure: bool = False
    reset: bool = False
    try_timeout: float | None = None
    backoff_min: float = 0.025
    backoff_max: float = 0.25
    budget_ratio: float = 0.2
    budget_min: float = 10.0
    budget_ttl: float = 10.0
    routes: tuple[HttpMatch, ...] | None = None


class Policy(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How callers treat requests to a Service, whichever backend serves them. Times are seconds, None is without.

    ``request_timeout`` is for the whole exchange, ``response_timeout`` from the
    request's last byte to the answer's, ``idle_timeout`` for silence on both sides.
    """

    retry: Retry | None = None
    request_timeout: float | None = None
    response_timeout: float | None = None
    idle_timeout: float | None = None


class Balance(Struct, frozen=True, kw_only=True):
    """How a request's endpoint is chosen. ``header``, in lower case, belongs to ``hash``."""

    algorithm: Algorithm = "ewma"
    header: str = ""


class Breaker(Struct, frozen=True, kw_only=True):
    """After how many failures in a row an endpoint is ejected (0: never), and for how many seconds."""

    consecutive_failures: int = 7
    min_penalty: float = 1.0
    max_penalty: float = 60.0


class Backend(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One leaf of a split. ``weight`` is a whole number, relative to its siblings, coprime with them."""

    service: str
    cluster: str
    weight: int


class Rule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One TrafficSplit on one port of its root. ``matches`` None: every request; empty: none."""

    split: str
    backends: tuple[Backend, ...] = ()
    matches: tuple[HttpMatch, ...] | None = None


class Port(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One port of a Service: the first rule that matches decides, otherwise ``cluster``.

    ``protocol`` is what ``appProtocol`` or the port's name says (``http``, ``grpc``, ``tcp``, …), ``opaque`` where the
    bytes are to be relayed unread; empty: whatever the first bytes are.
    """

    cluster: str
    rules: tuple[Rule, ...] = ()
    protocol: str = ""


class Service(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A Service this sidecar calls, by port number. ``policy`` holds for what names it, not for its backends."""

    ports: dict[int, Port] = {}
    cluster_ip: str = ""
    policy: Policy | None = None


class Endpoint(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One ready pod behind a cluster.

    ``port`` is the container port. ``mesh`` is the port of its sidecar's mTLS
    listener, 0 for plain text. ``identity`` is the SPIFFE ID its certificate
    must carry (empty only without ``mesh``). ``listen`` is the port to dial in
    the clear where it is not ``port``. ``workload`` is what the pod belongs to,
    ``Kind/name``: requests are counted by it.
    """

    ip: str
    port: int
    mesh: int = 0
    identity: str = ""
    pod: str = ""
    listen: int = 0
    workload: str = ""


class Cluster(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Endpoints that are ready now, and what their own Service says about choosing among them.

    ``balance`` and ``breaker`` None: it says nothing, and for a request that a split sent here the root's cluster
    (``Port.cluster``) decides, then the default: ``ewma``, no breaker. So a cluster is the same for every caller.
    """

    endpoints: tuple[Endpoint, ...] = ()
    balance: Balance | None = None
    breaker: Breaker | None = None


class Host(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer for a name that was asked for: a Service, the ports of one pod, or nothing of this mesh.

    Exactly one of ``service`` and ``pod`` is set, or neither: not a name of this mesh.
    ``pod`` has one endpoint by container port.

    ``headless`` belongs to a pod's address: by container port the ports (``namespace/name:port``) of headless Services
    that lead there, one of each Service, where more holds for the Service than for the pod alone (splits, a policy). A
    request that went to the address and names the Service is meant for it.
    """

    service: str = ""
    pod: dict[int, str] = {}
    headless: dict[int, tuple[str, ...]] = {}


class Source(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A caller: by SPIFFE ID, or by pod (``name.namespace.pod``, the DNS name in its certificate)."""

    identity: str = ""
    pod: str = ""


class Grant(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One TrafficTarget that names this pod: source and L4 and L7 must hold together.

    ``ports`` None: any port; empty: none. ``http`` None: no condition above
    TCP; otherwise only HTTP requests that one of them matches.
    """

    target: str
    sources: tuple[Source, ...] = ()
    ports: tuple[int, ...] | None = None
    http: tuple[HttpMatch, ...] | None = None


# Written out in full: msgspec leaves out a default only where it is the very same object, which a text from elsewhere
# may or may not be, and configs are told apart by a digest of what is written.
class Inbound(Struct, frozen=True, kw_only=True):
    """Who may call this pod. As soon as ``named`` is true only ``grants`` count.

    ``unmeshed``: callers in the clear are let in whatever the grants say.
    ``audit``: nothing is refused, what would be is counted. ``opaque``: container ports whose bytes are relayed unread.
    """

    default_policy: DefaultPolicy = "same-identity"
    named: bool = False
    grants: tuple[Grant, ...] = ()
    unmeshed: bool = False
    audit: bool = False
    opaque: tuple[int, ...] = ()


class Trust(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whose certificates are believed. Bundles are PEM: one root or several.

    ``bundle`` belongs to the mesh's own trust domain, ``federated`` has those of others by trust domain.
    ``issuer`` is the key identifier (hex) of who signs certificates now; one of another issuer is
    renewed soon. Of two the one with the higher ``generation`` is the newer.
    """

    bundle: str
    federated: dict[str, str] = {}
    issuer: str = ""
    generation: Annotated[int, Meta(ge=0, le=2**53)] = 0


class Config(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A whole compiled config at one version. ``trust`` None: as the files of ``TlsFiles`` say."""

    version: int = 0
    services: dict[str, Service] = {}
    clusters: dict[str, Cluster] = {}
    hosts: dict[str, Host] = {}
    inbound: Inbound = Inbound()
    trust: Trust | None = None


LOOPBACK = ("127.0.0.1", "::1")
EVERYWHERE = ("0.0.0.0", "::")
"""Where a sidecar in a pod listens: for what the pod's kernel redirects from the application, and for all others."""


class ClearListener(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A port in the clear: what arrives at ``address:port`` has no identity and is meant for container ``target``."""

    port: int
    target: int


class Listeners(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the sidecar listens; a port 0 switches a listener off.

    ``address`` is the pod's own. ``redirected`` is the port in the clear to which the pod's kernel redirects what comes
    for any other port; which one was meant is the connection's original destination. With ``transparent`` the
    outbound listener takes redirected connections too, and listens on loopback alone.
    """

    address: str
    outbound: int = OUTBOUND
    mesh: int = MESH
    admin: int = ADMIN
    clear: tuple[ClearListener, ...] = ()
    redirected: int = 0
    transparent: bool = False


class Probe(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A probe of the application that the admin port serves in the kubelet's name, at ``/probe/<name>``.

    ``kind`` tells how the application is asked at ``port`` of the pod's address. ``path``, ``scheme`` and ``headers``
    belong to ``http``, ``service`` to ``grpc`` (empty: the server as a whole). ``timeout`` is in seconds.

    ``hook``: it is a lifecycle hook, not a probe. The kubelet waits for its answer without end and takes any; only
    where none comes the hook has failed.
    """

    name: str
    kind: Literal["http", "tcp", "grpc"]
    port: int
    path: str = "/"
    scheme: Literal["http", "https"] = "http"
    headers: tuple[tuple[str, str], ...] = ()
    service: str = ""
    timeout: float = 1.0
    hook: bool = False


class TlsFiles(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Paths. ``bundle`` (PEM roots) and ``token`` are given; ``certificate`` and ``key`` are the sidecar's own.

    ``federated`` has the bundles of other trust domains by name, where no controller tells them.
    """

    bundle: str
    certificate: str
    key: str
    token: str = ""
    federated: dict[str, str] = {}


class Control(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the controller is and which SPIFFE ID it must show."""

    address: str
    port: int
    identity: str


class Sidecar(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a sidecar is told by whoever starts it; never pushed.

    ``app_address`` is where the application listens, ``app_ports`` on which port
    where that is not the container port (it may not bind it); ``egress`` lets names of
    another world through. ``state`` is the folder for the last good config.
    ``access_log``: one line for each request, of which kind; empty: none. ``probes``: what the kubelet asks through us.
    """

    pod: str
    namespace: str
    service_account: str
    listeners: Listeners
    app_address: str = ""
    workload: str = ""
    trust_domain: str = "cluster.local"
    cluster_domain: str = "cluster.local"
    tls: TlsFiles | None = None
    control: Control | None = None
    egress: bool = False
    state: str = ""
    log_level: str = "info"
    access_log: AccessLog = ""
    app_ports: dict[int, int] = {}
    workload_kind: str = ""
    probes: tuple[Probe, ...] = ()


class File(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What `python -m proxy --config FILE` reads (JSON): the sidecar's own settings and a config to start with."""

    sidecar: Sidecar
    config: Config = Config()


def spiffe_id(trust_domain: str, namespace: str, service_account: str) -> str:
    """The SPIFFE ID of a ServiceAccount: ``spiffe://<trust-domain>/ns/<ns>/sa/<sa>``."""
    return f"spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}"


def own_ports(listeners: Listeners) -> frozenset[int]:
    """The ports that are the sidecar's own: nothing of the application's is behind them."""
    return frozenset({listeners.outbound, listeners.mesh, listeners.admin, listeners.redirected} - {0})


def own_addresses(listeners: Listeners) -> frozenset[tuple[str, int]]:
    """Where the sidecar itself takes requests in the clear: one that it sent there would come back for ever.

    Its mesh listener is none of them: a pod that calls its own Service gets there, and on to its application.
    """
    ports = (listeners.outbound, listeners.admin, listeners.redirected, *(clear.port for clear in listeners.clear))
    addresses = (listeners.address, *(LOOPBACK if listeners.transparent else ()))
    return frozenset((address, port) for address in addresses for port in ports if port)


def dialled(endpoint: Endpoint) -> tuple[str, int]:
    """The address at which an endpoint is called."""
    return endpoint.ip, endpoint.mesh or endpoint.listen or endpoint.port
