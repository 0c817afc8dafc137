"""Whole files: what is converted in them, what passes through, and what is wrong with line and field."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest
import yaml

from smi.rewrite import Rewritten, rewrite

SPLIT = """\
    apiVersion: split.smi-spec.io/v1alpha4
    kind: TrafficSplit
    metadata: {name: s}
    spec: {service: web, backends: [{service: a, weight: 1}]}
"""


def run(text: str, version: str = "v1alpha2", file: str = "m.yaml") -> Rewritten:
    return rewrite([(file, dedent(text))], version)


def documents(text: str, version: str = "v1alpha2", file: str = "m.yaml") -> list[Any]:
    rewritten = run(text, version, file)
    assert [str(problem) for problem in rewritten.problems] == []
    return list(rewritten.documents)


def problems(text: str, version: str = "v1alpha2") -> list[str]:
    rewritten = run(text, version)
    assert rewritten.documents == ()
    return [str(problem) for problem in rewritten.problems]


def doubts(text: str, version: str = "v1alpha2", file: str = "m.yaml") -> list[str]:
    return [str(doubt) for doubt in run(text, version, file).doubts]


def test_other_kinds_pass_through_between_converted_ones() -> None:
    text = f"""\
    apiVersion: apps/v1
    kind: Deployment
    metadata: {{name: web}}
    spec: {{anything: [1, 1.5, null, "0755", true]}}
    ---
{SPLIT}    ---
    apiVersion: example.com/v1
    kind: Whatever
"""
    before = list(yaml.safe_load_all(dedent(text)))

    after = documents(text)

    assert after == [before[0], {**before[1], "apiVersion": "split.smi-spec.io/v1alpha2"}, before[2]]


def test_items_of_a_list_are_converted_in_place() -> None:
    text = """\
    apiVersion: v1
    kind: List
    metadata: {resourceVersion: ""}
    items:
    - {apiVersion: v1, kind: Service, metadata: {name: web}}
    - apiVersion: specs.smi-spec.io/v1alpha4
      kind: TCPRoute
      metadata: {name: r}
      spec: {matches: {ports: [80]}}
    - {apiVersion: v1, kind: Service, metadata: {name: other}}
    """
    before = yaml.safe_load(dedent(text))

    (after,) = documents(text)

    assert after["items"][1] == {
        "apiVersion": "specs.smi-spec.io/v1alpha2",
        "kind": "TCPRoute",
        "metadata": {"name": "r", "annotations": {"convert.smi-mesh.io/ports": "[80]"}},
    }
    after["items"][1] = before["items"][1]
    assert after == before


def test_a_typed_list_is_of_the_version_of_its_items_which_need_not_say_it() -> None:
    text = """\
    apiVersion: split.smi-spec.io/v1alpha1
    kind: TrafficSplitList
    items:
    - metadata: {name: s}
      spec: {service: web, backends: [{service: a, weight: 500m}]}
    - apiVersion: split.smi-spec.io/v1alpha1
      kind: TrafficSplit
      metadata: {name: t}
      spec: {service: web, backends: [{service: a, weight: 1}]}
    """
    (after,) = documents(text)

    assert (after["apiVersion"], after["kind"]) == ("split.smi-spec.io/v1alpha2", "TrafficSplitList")
    assert [item.get("apiVersion") for item in after["items"]] == [None, "split.smi-spec.io/v1alpha2"]
    assert after["items"][0]["spec"]["backends"] == [{"service": "a", "weight": 500}]
    assert documents(yaml.dump(after), "v1alpha1") == list(yaml.safe_load_all(dedent(text)))


def test_a_typed_list_of_a_kind_without_that_version_stays() -> None:
    text = """\
    apiVersion: specs.smi-spec.io/v1alpha4
    kind: UDPRouteList
    items: [{metadata: {name: r}}]
    """
    assert documents(text) == list(yaml.safe_load_all(dedent(text)))
    assert doubts(text) == ["m.yaml:3: items[0].apiVersion: UDPRoute exists at v1alpha4 only: left as it is"]


def test_doubts_stand_at_the_field_they_are_about() -> None:
    text = """\
    apiVersion: access.smi-spec.io/v1alpha1
    kind: TrafficTarget
    metadata: {name: t}
    destination:
      kind: ServiceAccount
      name: web
      port: "80"
    sources: []
    """
    (said,) = doubts(text, "v1alpha4")
    assert said.startswith("m.yaml:7: destination.port: v1alpha4 cannot say this: kept in convert.smi-mesh.io/port")


def test_with_any_problem_there_is_no_result() -> None:
    assert problems(
        f"""\
{SPLIT}    ---
    apiVersion: split.smi-spec.io/v1alpha1
    kind: TrafficSplit
    metadata: {{name: s}}
    spec:
      service: web
      backends:
      - {{service: a, weight: many}}
    ---
    kind: Service
"""
    ) == [
        "m.yaml:12: spec.backends[0].weight: `many` is not a quantity such as 900m, 0.5 or 1",
        "m.yaml:14: apiVersion: required",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "m.yaml:1: file: is empty: there is no object in it"),
        ("a: [", "m.yaml:2: yaml: did not find expected node content (while parsing a flow node)"),
        ("apiVersion: v1\nkind: TrafficSplit", None),
        ("- 1", "m.yaml:1: yaml: must be an object: a mapping with apiVersion, kind and metadata, not a list"),
        ("{apiVersion: split.smi-spec.io/v2, kind: TrafficSplit}", "m.yaml:1: apiVersion: TrafficSplit has no version"),
    ],
)
def test_what_is_wrong_with_a_file(text: str, problem: str | None) -> None:
    if problem is None:
        assert documents(text) == [yaml.safe_load(text)]
    else:
        (said,) = problems(text)
        assert said.startswith(problem)


def test_an_annotation_at_odds_with_an_edit_is_a_problem_there() -> None:
    text = """\
    apiVersion: specs.smi-spec.io/v1alpha1
    kind: HTTPRouteGroup
    metadata:
      name: g
      annotations:
        convert.smi-mesh.io/headers: '[{"name": "a", "headers": {"user": "x"}}]'
    matches: [{name: b}]
    """
    (said,) = problems(text)
    assert said.startswith("m.yaml:6: metadata.annotations[convert.smi-mesh.io/headers]: has headers of the match `a`")


def test_an_original_that_is_none_is_a_problem_there() -> None:
    text = """\
    apiVersion: specs.smi-spec.io/v1alpha1
    kind: TCPRoute
    metadata:
      name: g
      annotations:
        convert.smi-mesh.io/original: '[]'
    """
    (said,) = problems(text)
    assert said.startswith("m.yaml:6: metadata.annotations[convert.smi-mesh.io/original]: is not what conversion left")


def test_kustomize_keeps_its_own_file() -> None:
    text = "resources: [a.yaml]\n"
    assert documents(text, file="base/kustomization.yaml") == []
    assert doubts(text, file="base/kustomization.yaml") == [
        "base/kustomization.yaml:1: kind: a Kustomization is left out: only kustomize reads it"
    ]


def test_files_come_in_their_order() -> None:
    files = [(f"{name}.yaml", f"{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}}}") for name in "ba"]
    found: list[Any] = list(rewrite(files, "v1alpha4").documents)
    assert [one["metadata"]["name"] for one in found] == ["b", "a"]


# --- ServiceProfiles ------------------------------------------------------------------------------------------------

PROFILE = """\
    apiVersion: linkerd.io/v1alpha2
    kind: ServiceProfile
    metadata: {name: web.shop.svc.cluster.local, namespace: shop}
    spec:
      routes:
      - {name: all, condition: {method: GET}, isRetryable: true}
"""
SERVICE = """\
    apiVersion: v1
    kind: Service
    metadata: {name: web, namespace: shop, annotations: {retry.smi-mesh.io/limit: "3"}}
    spec: {ports: [{port: 80}]}
"""
ANNOTATIONS = {
    "retry.smi-mesh.io/on": "5xx,connect-failure,reset",
    "retry.smi-mesh.io/limit": "10",
    "retry.smi-mesh.io/routes": "web-routes",
}


def test_a_profile_becomes_routes_and_annotations_apart_from_an_absent_service() -> None:
    group, service = documents(PROFILE, "v1alpha1")

    assert group == {
        "apiVersion": "specs.smi-spec.io/v1alpha1",
        "kind": "HTTPRouteGroup",
        "metadata": {"name": "web-routes", "namespace": "shop"},
        "matches": [{"name": "all", "methods": ["GET"]}],
    }
    assert service == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop", "annotations": ANNOTATIONS},
    }
    assert doubts(PROFILE) == [
        "m.yaml:2: kind: its Service is not in these files: what is printed of it are the annotations, for a patch"
    ]


@pytest.mark.parametrize("order", [[PROFILE, SERVICE], [SERVICE, PROFILE]])
def test_annotations_go_on_the_service_where_it_is_there_and_its_own_stay(order: list[str]) -> None:
    files = [(f"{number}.yaml", dedent(text)) for number, text in enumerate(order)]
    rewritten = rewrite(files, "v1alpha4")
    found: list[Any] = list(rewritten.documents)
    (service,) = [one for one in found if one["kind"] == "Service"]

    assert len(found) == 2
    assert service["metadata"]["annotations"] == {**ANNOTATIONS, "retry.smi-mesh.io/limit": "3"}
    assert service["spec"] == {"ports": [{"port": 80}]}
    assert [doubt.message for doubt in rewritten.doubts] == [
        "the Service says retry.smi-mesh.io/limit itself, which stays"
    ]


def test_a_profile_in_a_list_becomes_items_of_it_and_finds_its_service_there() -> None:
    text = "apiVersion: v1\nkind: List\nitems:\n"
    for item in (PROFILE, SERVICE):
        first, *rest = dedent(item).splitlines()
        text += "\n".join([f"- {first}", *(f"  {line}" for line in rest)]) + "\n"
    (found,) = documents(text, "v1alpha4")

    assert [item["kind"] for item in found["items"]] == ["HTTPRouteGroup", "Service"]
    assert found["items"][1]["metadata"]["annotations"]["retry.smi-mesh.io/routes"] == "web-routes"


def test_what_comes_after_a_profile_in_a_list_is_converted_too() -> None:
    text = """\
    apiVersion: v1
    kind: List
    items:
    - apiVersion: linkerd.io/v1alpha2
      kind: ServiceProfile
      metadata: {name: web.shop.svc.cluster.local}
      spec:
        routes: [{name: all, condition: {method: GET}}]
        dstOverrides: [{authority: web-1.shop.svc, weight: 1}]
    - {apiVersion: specs.smi-spec.io/v1alpha4, kind: TCPRoute, metadata: {name: r}}
    - {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}
    """
    (found,) = documents(text, "v1alpha3")
    assert [f"{item['kind']} {item['apiVersion'].rpartition('/')[2]}" for item in found["items"]] == [
        "HTTPRouteGroup v1alpha3",
        "TrafficSplit v1alpha3",
        "TCPRoute v1alpha3",
        "ConfigMap v1",
    ]


def test_a_profile_of_no_service_passes_through() -> None:
    text = "{apiVersion: linkerd.io/v1alpha2, kind: ServiceProfile, metadata: {name: api.example.com}, spec: {}}"
    assert documents(text) == [yaml.safe_load(text)]
    assert doubts(text) == [
        "m.yaml:1: metadata.name: `api.example.com` is no Service of a cluster: the profile is left as it is"
    ]


def test_a_profile_that_says_nothing_is_left_out() -> None:
    text = (
        "{apiVersion: linkerd.io/v1alpha2, kind: ServiceProfile, metadata: {name: a.b.svc.c, namespace: b}, spec: {}}"
    )
    assert documents(text) == []
    assert doubts(text) == ["m.yaml:1: kind: says nothing that this mesh has words for: it is left out"]


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("{routes: [{name: a}]}", "spec.routes[0].condition: required"),
        ("{routes: [{name: a, condition: {}}]}", "spec.routes[0].condition: must have at least one condition"),
        ("{routes: [{name: a, condition: {pathRegex: '('}}]}", "spec.routes[0].condition.pathRegex: is not a regular"),
        ("{routes: [{name: a, condition: {methd: GET}}]}", "spec.routes[0].condition.methd: unknown field, did you"),
        ("{routes: [{name: a, condition: {all: [{}]}}]}", "spec.routes[0].condition.all[0]: must have at least one"),
        (
            "{routes: [{name: a, condition: {method: GET}, timeout: 1 s}]}",
            "spec.routes[0].timeout: must be a duration such as 250ms or 1m30s, not `1 s`",
        ),
        (
            "{routes: [{name: a, condition: {method: GET}, responseClasses: [{condition: {status: {min: 600}}}]}]}",
            "spec.routes[0].responseClasses[0].condition.status.min: ",
        ),
        ("{retryBudget: {retryRatio: -1, minRetriesPerSecond: 1, ttl: 1s}}", "spec.retryBudget.retryRatio: must be a"),
        ("{dstOverrides: [{authority: a, weight: many}]}", "spec.dstOverrides[0]: `many` is not a quantity"),
    ],
)
def test_a_profile_that_is_wrong(spec: str, problem: str) -> None:
    head = "apiVersion: linkerd.io/v1alpha2\nkind: ServiceProfile\nmetadata: {name: a.b.svc.c, namespace: b}\n"
    (said,) = problems(f"{head}spec: {spec}")
    assert said.startswith(f"m.yaml:4: {problem}")
