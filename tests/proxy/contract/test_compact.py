"""What is told in few bytes is understood in full, and told to those alone who said that they understand it."""

from __future__ import annotations

import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.contract.config import Backend, Cluster, Config, Endpoint, HttpMatch, Port, Rule, Service
from proxy.contract.messages import (
    MAX_FRAME_BYTES,
    Hello,
    Push,
    decode_down,
    decode_up,
    deflated,
    difference,
    encode,
)
from proxy.contract.patch import digest, patched
from proxy.contract.weights import WrongNumber, weights_of, with_weights

_backends = st.lists(
    st.builds(Backend, service=st.sampled_from(("a/x", "a/y")), cluster=st.just("a/x:80"), weight=st.integers(0, 3)),
    max_size=3,
).map(tuple)
_rules = st.builds(
    Rule,
    split=st.sampled_from(("a/s", "a/t")),
    backends=_backends,
    matches=st.sampled_from((None, (), (HttpMatch(path="/a"),))),
)
_ports = st.dictionaries(
    st.integers(1, 3), st.builds(Port, cluster=st.just("a/x:80"), rules=st.lists(_rules, max_size=2).map(tuple))
)
_services = st.dictionaries(st.sampled_from(("a/x", "a/y")), st.builds(Service, ports=_ports))
_configs = st.builds(Config, version=st.integers(1, 9), services=_services)


@given(old=_configs, new=_configs, weights=st.lists(st.integers(0, 9), min_size=30, max_size=30))
def test_a_compact_difference_makes_one_of_the_other(old: Config, new: Config, weights: list[int]) -> None:
    services = {key: with_weights(one, tuple(weights[: len(weights_of(one))])) for key, one in new.services.items()}
    reweighted = replace(old, services=services)
    for before, after in ((old, new), (new, reweighted), (old, reweighted)):
        push = decode_down(deflated(encode(difference(before, after, compact=True))))
        assert isinstance(push, Push)
        made = patched(before, push)
        assert made == after
        assert digest(made) == digest(after)


@given(one=st.builds(Service, ports=_ports), number=st.integers(0, 20))
def test_other_weights_are_taken_in_the_right_number_alone(one: Service, number: int) -> None:
    if number == len(weights_of(one)):
        assert weights_of(with_weights(one, tuple(range(number)))) == tuple(range(number))
    else:
        with pytest.raises(WrongNumber):
            with_weights(one, tuple(range(number)))


def canary(*weights: int, port: int = 80) -> Config:
    leaves = ("namespace-0001/service-00001-v1", "namespace-0001/service-00001-v2")
    backends = tuple(
        Backend(service=leaf, cluster=f"{leaf}:80", weight=weight) for leaf, weight in zip(leaves, weights, strict=True)
    )
    rule = Rule(split="namespace-0001/service-00001", backends=backends)
    service = Service(
        ports={port: Port(cluster="namespace-0001/service-00001:80", rules=(rule,))}, cluster_ip="10.0.0.1"
    )
    return Config(version=1000 + weights[0], services={"namespace-0001/service-00001": service})


def test_of_a_weight_change_the_weights_alone_are_told() -> None:
    push = difference(canary(90, 10), canary(80, 20), compact=True)
    assert push == Push(version=1080, base=1090, weights={"namespace-0001/service-00001": (80, 20)})
    # The headers of a WebSocket frame (RFC 6455 §5.2), of a TLS record (RFC 8446 §5.2) and its tag are 24 bytes more.
    assert len(encode(push)) + 24 <= 150


def test_whatever_else_changes_is_told_whole() -> None:
    push = difference(canary(90, 10), canary(80, 20, port=81), compact=True)
    assert (push.services, push.weights) == (canary(80, 20, port=81).services, {})


def test_who_does_not_say_compact_is_told_whole_services() -> None:
    push = difference(canary(90, 10), canary(80, 20))
    assert (push.services, push.weights) == (canary(80, 20).services, {})


def test_weights_of_what_is_not_there_are_refused() -> None:
    for services in ({}, canary(90, 10).services):
        with pytest.raises(WrongNumber):
            patched(Config(services=services), Push(version=2, base=1, weights={"namespace-0001/service-00001": (1,)}))


def test_small_frames_go_as_they_are_and_large_ones_deflated() -> None:
    small = encode(Push(version=1))
    assert deflated(small) == small
    clusters: dict[str, Cluster | None] = {
        f"shop/s{number}:80": Cluster(endpoints=(Endpoint(ip=f"10.0.0.{number}", port=80),)) for number in range(100)
    }
    large = Push(version=1, clusters=clusters)
    assert len(deflated(encode(large))) * 2 < len(encode(large))
    assert decode_down(deflated(encode(large))) == large


@pytest.mark.parametrize(
    "frame",
    [
        zlib.compress(b""),
        b"\x78",
        b"\x78\x01\xff\xff",
        zlib.compress(encode(Push(version=1)))[:-1],
        zlib.compress(encode(Push(version=1))) + b"x",
        zlib.compress(bytes(MAX_FRAME_BYTES + 1)),
    ],
    ids=["nothing", "a beginning", "no deflate", "cut off", "more behind", "a bomb"],
)
def test_what_cannot_be_inflated_is_an_error_as_any_other(frame: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_down(frame)


def test_an_old_sidecar_does_not_say_compact_and_an_old_controller_passes_it_over() -> None:
    assert decode_up(msgspec.msgpack.encode({"type": "hello", "version": 3, "reports": True})) == Hello(
        version=3, reports=True, compact=False
    )
    assert msgspec.msgpack.decode(encode(Hello(compact=True))) == {"type": "hello", "compact": True}
