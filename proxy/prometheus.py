"""The metrics of a sidecar in Prometheus' text format (0.0.4), by the names that Linkerd's proxies made common. Pure.

``FAMILIES`` is the list of them, ``LABELS`` what their labels say; ``translator.reference`` writes both down. What
comes in is what ``proxy.counters`` and ``proxy.transports`` counted. Dashboards and
Flagger read these names, so they stay as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

from proxy.budget import Retried
from proxy.contract.report import Labels, bucket_value
from proxy.counters import Totals

if TYPE_CHECKING:
    from proxy.transports import Connections, Kind

# Upper bounds in milliseconds of the exported histograms (Linkerd's).
BOUNDS = tuple(float(digit * scale) for scale in (1, 10, 100, 1000, 10000) for digit in (1, 2, 3, 4, 5))


class Family(NamedTuple):
    """One metric: its name, its type, what it counts, and the labels it has beside those that every one has."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


COMMON = {
    "namespace": "the sidecar's own namespace",
    "pod": "its pod",
    "deployment": "its workload; the label is called after the kind (`statefulset`, …)",
}
"""What every line has, and what it says."""

LABELS = {
    "direction": "`inbound`: to this pod's application; `outbound`: from it",
    "tls": "`true`: mutual TLS; `no_identity`: in the clear",
    "client_id": "inbound: the caller's SPIFFE ID",
    "server_id": "outbound: the server's SPIFFE ID",
    "target_port": "inbound: the container port",
    "dst_namespace": "outbound: the namespace of what was called",
    "dst_service": "the Service that was called: the backend, where a split chose it",
    "dst_port": "its port",
    "dst_pod": "the pod that answered",
    "dst_deployment": "that pod's workload; the label is called after the kind",
    "dst_serviceaccount": "that pod's ServiceAccount",
    "apex": "the Service that was asked for, where a split chose another",
    "split": "the TrafficSplit that chose",
    "classification": "`success` or `failure`",
    "status_code": "the HTTP status; 499 where the client left first",
    "rt_route": "the match, as `group/match`",
    "authz_kind": "what let it in: `traffictarget` or `default`",
    "authz_name": "which TrafficTarget",
    "peer": "`src`: who connects to this sidecar; `dst`: whom it connects to",
    "errno": "how the connection ended; empty: in order",
    "reason": "the [word](reasons.md)",
    "parent_group": "`core`: the API group of what was asked for",
    "parent_kind": "`Service`",
    "parent_namespace": "the namespace of the Service that was asked for, whose policy it is",
    "parent_name": "its name",
}
"""What each label says, in Markdown."""

_SERIES = ("direction", "tls", "client_id", "server_id", "target_port", "dst_namespace", "dst_service", "dst_port",
           "dst_pod", "dst_deployment", "dst_serviceaccount", "apex", "split")  # fmt: skip
_AUTHZ = ("target_port", "tls", "client_id")
_TCP = ("direction", "peer", "tls")
_PARENT = ("parent_group", "parent_kind", "parent_namespace", "parent_name")

REQUESTS = Family("request_total", "counter", "Requests, counted when they end.", _SERIES)
RESPONSES = Family(
    "response_total",
    "counter",
    "Answers. classification is failure from status 500 on, else success.",
    (*_SERIES, "classification", "status_code"),
)
LATENCY = Family("response_latency_ms", "histogram", "Milliseconds from a request's head to its answer's end.", _SERIES)
ROUTE_REQUESTS = Family(
    "route_request_total", "counter", "Requests that a match of an HTTPRouteGroup met.", (*_SERIES, "rt_route")
)
ROUTE_RESPONSES = Family(
    "route_response_total", "counter", "Their answers.", (*_SERIES, "rt_route", "classification", "status_code")
)
ROUTE_LATENCY = Family("route_response_latency_ms", "histogram", "Their milliseconds.", (*_SERIES, "rt_route"))
ALLOWED = Family(
    "inbound_http_authz_allow_total",
    "counter",
    "Requests let in, and by what: a TrafficTarget or the default.",
    (*_AUTHZ, "authz_kind", "authz_name"),
)
DENIED = Family("inbound_http_authz_deny_total", "counter", "Requests refused by policy: 403.", _AUTHZ)
AUDITED = Family("smi_mesh_audit_total", "counter", "Requests that audit mode let in and policy would refuse.", _AUTHZ)
OPENED = Family("tcp_open_total", "counter", "Connections opened; peer is src: to us, dst: by us.", _TCP)
OPEN = Family("tcp_open_connections", "gauge", "Connections that stand.", _TCP)
READ = Family("tcp_read_bytes_total", "counter", "Bytes read, TLS included.", _TCP)
WRITTEN = Family("tcp_write_bytes_total", "counter", "Bytes written and acknowledged, TLS included.", _TCP)
CLOSED = Family(
    "tcp_close_total", "counter", "Connections ended; errno is empty for an end in order.", (*_TCP, "errno")
)
REFUSED = Family(
    "smi_mesh_refused_total",
    "counter",
    "Answers of the sidecar's own, by the first word of smi-mesh-reason.",
    ("direction", "reason"),
)
RETRY_REQUESTS = Family(
    "outbound_http_route_retry_requests_total", "counter", "Retries that limit and budget granted.", _PARENT
)
RETRY_SUCCESSES = Family(
    "outbound_http_route_retry_successes_total",
    "counter",
    "Requests that were repeated and then answered with a status below 500.",
    _PARENT,
)
RETRY_LIMIT_EXCEEDED = Family(
    "outbound_http_route_retry_limit_exceeded_total",
    "counter",
    "Failures not repeated any more: the request has had all retries of its limit.",
    _PARENT,
)
RETRY_OVERFLOW = Family(
    "outbound_http_route_retry_overflow_total", "counter", "Failures not repeated: the budget was spent.", _PARENT
)
EXPIRY = Family("identity_cert_expiration_timestamp_seconds", "gauge", "When the certificate in use ends.")
VERSION = Family("smi_mesh_config_version", "gauge", "The config in force.")
CONNECTED = Family("smi_mesh_control_connected", "gauge", "Whether the control stream stands.")
LOG_DROPPED = Family("smi_mesh_access_log_dropped_total", "counter", "Lines that nobody took in time.")

FAMILIES = (
    REQUESTS, RESPONSES, LATENCY, ROUTE_REQUESTS, ROUTE_RESPONSES, ROUTE_LATENCY, ALLOWED, DENIED, AUDITED,
    OPENED, OPEN, READ, WRITTEN, CLOSED, REFUSED,
    RETRY_REQUESTS, RETRY_SUCCESSES, RETRY_LIMIT_EXCEEDED, RETRY_OVERFLOW, EXPIRY, VERSION, CONNECTED, LOG_DROPPED,
)  # fmt: skip


class Own(NamedTuple):
    """Whose metrics these are; every line says so."""

    namespace: str
    pod: str
    workload_kind: str
    workload: str

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """``namespace``, ``pod`` and ``deployment`` (or another kind's name)."""
        return ("namespace", self.namespace), ("pod", self.pod), (self.workload_kind.lower(), self.workload)


class Snapshot(NamedTuple):
    """Everything there is to tell. ``retried`` has counts by service key, ``gauges`` single values by family."""

    series: list[tuple[Labels, Totals]]
    transports: list[tuple[Kind, Connections]]
    refusals: Mapping[tuple[str, str], int]
    retried: Mapping[str, Retried]
    gauges: Mapping[Family, float]


Pairs = tuple[tuple[str, str], ...]


def exposition(own: Own, snapshot: Snapshot) -> Iterator[str]:
    """The text, in pieces of some lines."""
    base = own.labels
    about: Callable[[Labels], Pairs] = lambda labels: base + series_labels(labels)  # noqa: E731
    yield from _requests((REQUESTS, RESPONSES, LATENCY), grouped(snapshot.series, about))
    routed = [item for item in snapshot.series if item[0].match]
    yield from _requests(
        (ROUTE_REQUESTS, ROUTE_RESPONSES, ROUTE_LATENCY),
        grouped(routed, lambda labels: (*about(labels), ("rt_route", labels.match))),
    )
    for family, verdict in ((ALLOWED, "allow"), (DENIED, "deny"), (AUDITED, "audit")):
        judged = [item for item in snapshot.series if item[0].verdict == verdict]
        counts = grouped(judged, lambda labels: base + authz_labels(labels))
        yield from _plain(family, ((text, totals.requests) for text, totals in counts.items()))
    yield from _transports(base, snapshot.transports)
    refusals = snapshot.refusals.items()
    yield from _plain(
        REFUSED, ((_text((*base, ("direction", way), ("reason", why))), count) for (way, why), count in refusals)
    )
    yield from _retries(base, snapshot.retried)
    for family, value in snapshot.gauges.items():
        yield from _plain(family, [(_text(base), value)])


def series_labels(labels: Labels) -> Pairs:
    """What ``request_total`` and its kin say of a series; an empty label is left out when it is written."""
    if labels.direction == "inbound":
        return (
            ("direction", "inbound"),
            ("tls", labels.tls),
            ("client_id", labels.peer),
            ("target_port", labels.destination),
        )
    service, colon, port = labels.destination.rpartition(":")
    namespace, slash, name = (labels.backend or service).partition("/")
    if not slash:  # a pod by its address or host name, which dst_pod tells; or no destination of this mesh
        namespace, name = labels.pod.rpartition("/")[0], "" if colon else port
    kind, _, workload = labels.workload.partition("/")
    return (
        ("direction", "outbound"),
        ("tls", labels.tls),
        ("server_id", labels.peer),
        ("dst_namespace", namespace),
        ("dst_service", name),
        ("dst_port", port if colon else ""),
        ("dst_pod", labels.pod.rpartition("/")[2]),
        (f"dst_{kind.lower()}", workload),
        ("dst_serviceaccount", labels.peer.rpartition("/")[2]),
        ("apex", service.partition("/")[2] if labels.split else ""),
        ("split", labels.split.partition("/")[2]),
    )


def authz_labels(labels: Labels) -> Pairs:
    """What the counters of policy say."""
    common = (("target_port", labels.destination), ("tls", labels.tls), ("client_id", labels.peer))
    if labels.verdict != "allow":
        return common
    kind = "traffictarget" if labels.target else "default"
    return (*common, ("authz_kind", kind), ("authz_name", labels.target.partition("/")[2]))


def grouped(series: Iterable[tuple[Labels, Totals]], say: Callable[[Labels], Pairs]) -> dict[str, Totals]:
    """Totals by the text of their labels: several series may look the same from here."""
    groups: dict[str, list[Totals]] = {}
    for labels, totals in series:
        groups.setdefault(_text(say(labels)), []).append(totals)
    return {text: _sum(members) for text, members in groups.items()}


def _sum(members: list[Totals]) -> Totals:
    if len(members) == 1:
        return members[0]
    by_status: Counter[int] = Counter()
    histogram: Counter[int] = Counter()
    for totals in members:
        by_status.update(totals.by_status)
        histogram.update(totals.histogram)
    return Totals(by_status, histogram, sum(totals.seconds for totals in members))


def _requests(families: tuple[Family, Family, Family], groups: Mapping[str, Totals]) -> Iterator[str]:
    requests, responses, latency = families
    yield from _plain(requests, ((text, totals.requests) for text, totals in groups.items()))
    yield _head(responses)
    for text, totals in groups.items():
        for status, count in sorted(totals.by_status.items()):
            kind = "failure" if status >= 500 else "success"
            yield f'{responses.name}{{{text},classification="{kind}",status_code="{status}"}} {count}\n'
    yield _head(latency)
    for text, totals in groups.items():
        yield "".join(_histogram(latency.name, text, totals))


def _histogram(name: str, text: str, totals: Totals) -> Iterator[str]:
    counted = position = 0
    pending = sorted(totals.histogram.items())
    for bound in BOUNDS:
        while position < len(pending) and bucket_value(pending[position][0]) * 1000.0 <= bound:
            counted += pending[position][1]
            position += 1
        yield f'{name}_bucket{{{text},le="{bound:g}"}} {counted}\n'
    requests = totals.requests
    yield f'{name}_bucket{{{text},le="+Inf"}} {requests}\n'
    yield f"{name}_count{{{text}}} {requests}\n{name}_sum{{{text}}} {totals.seconds * 1000.0:.3f}\n"


def _transports(base: Pairs, transports: list[tuple[Kind, Connections]]) -> Iterator[str]:
    said = [(_text((*base, *kind._asdict().items())), counts) for kind, counts in transports]
    yield from _plain(OPENED, ((text, counts.opened) for text, counts in said))
    yield from _plain(OPEN, ((text, counts.open) for text, counts in said))
    yield from _plain(READ, ((text, counts.read) for text, counts in said))
    yield from _plain(WRITTEN, ((text, counts.written) for text, counts in said))
    closes = ((text, name, count) for text, counts in said for name, count in sorted(counts.closes.items()))
    yield from _plain(CLOSED, ((f'{text},errno="{name}"', count) for text, name, count in closes))


def _retries(base: Pairs, retried: Mapping[str, Retried]) -> Iterator[str]:
    said = [(_text((*base, *_parent(service))), counts) for service, counts in retried.items()]
    yield from _plain(RETRY_REQUESTS, ((text, counts.requests) for text, counts in said))
    yield from _plain(RETRY_SUCCESSES, ((text, counts.successes) for text, counts in said))
    yield from _plain(RETRY_LIMIT_EXCEEDED, ((text, counts.limit_exceeded) for text, counts in said))
    yield from _plain(RETRY_OVERFLOW, ((text, counts.overflow) for text, counts in said))


def _parent(service: str) -> Pairs:
    namespace, _, name = service.partition("/")
    kind = ("parent_group", "core"), ("parent_kind", "Service")
    return (*kind, ("parent_namespace", namespace), ("parent_name", name))


def _plain(family: Family, values: Iterable[tuple[str, float]]) -> Iterator[str]:
    yield _head(family)
    for text, value in values:
        yield f"{family.name}{{{text}}} {value:.17g}\n"


def _head(family: Family) -> str:
    return f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n"


def _text(pairs: Pairs) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in pairs if value)


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
