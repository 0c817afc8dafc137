"""An SMI object in one line."""

from __future__ import annotations

from fractions import Fraction

import pytest

from smi.access import IdentityBinding, Subject, TargetRule, TrafficTarget
from smi.meta import Meta
from smi.specs import HTTPMatch, HTTPRouteGroup, TCPRoute
from smi.split import RouteRef, SplitBackend, TrafficSplit
from translator.kube.status.summary import summary_of

META = Meta(name="web", namespace="shop")


def split(*weights: Fraction, matches: tuple[RouteRef, ...] = ()) -> TrafficSplit:
    leaves = tuple(SplitBackend(service=f"v{number}", weight=weight) for number, weight in enumerate(weights, start=1))
    return TrafficSplit(meta=META, api_version="v1alpha4", service="web", backends=leaves, matches=matches)


TARGET = TrafficTarget(
    meta=META,
    api_version="v1alpha3",
    destination=Subject(kind="ServiceAccount", name="web"),
    sources=(Subject(kind="ServiceAccount", name="client", namespace="other"),),
    rules=(
        TargetRule(kind="HTTPRouteGroup", name="paths", matches=("fine", "any")),
        TargetRule(kind="TCPRoute", name="port"),
    ),
)

CASES = {
    "v1=900m v2=100m": split(Fraction(9, 10), Fraction(1, 10)),
    "v1=90 v2=0 if testers": split(
        Fraction(90), Fraction(0), matches=(RouteRef(kind="HTTPRouteGroup", name="testers"),)
    ),
    "v1=0.333333": split(Fraction(1, 3)),
    "other/client -> web: paths/fine|any, port": TARGET,
    "nobody -> nobody: nothing": TrafficTarget(meta=META, api_version="v1alpha3", destination=None),
    "account web, pods app=web,tier=1, a/b": IdentityBinding(
        meta=META,
        api_version="v1alpha4",
        service_account="web",
        pod_labels={"tier": "1", "app": "web"},
        spiffe_identities=("a/b",),
    ),
    "one, two": HTTPRouteGroup(
        meta=META, api_version="v1alpha4", matches=(HTTPMatch(name="one"), HTTPMatch(name="two"))
    ),
    "ports 80, 90": TCPRoute(meta=META, api_version="v1alpha4", ports=(80, 90)),
    "all ports": TCPRoute(meta=META, api_version="v1alpha4"),
    "": None,
}


@pytest.mark.parametrize(("text", "thing"), CASES.items(), ids=CASES)
def test_golden(text: str, thing: object) -> None:
    assert summary_of(thing) == text


def test_a_long_one_is_cut() -> None:
    assert len(summary_of(split(*[Fraction(1)] * 100))) == 120
