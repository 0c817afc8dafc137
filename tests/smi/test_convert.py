"""What each version of each kind looks like, what is kept beside it, and what becomes of edits."""

import copy
import json
from typing import Any

import pytest
import yaml

from smi.convert import Converted, convert
from smi.errors import BadAnnotation, Invalid

Manifest = dict[str, Any]
ALPHAS = ("v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4")


def read(text: str) -> Manifest:
    found: Manifest = yaml.safe_load(text)
    return found


def split(version: str, spec: str, metadata: str = "{name: s}") -> Manifest:
    head = f"{{apiVersion: split.smi-spec.io/{version}, kind: TrafficSplit, metadata: {metadata}, "
    return read(f"{head} spec: {spec}}}")


def target(version: str, body: str, metadata: str = "{name: t}") -> Manifest:
    return read(
        f"{{apiVersion: access.smi-spec.io/{version}, kind: TrafficTarget, metadata: {metadata}, {body}}}",
    )


def route(kind: str, version: str, body: str = "", metadata: str = "{name: r}") -> Manifest:
    return read(f"{{apiVersion: specs.smi-spec.io/{version}, kind: {kind}, metadata: {metadata}, {body}}}")


def at(version: str, manifest: Manifest) -> Manifest:
    """``manifest`` at ``version``, after a look that it leads back."""
    before = copy.deepcopy(manifest)
    there = convert(manifest, version).manifest
    assert json.dumps(convert(there, manifest["apiVersion"].rpartition("/")[2]).manifest, sort_keys=True) == json.dumps(
        before, sort_keys=True
    )
    assert manifest == before
    return there


def kept(manifest: Manifest) -> dict[str, Any]:
    return {
        name.removeprefix("convert.smi-mesh.io/"): json.loads(text)
        for name, text in manifest["metadata"].get("annotations", {}).items()
    }


def said(converted: Converted) -> list[str]:
    return [doubt.message for doubt in converted.doubts]


# --- TrafficSplit ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", ALPHAS)
@pytest.mark.parametrize("other", ALPHAS)
def test_whole_weights_are_the_same_everywhere(one: str, other: str) -> None:
    spec = "{service: web, backends: [{service: a, weight: 90}, {service: b, weight: 10}]}"
    assert at(other, split(one, spec)) == split(other, spec)


@pytest.mark.parametrize(
    ("weights", "whole"),
    [
        ("900m 100m", [900, 100]),
        ("500m 1", [500, 1000]),
        ("1 2k", [1, 2000]),
        ("0.5 0.25", [500, 250]),
        ("1u 1", [1, 1000000]),
        ("0 500m", [0, 500]),
        ("0.0 0", [0, 0]),
    ],
)
def test_fractional_weights_are_multiplied_all_alike(weights: str, whole: list[int]) -> None:
    one, other = weights.split()
    spec = f"{{service: web, backends: [{{service: a, weight: {one}}}, {{service: b, weight: {other}}}]}}"
    converted = at("v1alpha2", split("v1alpha1", spec))
    assert [leaf["weight"] for leaf in converted["spec"]["backends"]] == whole
    assert kept(converted) == {"weights": [yaml.safe_load(one), yaml.safe_load(other)]}


def test_matches_are_kept_where_there_are_none() -> None:
    spec = "{service: web, backends: [{service: a, weight: 1}], matches: [{kind: HTTPRouteGroup, name: g, zz: 1}]}"
    converted = at("v1alpha2", split("v1alpha4", spec))
    assert converted["spec"] == read("{service: web, backends: [{service: a, weight: 1}]}")
    assert kept(converted) == {"matches": [{"kind": "HTTPRouteGroup", "name": "g", "zz": 1}]}
    assert convert(converted, "v1alpha3").manifest == split("v1alpha3", spec)


def test_edited_weights_count_and_matches_stay() -> None:
    spec = "{service: web, backends: [{service: a, weight: 900m}, {service: b, weight: 0.1}], matches: [{name: g}]}"
    converted = convert(split("v1alpha1", spec), "v1alpha2").manifest
    converted["spec"]["backends"][1]["weight"] = 200

    back = convert(converted, "v1alpha1").manifest

    assert [leaf["weight"] for leaf in back["spec"]["backends"]] == [900, 200]
    assert kept(back) == {"matches": [{"name": "g"}]}


# --- TrafficTarget --------------------------------------------------------------------------------------------------

WEB, CLIENT = "{kind: ServiceAccount, name: web}", "[{kind: ServiceAccount, name: c}]"
WEB_80 = "{kind: ServiceAccount, name: web, port: 80}"
RULES = "[{kind: TCPRoute, name: r}]"


def test_a_target_at_each_version() -> None:
    fields = f"destination: {WEB}, sources: {CLIENT}"
    first = target("v1alpha1", f"{fields}, specs: {RULES}")
    for version in ALPHAS[1:]:
        assert at(version, first) == target(version, f"spec: {{{fields}, rules: {RULES}}}")


def test_a_port_is_text_then_a_number_then_kept() -> None:
    first = target("v1alpha1", f"destination: {{kind: ServiceAccount, name: web, port: '80'}}, sources: {CLIENT}")
    second = target("v1alpha2", f"spec: {{destination: {WEB_80}, sources: {CLIENT}}}")
    third = at("v1alpha3", second)

    assert at("v1alpha2", first) == second
    assert third["spec"]["destination"] == read(WEB)
    assert kept(third) == {"port": 80}
    assert at("v1alpha3", first) == third
    assert kept(at("v1alpha4", first)) == {"port": 80}


def test_a_port_stays_whatever_else_is_edited() -> None:
    third = convert(target("v1alpha2", f"spec: {{destination: {WEB_80}, sources: {CLIENT}}}"), "v1alpha3").manifest
    third["spec"]["destination"]["name"] = "other"
    third["spec"]["sources"].append({"kind": "ServiceAccount", "name": "d"})

    back = convert(third, "v1alpha2").manifest

    assert back["spec"]["destination"] == {"kind": "ServiceAccount", "name": "other", "port": 80}
    assert [source["name"] for source in back["spec"]["sources"]] == ["c", "d"]
    assert "annotations" not in back["metadata"]


@pytest.mark.parametrize("version", ["v1alpha1", "v1alpha3"])
def test_bindings_and_udp_routes_stay_in_sight(version: str) -> None:
    """A grant in an annotation would be one that nobody sees."""
    body = "{destination: {kind: IdentityBinding, name: b}, sources: [{kind: IdentityBinding, name: c}], rules: "
    fourth = target("v1alpha4", f"spec: {body} [{{kind: UDPRoute, name: u}}]}}")
    converted = at(version, fourth)
    assert "annotations" not in converted["metadata"]
    places = [doubt.places[0] for doubt in convert(fourth, version).doubts]
    assert places == [("spec", "destination"), ("spec", "sources", 0), ("spec", "rules", 0)]
    assert said(convert(fourth, version))[0] == (
        f"IdentityBinding came with v1alpha4: a mesh that reads only {version} may take it for something else"
    )


# --- routes ---------------------------------------------------------------------------------------------------------

GROUP = "matches: [{name: a, methods: [GET], headers: {user: alice}}, {name: b}]"
BARE = "matches: [{name: a, methods: [GET]}, {name: b}]"


def test_a_group_at_each_version() -> None:
    fourth = route("HTTPRouteGroup", "v1alpha4", f"spec: {{{GROUP}}}")
    assert at("v1alpha3", fourth) == route("HTTPRouteGroup", "v1alpha3", f"spec: {{{GROUP}}}")
    assert at("v1alpha2", fourth) == route("HTTPRouteGroup", "v1alpha2", GROUP)
    first = at("v1alpha1", fourth)
    assert first["matches"] == read(f"{{{BARE}}}")["matches"]
    assert "spec" not in first
    assert kept(first) == {"headers": [{"name": "a", "headers": {"user": "alice"}}, {"name": "b"}]}


@pytest.mark.parametrize("version", ALPHAS[:3])
def test_ports_of_a_tcp_route_are_kept_before_v1alpha4(version: str) -> None:
    fourth = route("TCPRoute", "v1alpha4", "spec: {matches: {ports: [80, 81]}}")
    converted = at(version, fourth)
    assert converted == {**route("TCPRoute", version), "metadata": converted["metadata"]}
    assert kept(converted) == {"ports": [80, 81]}


@pytest.mark.parametrize("body", ["", "spec: {}", "spec: {matches: {}}", "spec: {matches: {ports: []}}", "spec: null"])
def test_a_tcp_route_of_all_ports_stays_one(body: str) -> None:
    for version in ALPHAS[:3]:
        at(version, route("TCPRoute", "v1alpha4", body))


@pytest.mark.parametrize(("group", "kind"), [("access", "IdentityBinding"), ("specs", "UDPRoute")])
def test_kinds_of_v1alpha4_alone_stay_as_they_are(group: str, kind: str) -> None:
    thing = read(f"{{apiVersion: {group}.smi-spec.io/v1alpha4, kind: {kind}, metadata: {{name: x}}, spec: {{}}}}")
    converted = convert(thing, "v1alpha2")
    assert converted.manifest == thing
    assert said(converted) == [f"{kind} exists at v1alpha4 only: left as it is"]


# --- to the letter --------------------------------------------------------------------------------------------------

ODD = [
    target("v1alpha3", f"destination: {WEB_80}, sources: {CLIENT}, specs: {RULES}"),
    target("v1alpha1", f"spec: {{destination: {WEB_80}, specs: {RULES}, rules: []}}, sources: {CLIENT}"),
    target("v1alpha1", f"destination: {WEB_80}, sources: null, specs: {RULES}, status: {{summary: q}}"),
    route("HTTPRouteGroup", "v1alpha4", f"{GROUP}, spec: {{matches: [{{name: z}}]}}"),
    route("HTTPRouteGroup", "v1alpha4", GROUP, "{name: r, annotations: {}}"),
    route("HTTPRouteGroup", "v1alpha2", f"spec: {{{GROUP}, zz: 1}}", "{name: r, annotations: null}"),
    route("TCPRoute", "v1alpha2", "spec: {matches: {ports: [80], name: q}}", "{name: r, annotations: {a: b}}"),
    split("v1alpha2", "{service: w, backends: [{service: a, weight: '90'}], matches: null}", "{name: s, labels: {}}"),
]


@pytest.mark.parametrize("manifest", ODD, ids=lambda one: f"{one['kind']}-{one['apiVersion'][-1]}")
@pytest.mark.parametrize("version", ALPHAS)
def test_odd_forms_come_back_as_they_were(manifest: Manifest, version: str) -> None:
    at(version, manifest)


def odd_converted() -> Manifest:
    """A target of v1alpha3 written flat and with a port, at v1alpha4."""
    converted = convert(ODD[0], "v1alpha4").manifest
    assert set(kept(converted)) == {"port", "original"}
    return converted


def test_metadata_and_status_are_taken_as_they_are_now() -> None:
    converted = odd_converted()
    converted["metadata"] |= {"labels": {"new": "1"}, "resourceVersion": "7"}
    converted["metadata"]["annotations"]["a"] = "b"
    converted["status"] = {"summary": "fine"}

    back = convert(converted, "v1alpha3").manifest

    metadata = {"name": "t", "annotations": {"a": "b"}, "labels": {"new": "1"}, "resourceVersion": "7"}
    assert back == {**ODD[0], "metadata": metadata, "status": {"summary": "fine"}}


def test_after_an_edit_the_original_no_longer_counts() -> None:
    converted = odd_converted()
    converted["spec"]["sources"][0]["name"] = "other"

    back = convert(converted, "v1alpha3").manifest

    assert back["spec"]["sources"] == [{"kind": "ServiceAccount", "name": "other"}]
    assert kept(back) == {"port": 80}


def test_after_an_edit_of_what_is_kept_the_original_no_longer_counts() -> None:
    converted = odd_converted()
    converted["metadata"]["annotations"]["convert.smi-mesh.io/port"] = "81"

    assert kept(convert(converted, "v1alpha3").manifest) == {"port": 81}


def test_a_forged_original_is_nothing_while_it_does_not_mean_the_same() -> None:
    converted = odd_converted()
    forged = {"apiVersion": "access.smi-spec.io/v1alpha3", "spec": read(f"{{destination: {WEB}, sources: {CLIENT}}}")}
    converted["metadata"]["annotations"]["convert.smi-mesh.io/original"] = json.dumps(forged)

    assert kept(convert(converted, "v1alpha3").manifest) == {"port": 80}


def test_the_original_goes_along_over_versions_in_between() -> None:
    converted = odd_converted()
    for version in ("v1alpha1", "v1alpha2", "v1alpha4", "v1alpha1"):
        converted = convert(converted, version).manifest
    assert convert(converted, "v1alpha3").manifest == ODD[0]


# --- what is told, and what is wrong --------------------------------------------------------------------------------


def test_conditions_that_only_this_mesh_sees_are_told() -> None:
    converted = convert(route("TCPRoute", "v1alpha4", "spec: {matches: {ports: [80]}}"), "v1alpha1")
    assert said(converted) == [
        "v1alpha1 cannot say this: kept in convert.smi-mesh.io/ports, which no other mesh enforces"
    ]
    assert said(convert(route("TCPRoute", "v1alpha4", "spec: {matches: {ports: []}}"), "v1alpha1")) == []


@pytest.mark.parametrize("text", ["", "[]", "1", '{"apiVersion": "v1"}', "{}", '{"apiVersion": 1}'])
def test_an_original_that_is_none_is_refused(text: str) -> None:
    thing = route("TCPRoute", "v1alpha4")
    thing["metadata"]["annotations"] = {"convert.smi-mesh.io/original": text}
    with pytest.raises(BadAnnotation) as caught:
        convert(thing, "v1alpha1")
    assert caught.value.name == "convert.smi-mesh.io/original"


@pytest.mark.parametrize(
    ("thing", "version"),
    [
        ({"apiVersion": "v1", "kind": "Service"}, "v1alpha1"),
        ({"apiVersion": "split.smi-spec.io/v1beta1", "kind": "TrafficSplit"}, "v1alpha1"),
        ({"apiVersion": "specs.smi-spec.io/v1alpha1", "kind": "TrafficSplit"}, "v1alpha1"),
        ({"kind": ["TrafficSplit"]}, "v1alpha1"),
        (split("v1alpha1", "{}"), "v1beta1"),
        (split("v1alpha1", "{service: w, backends: [{service: a, weight: many}]}"), "v1alpha2"),
    ],
)
def test_what_cannot_be_converted(thing: Manifest, version: str) -> None:
    with pytest.raises(Invalid):
        convert(thing, version)
