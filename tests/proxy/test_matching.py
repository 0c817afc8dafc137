"""Conditions on a request, and the one form of a host name."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from proxy.contract.config import HttpMatch
from proxy.errors import ConfigRejected
from proxy.matching import canonical_host, compile_match


@dataclass
class Asked:
    """A request as conditions see it."""

    method: str = "GET"
    policy_path: str = "/"
    headers: dict[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str | None:
        return self.headers.get(name)


@pytest.mark.parametrize(
    ("match", "request_", "accepted"),
    [
        (HttpMatch(), Asked(), True),
        (HttpMatch(methods=("GET",)), Asked("GET"), True),
        (HttpMatch(methods=("GET",)), Asked("HEAD"), False),
        (HttpMatch(methods=("get",)), Asked("GET"), False),
        (HttpMatch(methods=("*",)), Asked("PURGE"), True),
        (HttpMatch(path="/api"), Asked(policy_path="/api/v1"), True),
        (HttpMatch(path="/api"), Asked(policy_path="/v1/api"), False),
        (HttpMatch(path="/api$"), Asked(policy_path="/api/v1"), False),
        (HttpMatch(path="/a.c"), Asked(policy_path="/abc"), True),
        (HttpMatch(path="/a\\.c"), Asked(policy_path="/abc"), False),
        (HttpMatch(path="/(a|b)/.*"), Asked(policy_path="/b/"), True),
        (HttpMatch(path=".*/admin"), Asked(policy_path="/x/admin"), True),
        (HttpMatch(path="api"), Asked(policy_path="/api"), False),
        (HttpMatch(path=".*"), Asked(policy_path="/anything"), True),
        (HttpMatch(path="/"), Asked(policy_path="*"), True),
        (HttpMatch(headers=(("x-a", "b"),)), Asked(headers={"x-a": "b"}), True),
        (HttpMatch(headers=(("X-A", "b"),)), Asked(headers={"x-a": "b"}), True),
        (HttpMatch(headers=(("x-a", "b"),)), Asked(headers={"x-a": "bb"}), False),
        (HttpMatch(headers=(("x-a", ".*b.*"),)), Asked(headers={"x-a": "abc"}), True),
        (HttpMatch(headers=(("x-a", ".*"),)), Asked(), False),
        (HttpMatch(methods=("GET",), path="/a", headers=(("x", "1"),)), Asked("GET", "/a", {"x": "2"}), False),
    ],
)
def test_conditions(match: HttpMatch, request_: Asked, accepted: bool) -> None:
    assert compile_match(match).accepts(request_) is accepted


def test_a_pattern_that_is_not_re2_rejects_the_config() -> None:
    with pytest.raises(ConfigRejected, match=r"\(\?=a\)"):
        compile_match(HttpMatch(path="(?=a)"))


def test_a_pattern_made_to_be_slow_is_not() -> None:
    assert compile_match(HttpMatch(path="/(a+)+$")).accepts(Asked(policy_path="/" + "a" * 5000 + "!")) is False


@pytest.mark.parametrize("path", ["", "/", ".*", "/.*"])
def test_match_all_is_no_condition_on_the_path(path: str) -> None:
    assert compile_match(HttpMatch(path=path)).looks_at_path is False


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("web", "web.shop"),
        ("WEB", "web.shop"),
        ("web.", "web.shop"),
        ("web.default", "web.default"),
        ("web.default.svc", "web.default"),
        ("web.default.svc.cluster.local", "web.default"),
        ("web.default..svc.Cluster.Local.", "web.default"),
        ("pod-0.web.default.svc.cluster.local", "pod-0.web.default"),
        ("svc", "svc.shop"),
        ("web.svc", "web.svc"),
        ("example.com", "example.com"),
        ("127.80.0.3", "127.80.0.3"),
    ],
)
def test_canonical_host(name: str, canonical: str) -> None:
    assert canonical_host(name, "shop", "cluster.local") == canonical
