"""Whatever two configs are, the difference turns one into the other, and equal ones have equal digests."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.contract.config import Cluster, Config, Endpoint, Host, Inbound, Port, Service
from proxy.contract.messages import Push, decode_down, difference, encode
from proxy.contract.patch import digest, patched

_names = st.sampled_from(("a/x", "a/y", "b/x"))
_endpoints = st.lists(st.builds(Endpoint, ip=st.just("10.0.0.1"), port=st.integers(1, 3)), max_size=2).map(tuple)
_configs = st.builds(
    Config,
    version=st.integers(1, 9),
    services=st.dictionaries(
        _names,
        st.builds(Service, ports=st.dictionaries(st.integers(1, 3), st.builds(Port, cluster=_names), max_size=2)),
    ),
    clusters=st.dictionaries(_names, st.builds(Cluster, endpoints=_endpoints)),
    hosts=st.dictionaries(_names, st.builds(Host, service=_names)),
    inbound=st.builds(Inbound, named=st.booleans(), unmeshed=st.booleans()),
)


@given(_configs, _configs)
def test_a_difference_over_the_wire_makes_one_of_the_other(old: Config, new: Config) -> None:
    push = decode_down(encode(difference(old, new)))

    assert isinstance(push, Push)
    assert patched(old, push) == new


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
