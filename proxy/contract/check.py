"""Does a config contradict itself? Asked before a table is built of it. Pure.

The types are checked when a frame is decoded; here it is what they cannot say:
references that lead nowhere, ports and addresses that cannot be, mTLS without
anybody to expect.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from itertools import islice

import re2

from proxy.contract.bundle import BundleRejected, read_bundle
from proxy.contract.config import (
    Balance,
    Breaker,
    Cluster,
    Config,
    Endpoint,
    Grant,
    Host,
    HttpMatch,
    Policy,
    Retry,
    Rule,
    Service,
    Source,
    Trust,
)
from proxy.contract.spiffe import PeerRejected, is_trust_domain, parse_spiffe_id, split_spiffe_id

MAX_REASONS = 10
"""Reasons given for one config: they travel back in a NACK and are read by people."""

MAX_WEIGHT = 2**53
"""Largest weight: beyond it sums are no longer exact in what other tools read (JSON numbers)."""

MAX_PORT = 65535

MAX_SECONDS = 7 * 24 * 3600.0
"""Longest time of a policy: a week outlives every exchange there is, and arithmetic with it stays exact enough."""

MAX_RETRIES = 100
"""Most attempts beyond the first: waits included this is beyond any client's patience."""

MAX_BUDGET_RATIO = 10.0
"""Largest budget ratio: eleven attempts for each request are no budget any more."""

MAX_BUDGET_RATE = 1_000_000.0
"""Largest ``budget_min`` in retries a second: more than a sidecar could send."""

MAX_FAILURES = 1_000_000
"""Largest number of failures a breaker waits for: more is as good as none."""

STATUSES = range(200, 600)
"""HTTP status codes of final answers (RFC 9110 §15)."""

GRPC_CODES = range(1, 17)
"""The codes of gRPC that are not OK."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_SERVICE_KEY = re.compile(rf"{_NAME.pattern}/{_NAME.pattern}")
_CLUSTER_KEY = re.compile(rf"(pod:[0-9a-f.:]+|{_NAME.pattern}/{_NAME.pattern}):[0-9]{{1,5}}")
_HOST = re.compile(r"[-a-z0-9_.:]{1,253}")
_POD = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.pod")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def contradictions(config: Config) -> tuple[str, ...]:
    """What is wrong with ``config``, at most ``MAX_REASONS`` of it; empty: it may be put in force."""
    return tuple(islice(_all(config), MAX_REASONS))


def is_host(name: str) -> bool:
    """Whether a name may be asked for: short, lower case, a DNS name or an IP address by its characters."""
    return _HOST.fullmatch(name) is not None


def is_header(name: str) -> bool:
    """Whether a text is a header's name in lower case (RFC 9110 §5.1)."""
    return _TOKEN.fullmatch(name) is not None and name == name.lower()


def _all(config: Config) -> Iterator[str]:
    if config.version < 0:
        yield f"version {config.version} is negative"
    for key, service in config.services.items():
        yield from _under(f"service {key}", _service(key, service, config))
    for key, cluster in config.clusters.items():
        yield from _under(f"cluster {key}", _cluster(key, cluster))
    for name, host in config.hosts.items():
        yield from _under(f"host {name}", _host(name, host, config))
    if config.inbound.grants and not config.inbound.named:
        yield "inbound: grants for a pod that no TrafficTarget names"
    for grant in config.inbound.grants:
        yield from _under(f"inbound: target {grant.target}", _grant(grant))
    if config.trust is not None:
        yield from _under("trust", _trust(config.trust))


def _under(what: str, reasons: Iterable[str]) -> Iterator[str]:
    return (f"{what}: {reason}" for reason in reasons)


def _service(key: str, service: Service, config: Config) -> Iterator[str]:
    if not _SERVICE_KEY.fullmatch(key):
        yield "not a name"
    if service.cluster_ip and not _is_ip(service.cluster_ip):
        yield f"{service.cluster_ip!r} is no IP address"
    for number, port in service.ports.items():
        if not _is_port(number):
            yield f"port {number} is out of range"
        if port.cluster not in config.clusters:
            yield f"port {number}: there is no cluster {port.cluster!r}"
        for rule in port.rules:
            yield from _under(f"split {rule.split}", _rule(rule, config))
    if service.policy is not None:
        yield from _under("policy", _policy(service.policy))


def _policy(policy: Policy) -> Iterator[str]:
    for name in ("request_timeout", "response_timeout", "idle_timeout"):
        yield from _optional_seconds(name, getattr(policy, name))
    if policy.retry is not None:
        yield from _under("retry", _retry(policy.retry))


def _retry(retry: Retry) -> Iterator[str]:
    if not 1 <= retry.limit <= MAX_RETRIES:
        yield f"limit {retry.limit} is out of range"
    for first, last in retry.statuses:
        if first not in STATUSES or last not in STATUSES or first > last:
            yield f"{first}-{last} are no status codes"
    for code in retry.grpc:
        if code not in GRPC_CODES:
            yield f"{code} is no gRPC code that can be retried"
    yield from _optional_seconds("try_timeout", retry.try_timeout)
    if not 0.0 <= retry.backoff_min <= retry.backoff_max <= MAX_SECONDS:
        yield f"backoff {retry.backoff_min}..{retry.backoff_max} is out of range"
    if not 0.0 <= retry.budget_ratio <= MAX_BUDGET_RATIO:
        yield f"budget_ratio {retry.budget_ratio} is out of range"
    if not 0.0 <= retry.budget_min <= MAX_BUDGET_RATE:
        yield f"budget_min {retry.budget_min} is out of range"
    if not 0.0 < retry.budget_ttl <= MAX_SECONDS:
        yield f"budget_ttl {retry.budget_ttl} is out of range"
    yield from _matches(retry.routes)


def _optional_seconds(name: str, seconds: float | None) -> Iterator[str]:
    if seconds is not None and not 0.0 < seconds <= MAX_SECONDS:
        yield f"{name} {seconds} is out of range"


def _rule(rule: Rule, config: Config) -> Iterator[str]:
    for backend in rule.backends:
        if not 0 <= backend.weight <= MAX_WEIGHT:
            yield f"weight {backend.weight} of {backend.service} is out of range"
        if backend.cluster not in config.clusters:
            yield f"there is no cluster {backend.cluster!r}"
    clusters = [backend.cluster for backend in rule.backends]
    if len(set(clusters)) != len(clusters):
        yield "a backend stands there twice"
    yield from _matches(rule.matches)


def _cluster(key: str, cluster: Cluster) -> Iterator[str]:
    if not _CLUSTER_KEY.fullmatch(key) or not _is_port(int(key.rpartition(":")[2])):
        yield "not a name"
    seen: set[tuple[str, int]] = set()
    for endpoint in cluster.endpoints:
        yield from _under(f"endpoint {endpoint.ip}:{endpoint.port}", _endpoint(endpoint))
        if (endpoint.ip, endpoint.port) in seen:
            yield f"endpoint {endpoint.ip}:{endpoint.port} stands there twice"
        seen.add((endpoint.ip, endpoint.port))
    if cluster.balance is not None:
        yield from _balance(cluster.balance)
    if cluster.breaker is not None:
        yield from _under("breaker", _breaker(cluster.breaker))


def _balance(balance: Balance) -> Iterator[str]:
    if balance.algorithm != "hash" and balance.header:
        yield f"{balance.algorithm} looks at no header"
    if balance.algorithm == "hash" and not is_header(balance.header):
        yield f"{balance.header!r} is no header name in lower case"


def _breaker(breaker: Breaker) -> Iterator[str]:
    if not 0 <= breaker.consecutive_failures <= MAX_FAILURES:
        yield f"consecutive_failures {breaker.consecutive_failures} is out of range"
    if not 0.0 < breaker.min_penalty <= breaker.max_penalty <= MAX_SECONDS:
        yield f"penalty {breaker.min_penalty}..{breaker.max_penalty} is out of range"


def _endpoint(endpoint: Endpoint) -> Iterator[str]:
    if not _is_ip(endpoint.ip):
        yield f"{endpoint.ip!r} is no IP address"
    if not _is_port(endpoint.port):
        yield "port is out of range"
    if endpoint.mesh and not _is_port(endpoint.mesh):
        yield f"mesh port {endpoint.mesh} is out of range"
    if endpoint.listen and not _is_port(endpoint.listen):
        yield f"listen port {endpoint.listen} is out of range"
    if endpoint.mesh and not endpoint.identity:
        yield "mTLS without an identity to expect"
    if endpoint.identity and not _is_identity(endpoint.identity):
        yield f"{endpoint.identity!r} is no SPIFFE ID"


def _host(name: str, host: Host, config: Config) -> Iterator[str]:
    if not is_host(name):
        yield "not a name"
    if host.service and host.pod:
        yield "both a Service and a pod"
    if host.service and host.service not in config.services:
        yield f"there is no service {host.service!r}"
    for number, ports in host.headless.items():
        if number not in host.pod:
            yield f"headless: the pod has no port {number}"
        for port_of in ports:
            key, _, port_number = port_of.rpartition(":")
            if not _CLUSTER_KEY.fullmatch(port_of) or key not in config.services:
                yield f"headless: there is no service {key!r}"
            elif int(port_number) not in config.services[key].ports:
                yield f"headless: {key} has no port {port_number}"
    for port, cluster in host.pod.items():
        if not _is_port(port):
            yield f"port {port} is out of range"
        if cluster not in config.clusters:
            yield f"there is no cluster {cluster!r}"


def _grant(grant: Grant) -> Iterator[str]:
    for source in grant.sources:
        yield from _source(source)
    for port in grant.ports or ():
        if not _is_port(port):
            yield f"port {port} is out of range"
    yield from _matches(grant.http)


def _source(source: Source) -> Iterator[str]:
    if bool(source.identity) == bool(source.pod):
        yield "a source is an identity or a pod"
    if source.identity and not _is_spiffe_id(source.identity):
        yield f"{source.identity!r} is no SPIFFE ID"
    if source.pod and not _POD.fullmatch(source.pod):
        yield f"{source.pod!r} is no pod"


def _matches(matches: tuple[HttpMatch, ...] | None) -> Iterator[str]:
    for match in matches or ():
        where = f"match {match.name!r}"
        for method in match.methods:
            if not _TOKEN.fullmatch(method):
                yield f"{where}: {method!r} is no method"
        if not _is_regex(match.path):
            yield f"{where}: {match.path!r} is no regular expression"
        for name, value in match.headers:
            if not is_header(name):
                yield f"{where}: {name!r} is no header name in lower case"
            if not _is_regex(value):
                yield f"{where}: {value!r} is no regular expression"


def _trust(trust: Trust) -> Iterator[str]:
    for domain, bundle in {"": trust.bundle, **trust.federated}.items():
        if domain and not is_trust_domain(domain):
            yield f"{domain!r} is no trust domain"
        try:
            read_bundle(bundle)
        except BundleRejected as error:
            yield f"{domain}: {error}".removeprefix(": ")


def _is_port(number: int) -> bool:
    return 0 < number <= MAX_PORT


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_identity(text: str) -> bool:
    try:
        parse_spiffe_id(text)
    except PeerRejected:
        return False
    return True


def _is_spiffe_id(text: str) -> bool:
    """Of this trust domain or another, which has paths of its own form."""
    try:
        split_spiffe_id(text)
    except PeerRejected:
        return False
    return True


def _is_regex(pattern: str) -> bool:
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error:
        return False
    return True
