"""Whatever two configs are, the difference turns one into the other, and equal ones have equal digests."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.contract.config import (
    Balance,
    Breaker,
    Cluster,
    Config,
    Endpoint,
    Host,
    HttpMatch,
    Inbound,
    Policy,
    Port,
    Retry,
    Service,
    Trust,
)
from proxy.contract.messages import Push, decode_down, difference, encode
from proxy.contract.patch import digest, patched

_names = st.sampled_from(("a/x", "a/y", "b/x"))
_endpoints = st.lists(st.builds(Endpoint, ip=st.just("10.0.0.1"), port=st.integers(1, 3)), max_size=2).map(tuple)
_seconds = st.sampled_from((0.025, 1.0, 10.0))
_retries = st.builds(
    Retry,
    limit=st.integers(1, 3),
    statuses=st.sampled_from(((), ((502, 504),))),
    try_timeout=st.none() | _seconds,
    budget_min=_seconds,
    routes=st.sampled_from((None, (), (HttpMatch(name="m", methods=("GET",)),))),
)
_policies = st.builds(Policy, retry=st.none() | _retries, request_timeout=st.none() | _seconds)
_ports = st.dictionaries(st.integers(1, 3), st.builds(Port, cluster=_names), max_size=2)
_configs = st.builds(
    Config,
    version=st.integers(1, 9),
    services=st.dictionaries(
        _names,
        st.builds(Service, ports=_ports, policy=st.none() | _policies),
    ),
    clusters=st.dictionaries(
        _names,
        st.builds(
            Cluster,
            endpoints=_endpoints,
            balance=st.none() | st.builds(Balance, algorithm=st.sampled_from(("ewma", "round-robin"))),
            breaker=st.none() | st.builds(Breaker, min_penalty=_seconds, max_penalty=_seconds),
        ),
    ),
    hosts=st.dictionaries(_names, st.builds(Host, service=_names)),
    inbound=st.builds(Inbound, named=st.booleans(), unmeshed=st.booleans()),
    trust=st.builds(
        Trust,
        bundle=st.sampled_from(("a", "b")),
        federated=st.dictionaries(_names, st.just("c")),
        generation=st.integers(0, 2),
    ),
)


@given(_configs, _configs)
def test_a_difference_over_the_wire_makes_one_of_the_other(old: Config, new: Config) -> None:
    push = decode_down(encode(difference(old, new)))

    assert isinstance(push, Push)
    assert patched(old, push) == new


@given(_configs)
def test_a_digest_is_the_same_at_both_ends_of_the_wire(config: Config) -> None:
    push = decode_down(encode(difference(Config(), config)))

    assert isinstance(push, Push)
    assert digest(patched(Config(), push)) == digest(config)


@given(_configs, _configs)
def test_digests_tell_configs_apart(one: Config, other: Config) -> None:
    assert (digest(one) == digest(other)) == (replace(one, version=0) == replace(other, version=0))


@given(_configs)
def test_a_digest_does_not_see_the_version_nor_the_order(config: Config) -> None:
    turned = replace(
        config,
        version=config.version + 1,
        services={
            key: replace(service, ports=dict(reversed(service.ports.items())))
            for key, service in reversed(config.services.items())
        },
        clusters=dict(reversed(config.clusters.items())),
    )
    assert digest(turned) == digest(config)


@given(_configs)
def test_who_is_told_nothing_of_trust_has_the_digest_it_always_had(config: Config) -> None:
    """A sidecar one version older does not know the field."""
    bare = replace(config, trust=None)
    fields = {name: getattr(bare, name) for name in ("version", "services", "clusters", "hosts", "inbound")}
    assert digest(bare) == digest(Config(**fields)) != digest(config)
