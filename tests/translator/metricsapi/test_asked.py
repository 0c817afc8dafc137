"""Paths and queries: each of the specification's, and those that are none."""

from __future__ import annotations

import pytest

from translator.metricsapi.asked import MOST_ITEMS, Asked, asked
from translator.metricsapi.kinds import RESOURCES
from translator.metricsapi.server import Attributes, attributes_of
from translator.metricsapi.status import Refused

NAMESPACED = sorted(one.plural for one in RESOURCES.values() if one.namespaced)


def at(path: str, **query: str) -> Asked:
    return asked(tuple(path.split("/")), query)


def rights(path: str, **query: str) -> Attributes:
    return attributes_of(at(path, **query), "v1alpha1")


@pytest.mark.parametrize("plural", NAMESPACED)
def test_places_of_what_has_a_namespace(plural: str) -> None:
    found = [at(plural), at(f"namespaces/a/{plural}"), at(f"namespaces/a/{plural}/b.c")]
    assert [(one.kind.plural, one.namespace, one.name, one.edges) for one in found] == [
        (plural, "", "", False), (plural, "a", "", False), (plural, "a", "b.c", False)
    ]  # fmt: skip
    one = at(f"namespaces/a/{plural}/b/edges")
    assert (one.kind.plural, one.namespace, one.name, one.edges) == (plural, "a", "b", True)


@pytest.mark.parametrize("plural", ["namespaces", "nodes"])
def test_places_of_what_has_none(plural: str) -> None:
    found = [at(plural), at(f"{plural}/a"), at(f"{plural}/a/edges")]
    assert [(one.kind.plural, one.namespace, one.name, one.edges) for one in found] == [
        (plural, "", "", False), (plural, "", "a", False), (plural, "", "a", True)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "path",
    ["", "pod", "Pods", "traffictargets", "pods/x", "pods/x/edges", "namespaces/a/namespaces", "namespaces/a/nodes",
     "namespaces/a/x", "namespaces/a/pods/b/edge", "namespaces/a/pods/b/edges/c", "nodes/a/b", "namespaces/A",
     "namespaces/../pods", "namespaces/./pods", "namespaces/a/pods/..", "namespaces/a/pods/b\x00",
     "namespaces/a/pods/%62",
     "namespaces/a/pods/é", "namespaces/a/pods/-b", "namespaces/a/pods/b.", "namespaces/a/pods/" + "b" * 254,
     "watch/pods", "proxy/pods/x", "/".join(["a"] * 1000), "namespaces/a/edges/x"],
)  # fmt: skip
def test_no_place(path: str) -> None:
    with pytest.raises(Refused, match="could not find the requested resource") as caught:
        at(path)
    assert caught.value.code == 404
    assert len(caught.value.message) < 300


def test_what_is_not_said() -> None:
    one = at("pods")
    assert (one.seconds, one.limit, one.skip, one.include) == (30.0, MOST_ITEMS, 0, "Metadata")
    assert (one.watch, one.timeout, one.fields, one.only) == (False, 0.0, (), "")


def test_what_kubernetes_clients_add_changes_nothing() -> None:
    one = at(
        "pods", pretty="true", resourceVersion="0", resourceVersionMatch="Exact", allowWatchBookmarks="true",
        sendInitialEvents="true", timeout="5s",
    )  # fmt: skip
    assert one.seconds == 30.0


@pytest.mark.parametrize(("t", "seconds"), [("", 30.0), ("10s", 10.0), ("1m30s", 90.0), ("10m", 600.0), ("1ns", 1e-9)])
def test_windows(t: str, seconds: float) -> None:
    assert at("pods", t=t).seconds == seconds


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("t", value) for value in ("0", "0s", "-1s", "10m1ns", "1e9h", "NaN", "inf", "3０s", "30", " 30s", "0.1ns",
         "x" * 5000)],
        *[(name, value) for name in ("limit", "continue", "timeoutSeconds") for value in ("-1", "x", "1.5", "٣", "²",
         "1" * 11)],
        ("labelSelector", "a=b=c"), ("fieldSelector", "x=y"), ("includeObject", "All"), ("window", "5s"), ("T", "5s"),
        ("x" * 9000, "1"), ("\x00", "1"),
    ],
)  # fmt: skip
def test_queries_that_are_refused(name: str, value: str) -> None:
    with pytest.raises(Refused) as caught:
        asked(("pods",), {name: value})
    assert caught.value.code == 400
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("watch", "said"), [("1", True), ("true", True), ("", True), ("yes", True), ("0", False), ("FALSE", False)]
)
def test_watch_as_the_api_server_reads_it(watch: str, said: bool) -> None:
    assert at("pods", watch=watch).watch is said
    assert at("namespaces/a/pods/b", watch=watch).watch is False


# As k8s.io/apiserver's requestinfo.go has them; each is what the API server itself asked its authorizer.
@pytest.mark.parametrize(
    ("path", "query", "wanted"),
    [
        ("pods", {}, ("list", "pods", "", "", "")),
        ("pods", {"watch": "1"}, ("watch", "pods", "", "", "")),
        ("trafficmetrics", {}, ("list", "trafficmetrics", "", "", "")),
        ("namespaces", {}, ("list", "namespaces", "", "", "")),
        ("namespaces", {"watch": "1"}, ("watch", "namespaces", "", "", "")),
        ("namespaces/foo", {}, ("get", "namespaces", "", "foo", "foo")),
        ("namespaces/foo", {"watch": "1"}, ("get", "namespaces", "", "foo", "foo")),
        ("namespaces/foo/edges", {}, ("list", "edges", "", "foo", "")),
        ("namespaces/foo/edges", {"watch": "1"}, ("watch", "edges", "", "foo", "")),
        ("nodes", {}, ("list", "nodes", "", "", "")),
        ("nodes/n", {}, ("get", "nodes", "", "", "n")),
        ("nodes/n/edges", {}, ("get", "nodes", "edges", "", "n")),
        ("namespaces/foo/pods", {}, ("list", "pods", "", "foo", "")),
        ("namespaces/foo/pods", {"watch": "true"}, ("watch", "pods", "", "foo", "")),
        ("namespaces/foo/pods/x", {}, ("get", "pods", "", "foo", "x")),
        ("namespaces/foo/pods/x/edges", {}, ("get", "pods", "edges", "foo", "x")),
        ("namespaces/foo/pods/x/edges", {"watch": "1"}, ("get", "pods", "edges", "foo", "x")),
        ("namespaces/foo/trafficmetrics/pod.x", {}, ("get", "trafficmetrics", "", "foo", "pod.x")),
        ("namespaces/foo/pods", {"fieldSelector": "metadata.name=x"}, ("list", "pods", "", "foo", "x")),
        ("namespaces/foo/pods", {"fieldSelector": "metadata.name=x", "watch": "1"}, ("watch", "pods", "", "foo", "x")),
        ("namespaces/foo/pods", {"fieldSelector": "metadata.name!=x"}, ("list", "pods", "", "foo", "")),
        ("namespaces/foo/pods", {"fieldSelector": "metadata.name=x,metadata.name=y"}, ("list", "pods", "", "foo", "")),
    ],
)
def test_rights_as_the_api_server_asks_for_them(
    path: str, query: dict[str, str], wanted: tuple[str, str, str, str, str]
) -> None:
    found = rights(path, **query)
    assert (found.verb, found.resource, found.subresource, found.namespace, found.name) == wanted
    assert found.version == "v1alpha1"
