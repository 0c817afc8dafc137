"""Every annotation that the mesh reads on Services, pods and namespaces: one table, for those who read them and for
the reference.

A reader takes an annotation's name and its values from here, and ``translator.reference`` writes the same entries
down, so neither can have one that the other has not. Readers: ``translator.annotations`` (pods and namespaces),
``translator.retries`` (Services), ``translator.local``; ``translator.review`` and the validating webhook tell what is
wrong (``fault``). What conversion keeps in annotations is in ``smi.kept``.
Texts are Markdown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, cast, get_args

from proxy.contract.config import AccessLog, DefaultPolicy, Inbound
from proxy.contract.ports import BadRule, port_list, subnet_list
from smi.errors import BadQuantity
from smi.quantity import parse_quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """One annotation.

    ``values``: all there are, ``example`` where they are free. ``default`` is a value; where there is none,
    ``otherwise`` says what holds without the annotation. ``explained`` is a place in docs/.
    """

    name: str
    meaning: str
    explained: str
    values: tuple[str, ...] = ()
    example: str = ""
    default: str = ""
    otherwise: str = "none"


RETRY_ON = Annotation(
    name="retry.smi-mesh.io/on",
    example="5xx,reset,unavailable",
    default="gateway-error,connect-failure,reset",
    meaning="After what an attempt is repeated, a comma list: conditions, status codes, ranges of them, gRPC statuses.",
    explained="retries.md#conditions",
)
RETRY_LIMIT = Annotation(
    name="retry.smi-mesh.io/limit",
    example="3",
    default="1",
    meaning="Attempts beyond the first, 0 to 100; `0` switches the retry policy off.",
    explained="retries.md#which-requests",
)
TRY_TIMEOUT = Annotation(
    name="retry.smi-mesh.io/timeout",
    example="250ms",
    meaning="For one try until its answer's head; running out is repeated, whatever `on` says.",
    explained="retries.md#conditions",
)
BACKOFF = Annotation(
    name="retry.smi-mesh.io/backoff",
    example="10ms..1s",
    default="25ms..250ms",
    meaning="The wait before a retry: the shortest, doubled each time plus up to half as much by chance, up to the "
    "longest. One duration is both; `0s` is no wait.",
    explained="retries.md#which-requests",
)
BUDGET = Annotation(
    name="retry.smi-mesh.io/budget",
    example="ratio=0.5,min=1/s,ttl=30s",
    default="ratio=0.2,min=10/s,ttl=10s",
    meaning="How many retries there may be in all; parts left out have their default.",
    explained="retries.md#budget",
)
ROUTES = Annotation(
    name="retry.smi-mesh.io/routes",
    example="orders,carts/add",
    otherwise="all requests",
    meaning="`<HTTPRouteGroup>[/<match>]` of the Service's namespace, a comma list: only the requests that one of them "
    "matches.",
    explained="retries.md#which-requests",
)
REQUEST_TIMEOUT = Annotation(
    name="timeout.smi-mesh.io/request",
    example="10s",
    meaning="For the whole exchange, waiting and retries included.",
    explained="retries.md#annotations",
)
RESPONSE_TIMEOUT = Annotation(
    name="timeout.smi-mesh.io/response",
    example="2m",
    meaning="From the request's last byte to the answer's.",
    explained="retries.md#annotations",
)
IDLE_TIMEOUT = Annotation(
    name="timeout.smi-mesh.io/idle",
    example="30s",
    meaning="Without a byte either way.",
    explained="retries.md#annotations",
)
FAILURES = Annotation(
    name="breaker.smi-mesh.io/consecutive-failures",
    example="5",
    default="7",
    meaning="So many failures in a row eject an endpoint; `0`: no breaker, whatever a root says.",
    explained="retries.md#breaking",
)
MIN_PENALTY = Annotation(
    name="breaker.smi-mesh.io/min-penalty",
    example="500ms",
    default="1s",
    meaning="How long an endpoint is ejected the first time.",
    explained="retries.md#breaking",
)
MAX_PENALTY = Annotation(
    name="breaker.smi-mesh.io/max-penalty",
    example="10s",
    default="60s",
    meaning="How long it is ejected at most.",
    explained="retries.md#breaking",
)
ALGORITHM = Annotation(
    name="balancer.smi-mesh.io/algorithm",
    example="hash:x-user",
    default="ewma",
    meaning="Which endpoint is next: `ewma`, `least-request`, `round-robin` or `hash:<header>`.",
    explained="retries.md#balancers",
)

ON_SERVICES = (
    RETRY_ON,
    RETRY_LIMIT,
    TRY_TIMEOUT,
    BACKOFF,
    BUDGET,
    ROUTES,
    REQUEST_TIMEOUT,
    RESPONSE_TIMEOUT,
    IDLE_TIMEOUT,
    FAILURES,
    MIN_PENALTY,
    MAX_PENALTY,
    ALGORITHM,
)
"""How a Service wants to be called."""

INJECT = Annotation(
    name="smi-mesh.io/inject",
    values=("enabled", "disabled"),
    default="enabled",
    meaning="Whether the pod gets a sidecar. On Kubernetes only one that says `enabled` does.",
    explained="local-mode.md#manifests",
)
LINKERD_INJECT = Annotation(
    name="linkerd.io/inject",
    values=INJECT.values,
    default=INJECT.default,
    meaning=f"The same, as Linkerd has it; `{INJECT.name}` beside it wins.",
    explained=INJECT.explained,
)
DEFAULT_POLICY = Annotation(
    name="smi-mesh.io/default-policy",
    values=get_args(DefaultPolicy),
    default=Inbound().default_policy,
    meaning="Who may call a pod that no TrafficTarget names: callers of the very same ServiceAccount, nobody, all.",
    explained="splits-and-access.md#traffictarget",
)
POLICY_MODE = Annotation(
    name="smi-mesh.io/policy-mode",
    values=("enforce", "audit"),
    default="enforce",
    meaning="`audit`: all is let in, and what policy would refuse is counted and remembered.",
    explained="explaining.md#from-audit-to-enforcement",
)
UNMESHED = Annotation(
    name="smi-mesh.io/unmeshed",
    values=("deny", "allow"),
    default="deny",
    meaning="Whether callers without a sidecar are let in, whatever TrafficTargets say.",
    explained="splits-and-access.md#traffictarget",
)
ACCESS_LOG = Annotation(
    name="smi-mesh.io/access-log",
    values=("none", "text", "json"),
    default="none",
    meaning="A line on the sidecar's stdout for each request, and in which form.",
    explained="observing.md#access-log",
)


def access_log_of(value: str | None) -> AccessLog:
    """What the sidecar is told for one of the values of ``ACCESS_LOG``; anything else is none."""
    return cast("AccessLog", value) if value in get_args(AccessLog) else ""


ON_PODS = (INJECT, LINKERD_INJECT, DEFAULT_POLICY, POLICY_MODE, UNMESHED, ACCESS_LOG)
"""What holds for a pod, or for all pods of a namespace: the pod's own wins."""

HTTP_PROXY = Annotation(
    name="smi-mesh.io/http-proxy",
    values=("disabled", "enabled"),
    default="disabled",
    meaning="Sets HTTP_PROXY in the application's containers: its HTTP comes to the sidecar by name, not by address.",
    explained="kubernetes.md#injection",
)
OPAQUE_PORTS = Annotation(
    name="smi-mesh.io/opaque-ports",
    example="3306,9000-9010",
    default="25,587,3306,4444,5432,6379,9300,11211",
    meaning="Container ports whose bytes are relayed unread: where it is the server that speaks first.",
    explained="kubernetes.md#connections",
)
SKIP_INBOUND = Annotation(
    name="smi-mesh.io/skip-inbound-ports",
    example="9100,8000-8010",
    meaning="Ports at which the pod is called past its sidecar: no identity, no policy.",
    explained="kubernetes.md#injection",
)
SKIP_OUTBOUND = Annotation(
    name="smi-mesh.io/skip-outbound-ports",
    example="3306",
    meaning="Ports that the application calls past its sidecar.",
    explained="kubernetes.md#injection",
)
SKIP_SUBNETS = Annotation(
    name="smi-mesh.io/skip-subnets",
    example="10.0.0.0/8",
    meaning="Addresses that are called, or call, past the sidecar.",
    explained="kubernetes.md#injection",
)
LOG_LEVEL = Annotation(
    name="smi-mesh.io/log-level",
    values=("debug", "info", "warning", "error"),
    default="info",
    meaning="Of the sidecar.",
    explained="kubernetes.md#injection",
)
CPU_REQUEST, CPU_LIMIT, MEMORY_REQUEST, MEMORY_LIMIT = (
    Annotation(
        name=f"smi-mesh.io/proxy-{resource}-{bound}",
        example="100m" if resource == "cpu" else "64Mi",
        default=default,
        meaning=f"The sidecar container's {resource} {bound}.",
        explained="kubernetes.md#injection",
    )
    for resource, bound, default in (
        ("cpu", "request", "10m"),
        ("cpu", "limit", ""),
        ("memory", "request", "48Mi"),
        ("memory", "limit", ""),
    )
)

ON_CLUSTER = (
    HTTP_PROXY,
    OPAQUE_PORTS,
    SKIP_INBOUND,
    SKIP_OUTBOUND,
    SKIP_SUBNETS,
    LOG_LEVEL,
    CPU_REQUEST,
    CPU_LIMIT,
    MEMORY_REQUEST,
    MEMORY_LIMIT,
)
"""Of pods on Kubernetes: they have a network of their own, and a container for the sidecar."""

COMMAND = Annotation(
    name="local.smi-mesh.io/command",
    example="python3 server.py",
    otherwise="the container's `command` and `args`",
    meaning="What is run on this machine as the pod's first container: a shell's command line, or a JSON list.",
    explained="local-mode.md#manifests",
)

ON_TEMPLATES = (COMMAND,)
"""Read on pods and pod templates by local mode alone."""

INJECTED: Final = "smi-mesh.io/proxy-status"
"""What the injector writes on a pod: ours, but nobody's to set."""

LOCAL_PREFIX: Final = "local.smi-mesh.io/"
ON_TEMPLATE_NAMES: Final = frozenset(one.name for one in ON_TEMPLATES)
ON_POD_NAMES: Final = frozenset(one.name for one in (*ON_PODS, *ON_CLUSTER))
_PREFIX: Final = "smi-mesh.io/"
_KNOWN: Final = {one.name: one.values for one in (*ON_PODS, *ON_CLUSTER)}
_READ: Final[Mapping[str, Callable[[str], object]]] = {
    OPAQUE_PORTS.name: port_list,
    SKIP_INBOUND.name: port_list,
    SKIP_OUTBOUND.name: port_list,
    SKIP_SUBNETS.name: subnet_list,
    **{one.name: parse_quantity for one in (CPU_REQUEST, CPU_LIMIT, MEMORY_REQUEST, MEMORY_LIMIT)},
}


def fault(name: str, value: str) -> str:
    """What is wrong with one annotation of a pod or a namespace; empty: nothing, or it is none of ours."""
    if not name.startswith(_PREFIX) or name == INJECTED:
        return ""
    if name not in _KNOWN:
        known = ", ".join(sorted(one for one in _KNOWN if one.startswith(_PREFIX)))
        return f"is not known; known are {known}"
    if _KNOWN[name] and value not in _KNOWN[name]:
        return f"{value!r} is not one of {', '.join(_KNOWN[name])}"
    if name in _READ:
        try:
            _READ[name](value)
        except (BadRule, BadQuantity) as error:
            return str(error)
    return ""
