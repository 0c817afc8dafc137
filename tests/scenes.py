"""Random scenes for the property tests: few names, so that objects refer to, overlap and contradict each other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction
from typing import TypeVar

from hypothesis import strategies as st
from oracle import Request, Scene

from smi.access import IdentityBinding, Subject, TargetRule, TrafficTarget
from smi.meta import Meta
from smi.specs import HTTPMatch, HTTPRouteGroup, TCPRoute, UDPRoute
from smi.split import RouteRef, SplitBackend, TrafficSplit
from smi.workloads import Namespace, Pod, Service, ServicePort

_T = TypeVar("_T")

NAMESPACES = ("one", "two")
ACCOUNTS = ("a", "a.b", "axb")
CONTAINER_PORTS = (8080, 9090)
METHODS = ("GET", "POST", "get")
PATHS = ("/", "/api", "/api/v1", "/apix", "/admin", "/API")
PATTERNS = ("", "/", ".*", "/api", "/api$", "/api/.*", "/ap.", "^/admin", "/(api|admin)")
HEADERS = (("X-User", "alice"), ("x-user", "al.*"), ("X-Beta", "1"), ("host", "web.*"))

_namespace = st.sampled_from(("one", "one", "one", "two"))
_account = st.sampled_from(ACCOUNTS)
_labels = st.sampled_from(({"app": "w"}, {"app": "w", "tier": "v"}, {"app": "v"}, {"app": "v", "tier": "v"}, {}))
_policy = st.sampled_from(("same-identity", "deny", "allow", "Allow"))
_annotations = st.fixed_dictionaries(
    {},
    optional={
        "smi-mesh.io/default-policy": _policy,
        "smi-mesh.io/unmeshed": st.sampled_from(("allow", "deny", "yes")),
        "smi-mesh.io/policy-mode": st.sampled_from(("enforce", "enforce", "enforce", "off", "audit")),
    },
)
_created = st.one_of(st.none(), st.integers(1, 3).map(lambda day: datetime(2024, 1, day, tzinfo=UTC)))


def _often(*choices: tuple[int, st.SearchStrategy[_T]]) -> st.SearchStrategy[_T]:
    """One of the strategies, each as often as its number says."""
    return st.sampled_from([strategy for times, strategy in choices for _ in range(times)]).flatmap(lambda s: s)


def _meta(name: str, namespace: str = "") -> st.SearchStrategy[Meta]:
    """A name; without a namespace mostly in the first."""
    return st.builds(
        Meta, name=st.just(name), namespace=st.just(namespace) if namespace else _namespace, created=_created
    )


def _per_name(
    build: Callable[[st.SearchStrategy[Meta]], st.SearchStrategy[object]],
) -> tuple[st.SearchStrategy[object], ...]:
    """``r1`` in both namespaces, ``r2`` in the first or the second, ``r3`` nowhere."""
    return build(_meta("r1", "one")), build(_meta("r1", "two")), build(_meta("r2"))


_match = st.builds(
    HTTPMatch,
    name=st.sampled_from(("m1", "m2")),
    methods=st.sampled_from(((), ("GET",), ("POST",), ("GET", "POST"), ("*",), ("get",))),
    path_regex=st.sampled_from(PATTERNS),
    headers=st.lists(st.sampled_from(HEADERS), max_size=2).map(tuple),
)
_matches = _often((1, st.just(())), (4, st.tuples(_match)), (4, st.tuples(_match, _match)))
_groups = _per_name(lambda meta: st.builds(HTTPRouteGroup, meta=meta, api_version=st.just(""), matches=_matches))
_ports = st.lists(st.sampled_from(CONTAINER_PORTS), max_size=2).map(tuple)
_tcp = _per_name(lambda meta: st.builds(TCPRoute, meta=meta, api_version=st.just(""), ports=_ports))
_udp = st.builds(UDPRoute, meta=_meta("r1"), api_version=st.just(""), ports=_ports)
_foreign = st.sampled_from(("", "", "", "", "one", "two"))
_account_subject = st.builds(Subject, kind=st.just("ServiceAccount"), name=_account, namespace=_foreign)
_binding_subject = st.builds(
    Subject, kind=st.just("IdentityBinding"), name=st.sampled_from(("i1", "i1", "i2")), namespace=_foreign
)
_odd_subject = st.builds(Subject, kind=st.sampled_from(("Group", "ServiceAccount")), name=st.sampled_from(("a", "")))
_subject = _often((6, _account_subject), (5, _binding_subject), (1, _odd_subject))


def _rules_of(kind: str) -> st.SearchStrategy[TargetRule]:
    return st.builds(
        TargetRule,
        kind=st.just(kind),
        name=st.sampled_from(("r1", "r1", "r2", "r3")),
        matches=st.sampled_from((None, None, ("m1",), ("m2",), ("m1", "m3"))),
    )


_http, _l4, _l4_udp = _rules_of("HTTPRouteGroup"), _rules_of("TCPRoute"), _rules_of("UDPRoute")
_rules = _often(
    (5, st.tuples(_http)),
    (4, st.tuples(_l4)),
    (6, st.tuples(_http, _l4)),
    (4, st.tuples(_http, _http)),
    (3, st.tuples(_l4, _l4)),
    (3, st.tuples(_l4, _http, _l4_udp)),
    (1, st.tuples(_l4_udp)),
    (1, st.tuples(_http, _rules_of("GRPCRoute"))),
    (1, st.just(())),
)


def _target(name: str) -> st.SearchStrategy[TrafficTarget]:
    return st.builds(
        TrafficTarget,
        meta=_meta(name),
        api_version=st.just(""),
        destination=_often((15, _subject), (1, st.none())),
        sources=_often((6, st.tuples(_subject, _subject)), (3, st.tuples(_subject)), (1, st.just(()))),
        rules=_rules,
        port=st.sampled_from((None, None, *CONTAINER_PORTS)),
    )


_bindings = [
    st.builds(
        IdentityBinding,
        meta=meta,
        api_version=st.just(""),
        pod_labels=_labels,
        spiffe_identities=st.sampled_from(
            (
                (),
                ("spiffe://cluster.local/ns/one/sa/a",),
                ("cluster.local/ns/two/sa/a", "cluster.local/ns/one/sa/a.b"),
                (
                    "other.example/ns/one/sa/a",
                    "spiffe://cluster.local/ns/one/sa/a/b",
                    "spiffe://cluster.local/sa/a",
                    "cluster.local/ns/one/sa/A_",
                ),
            )
        ),
        service_account=st.sampled_from(("", *ACCOUNTS)),
    )
    for meta in (_meta("i1", "one"), _meta("i1", "two"), _meta("i2"))
]
_service_port = st.builds(
    ServicePort,
    port=st.sampled_from((80, 80, 8080)),
    target_port=st.sampled_from((0, 8080, 9090, "http", "http", "admin")),
    protocol=st.sampled_from(("TCP",) * 7 + ("UDP",)),
)
_services = [
    st.builds(
        Service,
        meta=meta,
        ports=st.lists(_service_port, min_size=1, max_size=2, unique_by=lambda p: p.port).map(tuple),
        selector=st.sampled_from(({"app": "w"}, {"app": "v"}, {"tier": "v"}, {"app": "w", "tier": "v"}, {})),
        type=st.sampled_from(("ClusterIP",) * 7 + ("ExternalName",)),
        cluster_ip=st.sampled_from(("", "None")),
    )
    for meta in (_meta("web", "one"), _meta("v1", "one"), _meta("v2"), _meta("web", "two"))
]
_backend = st.builds(
    SplitBackend,
    service=st.sampled_from(("web", "v1", "v2", "v1", "v2", "v1", "gone", "v1.one.svc.cluster.local", "v2.two")),
    weight=st.sampled_from((Fraction(9, 10), Fraction(1, 10), Fraction(50), Fraction(3, 4), Fraction(0))),
)
_reference = st.builds(
    RouteRef,
    kind=st.sampled_from(("HTTPRouteGroup",) * 5 + ("TCPRoute",)),
    name=st.sampled_from(("r1", "r1", "r2", "r3")),
)
_splits = [
    st.builds(
        TrafficSplit,
        meta=_meta(name),
        api_version=st.just(""),
        service=st.sampled_from(
            ("web", "web", "web", "WEB.one", "web.two.svc", "web.one.svc.cluster.local.", "web.three")
        ),
        backends=st.one_of(
            st.tuples(_backend, _backend), st.tuples(_backend, _backend, _backend, _backend), st.just(())
        ),
        matches=st.one_of(st.just(()), st.tuples(_reference), st.tuples(_reference, _reference)),
    )
    for name in ("s1", "s2", "s3")
]


def _pods(described: tuple[tuple[str, str, dict[str, str], dict[str, str], bool], ...]) -> tuple[Pod, ...]:
    return tuple(
        Pod(
            meta=Meta(name=f"p{number}", namespace=namespace, labels=labels, annotations=annotations),
            ip=f"127.80.0.{number + 10}",
            service_account=account,
            ports={"http": 8080} if number % 2 else {"http": 9090, "admin": 8080},
            ready=ready,
            mesh_port=4143,
        )
        for number, (namespace, account, labels, annotations, ready) in enumerate(described)
    )


_pod = st.tuples(
    _namespace,
    st.sampled_from(("a", "a", "a.b", "axb")),
    _labels,
    _annotations,
    st.sampled_from((True, True, True, True, False)),
)
_running = st.tuples(_pod, _pod, _pod, _pod).map(_pods)
_namespaces = st.tuples(*(st.builds(Meta, name=st.just(n), annotations=_annotations) for n in NAMESPACES)).map(
    lambda metas: tuple(Namespace(meta=meta) for meta in metas)
)


_access = st.tuples(_target("t1"), _target("t2"), _target("t3"), *_bindings, *_groups, *_tcp, _udp)
_splitting = st.tuples(*_splits, *_services, *_groups)

requests = st.builds(
    Request,
    method=st.sampled_from(METHODS),
    path=st.sampled_from(PATHS),
    headers=st.fixed_dictionaries(
        {"host": st.sampled_from(("web", "api"))},
        optional={"x-user": st.sampled_from(("alice", "alice2", "al", "bob")), "x-beta": st.sampled_from(("1", "11"))},
    ),
)
access_scenes = st.builds(
    lambda objects, namespaces, pods, policy: Scene(objects=(*objects, *namespaces), pods=pods, default_policy=policy),
    _access,
    _namespaces,
    _running,
    st.sampled_from(("same-identity", "deny", "allow")),
)
split_scenes = st.builds(lambda objects, pods: Scene(objects=objects, pods=pods), _splitting, _running)
smi_objects = st.one_of(*_splits, _target("t1"), *_bindings, *_groups, *_tcp, _udp)
"""One object of any kind of SMI."""
whole_scenes = st.builds(
    lambda access, splitting, namespaces, pods, policy: Scene(
        objects=(*access, *splitting, *namespaces), pods=pods, default_policy=policy
    ),
    _access,
    st.tuples(*_splits, *_services),
    _namespaces,
    _running,
    st.sampled_from(("same-identity", "deny", "allow")),
)
