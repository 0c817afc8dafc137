"""Kinds by all their names, and what belongs to what."""

from __future__ import annotations

import pytest

from smi.meta import Meta
from smi.workloads import Pod
from translator.resources import NoSuchKind, Resource, covers, kind_of, of_pod, resource

POD = Pod(meta=Meta(name="web-1", namespace="shop"), ip="127.80.0.2", workload="web", workload_kind="StatefulSet")


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("deploy", "deployment", "deployments", "Deployment"), "Deployment"),
        (("sts", "statefulset", "statefulsets"), "StatefulSet"),
        (("po", "pod", "pods", "PODS"), "Pod"),
        (("svc", "service", "services"), "Service"),
        (("ns", "namespace", "namespaces"), "Namespace"),
        (("ts", "trafficsplit", "trafficsplits"), "TrafficSplit"),
        (("tt", "traffictarget", "traffictargets"), "TrafficTarget"),
        (("ds", "daemonsets"), "DaemonSet"),
        (("job", "jobs"), "Job"),
        (("workload", "workloads"), "Workload"),
    ],
)
def test_words_for_kinds(words: tuple[str, ...], kind: str) -> None:
    assert {kind_of(word) for word in words} == {kind}


@pytest.mark.parametrize("word", ["", "depoly", "ingress", "deploy/web"])
def test_no_kind(word: str) -> None:
    with pytest.raises(NoSuchKind, match="there are po, ns, no, svc, ts, tt, deploy, sts, ds, rs, rc, job"):
        kind_of(word)


def test_what_is_asked_about() -> None:
    assert resource("deploy/web", "shop") == Resource("Deployment", "shop", "web")
    assert resource("deploy", "") == Resource("Deployment", "", "")
    assert resource("ns/shop", "default") == Resource("Namespace", "", "shop")
    with pytest.raises(NoSuchKind, match="no name behind the slash"):
        resource("deploy/", "shop")


@pytest.mark.parametrize(
    ("kind", "belongs"),
    [
        ("Pod", Resource("Pod", "shop", "web-1")),
        ("Namespace", Resource("Namespace", "", "shop")),
        ("StatefulSet", Resource("StatefulSet", "shop", "web")),
        ("Workload", Resource("StatefulSet", "shop", "web")),
        ("Deployment", None),
        ("Service", None),
    ],
)
def test_what_a_pod_belongs_to(kind: str, belongs: Resource | None) -> None:
    assert of_pod(POD, kind) == belongs


def test_an_empty_name_or_namespace_covers_all() -> None:
    web = Resource("Deployment", "shop", "web")
    assert covers(Resource("Deployment", "", ""), web)
    assert covers(Resource("Deployment", "shop", ""), web)
    assert covers(web, web)
    assert not covers(Resource("Deployment", "other", ""), web)
    assert not covers(Resource("Deployment", "shop", "api"), web)
    assert not covers(Resource("StatefulSet", "", ""), web)
    assert not covers(web, None)
