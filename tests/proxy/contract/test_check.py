"""Each way in which a config can contradict itself, and that a good one does not."""

from __future__ import annotations

import math

import forge
import pytest

from proxy.contract.check import MAX_REASONS, contradictions, is_host
from proxy.contract.config import (
    Backend,
    Balance,
    Breaker,
    Cluster,
    Config,
    Endpoint,
    Grant,
    Host,
    HttpMatch,
    Inbound,
    Policy,
    Port,
    Retry,
    Rule,
    Service,
    Source,
    Trust,
)

WEB = "spiffe://cluster.local/ns/shop/sa/web"
ROOT = forge.Root().pem
KEY = "shop/web:80"
ENDPOINT = Endpoint(ip="127.80.0.2", port=8080, mesh=4143, identity=WEB, pod="shop/web-0", listen=28080)
MATCH = HttpMatch(name="get", methods=("GET",), path="/api/.*", headers=(("x-user", "a.*"),))
RULE = Rule(split="shop/s", backends=(Backend(service="shop/web", cluster=KEY, weight=9),), matches=(MATCH,))


def service(*rules: Rule, cluster: str = KEY, port: int = 80, ip: str = "10.0.0.1") -> Config:
    return Config(
        services={"shop/web": Service(ports={port: Port(cluster=cluster, rules=rules)}, cluster_ip=ip)},
        clusters={KEY: Cluster(endpoints=(ENDPOINT,)), "pod:127.80.0.2:8080": Cluster()},
        hosts={
            "web.shop": Host(service="shop/web"),
            "a.b": Host(),
            "127.80.0.2": Host(pod={80: "pod:127.80.0.2:8080"}),
        },
    )


def endpoint(**fields: object) -> Config:
    return Config(clusters={KEY: Cluster(endpoints=(Endpoint(**{"ip": "127.80.0.2", "port": 80, **fields}),))})  # type: ignore[arg-type]


def split(**fields: object) -> Config:
    return service(Rule(**{"split": "shop/s", **fields}))  # type: ignore[arg-type]


def match(**fields: object) -> Config:
    return split(matches=(HttpMatch(name="m", **fields),))  # type: ignore[arg-type]


def granted(named: bool = True, **fields: object) -> Config:
    return Config(inbound=Inbound(named=named, grants=(Grant(target="shop/t", **fields),)))  # type: ignore[arg-type]


def policy(**fields: object) -> Config:
    return Config(services={"shop/web": Service(policy=Policy(**fields))})  # type: ignore[arg-type]


def retry(**fields: object) -> Config:
    return policy(retry=Retry(**fields))  # type: ignore[arg-type]


def balance(**fields: object) -> Config:
    return Config(clusters={KEY: Cluster(balance=Balance(**fields))})  # type: ignore[arg-type]


def breaker(**fields: object) -> Config:
    return Config(clusters={KEY: Cluster(breaker=Breaker(**fields))})  # type: ignore[arg-type]


def backend(weight: int, cluster: str = KEY) -> Backend:
    return Backend(service="shop/web", cluster=cluster, weight=weight)


GOOD = {
    "empty": Config(),
    "a split": service(RULE),
    "a split without backends": split(),
    "weights all zero": split(backends=(backend(0),)),
    "IPv6": endpoint(ip="fd00::1"),
    "no pods": Config(clusters={KEY: Cluster()}),
    "a grant": granted(sources=(Source(identity=WEB), Source(pod="web-0.shop.pod")), ports=(8080,), http=(MATCH,)),
    "a grant to another trust domain": granted(sources=(Source(identity="spiffe://partner.example/billing"),)),
    "trust": Config(trust=Trust(bundle=ROOT * 2, federated={"partner.example": ROOT})),
    "a grant of nothing": granted(ports=(), http=()),
    "a policy": policy(request_timeout=1.0, retry=Retry(statuses=((500, 599), (200, 200)), grpc=(1, 16))),
    "no backoff, no budget": retry(backoff_min=0.0, backoff_max=0.0, budget_ratio=0.0, budget_min=0.0, routes=()),
    "a hash": balance(algorithm="hash", header="x-user"),
    "a breaker that is off": breaker(consecutive_failures=0),
}

BAD = {
    "version -1 is negative": Config(version=-1),
    "service Shop/web: not a name": Config(services={"Shop/web": Service()}),
    "service web: not a name": Config(services={"web": Service()}),
    "service shop/web: port 0 is out of range": service(port=0),
    "service shop/web: port 65536 is out of range": service(port=65536),
    "service shop/web: port -1 is out of range": service(port=-1),
    "service shop/web: 'None' is no IP address": service(ip="None"),
    "service shop/web: port 80: there is no cluster 'shop/gone:80'": service(cluster="shop/gone:80"),
    "split shop/s: there is no cluster 'shop/gone:80'": split(backends=(backend(1, "shop/gone:80"),)),
    "split shop/s: weight -1 of shop/web is out of range": split(backends=(backend(-1),)),
    "split shop/s: weight 9007199254740993 of shop/web is out of range": split(backends=(backend(2**53 + 1),)),
    "split shop/s: a backend stands there twice": split(backends=(backend(1), backend(2))),
    "match 'm': '(' is no regular expression": match(path="("),
    "match 'm': '(?=x)' is no regular expression": match(headers=(("a", "(?=x)"),)),
    "match 'm': 'X-A' is no header name in lower case": match(headers=(("X-A", ""),)),
    "match 'm': 'a b' is no header name in lower case": match(headers=(("a b", ""),)),
    "match 'm': 'G T' is no method": match(methods=("G T",)),
    "cluster shop/web: not a name": Config(clusters={"shop/web": Cluster()}),
    "cluster shop/web:0: not a name": Config(clusters={"shop/web:0": Cluster()}),
    "'localhost' is no IP address": endpoint(ip="localhost"),
    "'127.80.0.256' is no IP address": endpoint(ip="127.80.0.256"),
    ":0: port is out of range": endpoint(port=0),
    "mesh port 70000 is out of range": endpoint(mesh=70000, identity=WEB),
    "listen port -1 is out of range": endpoint(listen=-1),
    "mTLS without an identity to expect": endpoint(mesh=4143),
    "'web' is no SPIFFE ID": endpoint(mesh=4143, identity="web"),
    "'spiffe://cluster.local/ns/shop' is no SPIFFE ID": endpoint(identity="spiffe://cluster.local/ns/shop"),
    "stands there twice": Config(clusters={KEY: Cluster(endpoints=(ENDPOINT, ENDPOINT))}),
    "host Web.shop: not a name": Config(hosts={"Web.shop": Host()}),
    "host : not a name": Config(hosts={"": Host()}),
    "host web.shop: there is no service 'shop/web'": Config(hosts={"web.shop": Host(service="shop/web")}),
    "host web.shop: there is no cluster 'pod:1.1.1.1:80'": Config(hosts={"web.shop": Host(pod={80: "pod:1.1.1.1:80"})}),
    "host 1.1.1.1: headless: there is no service 'shop/none'": Config(
        hosts={"1.1.1.1": Host(pod={80: KEY}, headless={80: ("shop/none:80",)})}, clusters={KEY: Cluster()}
    ),
    "host 1.1.1.1: headless: there is no service ''": Config(
        hosts={"1.1.1.1": Host(pod={80: KEY}, headless={80: ("none",)})}, clusters={KEY: Cluster()}
    ),
    "host 1.1.1.1: headless: shop/web has no port 81": Config(
        services={"shop/web": Service()},
        hosts={"1.1.1.1": Host(pod={80: KEY}, headless={80: ("shop/web:81",)})},
        clusters={KEY: Cluster()},
    ),
    "host 1.1.1.1: headless: the pod has no port 81": Config(
        hosts={"1.1.1.1": Host(pod={80: KEY}, headless={81: ()})}, clusters={KEY: Cluster()}
    ),
    "host web.shop: port 0 is out of range": Config(hosts={"web.shop": Host(pod={0: KEY})}, clusters={KEY: Cluster()}),
    "host web.shop: both a Service and a pod": Config(
        hosts={"web.shop": Host(service="shop/web", pod={80: KEY})},
        services={"shop/web": Service()},
        clusters={KEY: Cluster()},
    ),
    "inbound: grants for a pod that no TrafficTarget names": granted(named=False),
    "target shop/t: a source is an identity or a pod": granted(sources=(Source(),)),
    "target shop/t: 'shop/web' is no SPIFFE ID": granted(sources=(Source(identity="shop/web"),)),
    "'spiffe://partner.example/' is no SPIFFE ID": granted(sources=(Source(identity="spiffe://partner.example/"),)),
    "'spiffe://partner.example/x' is no SPIFFE ID": endpoint(mesh=4143, identity="spiffe://partner.example/x"),
    "trust: the bundle cannot be read": Config(trust=Trust(bundle="")),
    "trust: partner.example: the bundle is cut short": Config(
        trust=Trust(bundle=ROOT, federated={"partner.example": ROOT + ROOT[:100]})
    ),
    "trust: 'Partner' is no trust domain": Config(trust=Trust(bundle=ROOT, federated={"Partner": ROOT})),
    "target shop/t: 'web-0' is no pod": granted(sources=(Source(pod="web-0"),)),
    "target shop/t: port 0 is out of range": granted(ports=(0,)),
    "service shop/web: policy: request_timeout 0.0 is out of range": policy(request_timeout=0.0),
    "policy: response_timeout -1.0 is out of range": policy(response_timeout=-1.0),
    "policy: idle_timeout nan is out of range": policy(idle_timeout=math.nan),
    "policy: retry: limit 0 is out of range": retry(limit=0),
    "policy: retry: limit 101 is out of range": retry(limit=101),
    "policy: retry: 504-502 are no status codes": retry(statuses=((504, 502),)),
    "policy: retry: 100-200 are no status codes": retry(statuses=((100, 200),)),
    "policy: retry: 500-600 are no status codes": retry(statuses=((500, 600),)),
    "policy: retry: 0 is no gRPC code": retry(grpc=(0,)),
    "policy: retry: try_timeout inf is out of range": retry(try_timeout=math.inf),
    "policy: retry: backoff 2.0..1.0 is out of range": retry(backoff_min=2.0, backoff_max=1.0),
    "policy: retry: backoff -1.0..1.0 is out of range": retry(backoff_min=-1.0, backoff_max=1.0),
    "policy: retry: budget_ratio 11.0 is out of range": retry(budget_ratio=11.0),
    "policy: retry: budget_min -1.0 is out of range": retry(budget_min=-1.0),
    "policy: retry: budget_ttl 0.0 is out of range": retry(budget_ttl=0.0),
    "policy: retry: match 'm': '(' is no regular expression": retry(routes=(HttpMatch(name="m", path="("),)),
    "cluster shop/web:80: ewma looks at no header": balance(header="x-user"),
    "cluster shop/web:80: '' is no header name in lower case": balance(algorithm="hash"),
    "cluster shop/web:80: 'X-User' is no header name": balance(algorithm="hash", header="X-User"),
    "breaker: consecutive_failures -1 is out of range": breaker(consecutive_failures=-1),
    "breaker: penalty 0.0..60.0 is out of range": breaker(min_penalty=0.0),
    "breaker: penalty 2.0..1.0 is out of range": breaker(min_penalty=2.0, max_penalty=1.0),
    "target shop/t: match 'm': '[' is no regular expression": granted(http=(HttpMatch(name="m", path="["),)),
}


@pytest.mark.parametrize("config", GOOD.values(), ids=GOOD.keys())
def test_good(config: Config) -> None:
    assert contradictions(config) == ()


@pytest.mark.parametrize(("reason", "config"), BAD.items(), ids=BAD.keys())
def test_contradicting(reason: str, config: Config) -> None:
    assert [found for found in contradictions(config) if reason in found], contradictions(config)


def test_reasons_are_bounded() -> None:
    assert (
        len(contradictions(Config(hosts={f"host{n}": Host(service="shop/gone") for n in range(1000)}))) == MAX_REASONS
    )


@pytest.mark.parametrize("name", ["web.default", "127.80.0.2", "fd00::1", "_x.y", "a" * 253])
def test_names_that_may_be_asked_for(name: str) -> None:
    assert is_host(name)


@pytest.mark.parametrize("name", ["", "A", "a b", "a/b", "a\n", "é", "a" * 254, "a%20"])
def test_names_that_may_not(name: str) -> None:
    assert not is_host(name)
