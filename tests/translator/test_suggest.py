"""What was seen, and the objects that would let exactly that in."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.contract.audit import Audit, Seen
from proxy.contract.config import Grant, HttpMatch
from smi.decode import decode_text
from smi.meta import Meta
from smi.workloads import Pod
from smi.yamltext import to_yaml
from translator.policy import inbound
from translator.suggest import Observed, Suggestion, suggest
from translator.world import World

A, B = ("spiffe://cluster.local/ns/shop/sa/a", "spiffe://cluster.local/ns/other/sa/b")


def pod(workload: str, account: str = "", namespace: str = "shop", **labels: str) -> Pod:
    meta = Meta(name=f"{workload}-0", namespace=namespace, labels=labels or {"app": workload})
    return Pod(
        meta=meta,
        ip="127.80.0.9",
        service_account=account or workload,
        workload=workload,
        workload_kind="Deployment",
        ready=True,
        mesh_port=4143,
    )


WEB = pod("web")


def seen(path: str = "/", method: str = "GET", caller: str = A, port: int = 8080, **more: Any) -> Seen:
    return Seen(**{"caller": caller, "port": port, "method": method, "path": path, "requests": 1, **more})


def made(*requests: Seen, pods: tuple[Pod, ...] = (WEB,), unlisted: int = 0) -> Suggestion:
    return suggest(pods, [Observed(pod=pods[0], audit=Audit(seen=requests, unlisted=unlisted))], "cluster.local")


def grants(suggestion: Suggestion, *pods: Pod) -> tuple[Grant, ...]:
    """What the suggested objects, applied as they are printed, grant to callers of the first pod."""
    decoded = decode_text(to_yaml(suggestion.objects), "suggested.yaml")
    assert decoded.problems == ()
    world = World.of(decoded.objects, pods or (WEB,))
    access, findings = inbound(world, world.pods[0])
    assert findings == []
    return access.grants


def test_one_target_for_each_caller_and_port_with_the_methods_of_each_path() -> None:
    suggestion = made(seen("/x"), seen("/x", "POST"), seen("/"), seen("/x", port=9090), seen("/x", caller=B))
    assert [(one["kind"], one["metadata"]["name"]) for one in suggestion.objects] == [
        ("TCPRoute", "port-8080"),
        ("HTTPRouteGroup", "other-b-to-web-8080"),
        ("TrafficTarget", "other-b-to-web-8080"),
        ("HTTPRouteGroup", "a-to-web-8080"),
        ("TrafficTarget", "a-to-web-8080"),
        ("TCPRoute", "port-9090"),
        ("HTTPRouteGroup", "a-to-web-9090"),
        ("TrafficTarget", "a-to-web-9090"),
    ]
    first, second, third = sorted(grants(suggestion), key=lambda grant: grant.target)
    assert [grant.target for grant in (first, second, third)] == [
        "shop/a-to-web-8080",
        "shop/a-to-web-9090",
        "shop/other-b-to-web-8080",
    ]
    assert (first.ports, second.ports, third.ports) == ((8080,), (9090,), (8080,))
    assert [source.identity for source in third.sources] == [B]
    assert first.http == (
        HttpMatch(name="a-to-web-8080/root", methods=("GET",), path="/$"),
        HttpMatch(name="a-to-web-8080/x", methods=("GET", "POST"), path="/x$"),
    )
    assert suggestion.remarks == ()


@pytest.mark.parametrize(
    ("one", "name", "pattern"),
    [
        (seen("/a.b+(c)|d$[e]^{f}*?"), "a-b-c-d-e-f", r"/a\.b\+\(c\)\|d\$\[e\]\^\{f\}\*\?$"),
        (seen("/user/", below=True), "below-user", "/user/.*"),
        (seen("/", below=True), "any", ""),
        (seen("*", "OPTIONS"), "root", r"\*$"),
        (seen("/%C3%A9"), "c3-a9", "/%C3%A9$"),
    ],
)
def test_a_path_becomes_a_pattern_for_itself_alone(one: Seen, name: str, pattern: str) -> None:
    ((match,),) = [grant.http or () for grant in grants(made(one))]
    assert (match.name, match.path) == (f"a-to-web-8080/{name}", pattern)


def test_alike_names_are_told_apart() -> None:
    ((first, second),) = [grant.http or () for grant in grants(made(seen("/a-b"), seen("/a.b")))]
    assert [first.name, second.name] == ["a-to-web-8080/a-b", "a-to-web-8080/a-b-2"]
    same = [
        seen(caller="spiffe://cluster.local/ns/other/sa/b"),
        seen(caller="spiffe://cluster.local/ns/shop/sa/other-b"),
    ]
    assert sorted(grant.target for grant in grants(made(*same))) == [
        "shop/other-b-to-web-8080",
        "shop/other-b-to-web-8080-2",
    ]


def test_a_workload_that_shares_its_account_is_named_by_its_labels() -> None:
    web, other = pod("web", "default"), pod("other", "default")
    suggestion = made(seen(caller="spiffe://cluster.local/ns/shop/sa/default"), pods=(web, other))
    assert grants(suggestion, web, other)
    assert grants(suggestion, other, web) == (), "the other workload is not closed, nor opened"
    assert suggestion.remarks == ("ServiceAccount shop/default is other, web: as a source it is all of them",)


def test_where_labels_tell_no_workloads_apart_that_is_said() -> None:
    web, other = pod("web", "default", app="x"), pod("other", "default", app="x")
    suggestion = made(seen(), pods=(web, other))
    assert grants(suggestion, web)
    assert [remark.partition(",")[0] for remark in suggestion.remarks] == [
        "ServiceAccount shop/default is more than web's"
    ]


@pytest.mark.parametrize(
    ("one", "remark"),
    [
        (seen(caller="", requests=3), "3 requests of callers without identity to web:8080 are not here"),
        (seen(caller="spiffe://else.where/ns/a/sa/b"), "1 requests of spiffe://else.where/ns/a/sa/b to web:8080"),
        (seen("", ambiguous=True, requests=2), f"2 requests of {A} to web:8080 have ambiguous paths"),
    ],
)
def test_what_no_target_can_say_is_a_remark(one: Seen, remark: str) -> None:
    suggestion = made(one)
    assert suggestion.objects == ()
    assert suggestion.remarks[0].startswith(remark)


def test_what_a_sidecar_could_not_keep_is_a_remark() -> None:
    suggestion = made(seen(requests=4, denied=3), unlisted=7)
    assert (suggestion.requests, suggestion.denied) == (11, 3)
    assert suggestion.remarks == ("7 more requests were of more kinds than a sidecar keeps; they are not here",)
