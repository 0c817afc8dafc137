"""What conversion keeps in annotations, as decoding reads it: in force, edited around, and broken."""

import json
from fractions import Fraction
from typing import Any

import pytest

from smi.access import TrafficTarget
from smi.decode import SmiObject, decode_text
from smi.kept import ROUGH, whole_weights
from smi.quantity import MAX_QUANTITY
from smi.specs import HTTPRouteGroup, TCPRoute
from smi.split import RouteRef, TrafficSplit

Manifest = dict[str, Any]


def manifest(kind: str, api_version: str, body: Manifest, **kept: object) -> Manifest:
    """With annotations ``convert.smi-mesh.io/NAME``: text as it is, anything else as JSON."""
    annotations = {
        f"convert.smi-mesh.io/{name}": value if isinstance(value, str) else json.dumps(value)
        for name, value in kept.items()
    }
    metadata = {"name": "x", **({"annotations": annotations} if annotations else {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **body}


def decoded(thing: Manifest) -> SmiObject:
    answer = decode_text(json.dumps(thing, indent=1), "m.yaml")
    assert [str(problem) for problem in answer.problems] == []
    (obj,) = answer.objects
    return obj


def problem(thing: Manifest) -> str:
    """The only one, without file and line."""
    answer = decode_text(json.dumps(thing, indent=1), "m.yaml")
    assert answer.objects == ()
    (one,) = answer.problems
    assert json.dumps(thing, indent=1).splitlines()[one.line - 1].strip().startswith('"convert.smi-mesh.io/')
    return f"{one.field.removeprefix('metadata.annotations')}: {one.message}"


# --- TrafficSplit ---------------------------------------------------------------------------------------------------


def split(*weights: object, version: str = "v1alpha2", spec: Manifest | None = None, **kept: object) -> TrafficSplit:
    body = {"service": "web", "backends": [{"service": "v", "weight": weight} for weight in weights], **(spec or {})}
    found = decoded(manifest("TrafficSplit", f"split.smi-spec.io/{version}", {"spec": body}, **kept))
    assert isinstance(found, TrafficSplit)
    return found


def weights_of(found: TrafficSplit) -> list[Fraction]:
    return [leaf.weight for leaf in found.backends]


GROUP = [{"kind": "HTTPRouteGroup", "name": "g"}]


@pytest.mark.parametrize("version", ["v1alpha1", "v1alpha2", "v1alpha4"])
def test_kept_matches_make_a_split_conditional(version: str) -> None:
    assert split(1, version=version, matches=GROUP).matches == (RouteRef(kind="HTTPRouteGroup", name="g"),)


def test_matches_that_the_split_has_itself_win() -> None:
    assert split(1, spec={"matches": [{"name": "h"}]}, matches=GROUP).matches == (
        RouteRef(kind="HTTPRouteGroup", name="h"),
    )


def test_an_empty_list_is_no_way_to_make_a_split_unconditional() -> None:
    assert split(1, spec={"matches": []}, matches=GROUP).matches == (RouteRef(kind="HTTPRouteGroup", name="g"),)


def test_kept_weights_are_exact() -> None:
    assert weights_of(split(900, 100, weights=["900m", "0.1"])) == [Fraction(9, 10), Fraction(1, 10)]


@pytest.mark.parametrize("edited", [[800, 200], [900], [900, 100, 0], [900, "100"]])
def test_weights_that_were_edited_since_win(edited: list[object]) -> None:
    assert weights_of(split(*edited, weights=["900m", "0.1"])) == [Fraction(str(weight)) for weight in edited]


@pytest.mark.parametrize("weight", [True, 1.0])
def test_kept_weights_do_not_make_good_a_weight_that_is_wrong(weight: object) -> None:
    body = {"service": "web", "backends": [{"service": "a", "weight": weight}]}
    thing = manifest("TrafficSplit", "split.smi-spec.io/v1alpha2", {"spec": body}, weights=["1"])
    (said,) = decode_text(json.dumps(thing), "m.yaml").problems
    assert said.field == "spec.backends[0].weight"


def test_no_annotation_of_conversion_is_left_in_the_hub() -> None:
    found = split(900, 100, weights=["900m", "0.1"], matches=GROUP, original={})
    assert found.meta.annotations == {}


@pytest.mark.parametrize(
    ("exact", "whole"),
    [
        (["1", "2"], [1, 2]),
        (["0.5", "1"], [500, 1000]),
        (["900m", "0"], [900, 0]),
        (["100u", "1"], [100, 10**6]),
        (["1e-30", "1"], [1, ROUGH]),
        ([str(MAX_QUANTITY), "0.5"], [ROUGH, 1]),
        ([], []),
    ],
)
def test_weights_as_whole_numbers(exact: list[str], whole: list[int]) -> None:
    factors = {"m": Fraction(1, 1000), "u": Fraction(1, 10**6)}
    amounts = [Fraction(text.rstrip("mu")) * factors.get(text[-1], Fraction(1)) for text in exact]
    assert whole_weights(amounts) == whole


# --- TrafficTarget and TCPRoute -------------------------------------------------------------------------------------


def target(destination: Manifest, **kept: object) -> TrafficTarget:
    subject = {"kind": "ServiceAccount", "name": "web", **destination}
    found = decoded(
        manifest("TrafficTarget", "access.smi-spec.io/v1alpha3", {"spec": {"destination": subject}}, **kept)
    )
    assert isinstance(found, TrafficTarget)
    return found


def test_a_kept_port_limits_the_target() -> None:
    assert target({}, port=8080).port == 8080
    assert target({}, port="8080").port == 8080
    assert target({}, port=json.dumps("8080")).port == 8080


def test_a_port_that_the_target_has_itself_wins() -> None:
    assert target({"port": 9090}, port=8080).port == 9090


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_port_does_not_open_the_others(empty: object) -> None:
    assert target({"port": empty}, port=8080).port == 8080


@pytest.mark.parametrize("body", [{}, {"spec": None}, {"spec": {}}, {"spec": {"matches": {"ports": []}}}])
def test_kept_ports_limit_a_route(body: Manifest) -> None:
    found = decoded(manifest("TCPRoute", "specs.smi-spec.io/v1alpha3", body, ports=[80, 81]))
    assert isinstance(found, TCPRoute)
    assert found.ports == (80, 81)


def test_ports_that_the_route_has_itself_win() -> None:
    body = {"spec": {"matches": {"ports": [90]}}}
    found = decoded(manifest("TCPRoute", "specs.smi-spec.io/v1alpha4", body, ports=[80, 81]))
    assert isinstance(found, TCPRoute)
    assert found.ports == (90,)


# --- HTTPRouteGroup -------------------------------------------------------------------------------------------------


def group(matches: list[Manifest], headers: list[Manifest]) -> Manifest:
    return manifest("HTTPRouteGroup", "specs.smi-spec.io/v1alpha1", {"matches": matches}, headers=headers)


def headers_of(matches: list[Manifest], headers: list[Manifest]) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    found = decoded(group(matches, headers))
    assert isinstance(found, HTTPRouteGroup)
    return [(match.name, match.headers) for match in found.matches]


ALICE, BOB = {"user": "alice"}, {"user": "bob"}
IS_ALICE, IS_BOB = (("user", "alice"),), (("user", "bob"),)
KEPT: list[Manifest] = [{"name": "a", "headers": ALICE}, {"name": "b", "headers": [BOB]}, {"name": "c"}]


def named(*names: str) -> list[Manifest]:
    return [{"name": name} for name in names]


def test_kept_headers_go_to_the_matches_of_their_names() -> None:
    assert headers_of(named("a", "b", "c"), KEPT) == [("a", IS_ALICE), ("b", IS_BOB), ("c", ())]


def test_the_order_of_matches_does_not_matter() -> None:
    assert headers_of(named("c", "b", "a"), KEPT) == [("c", ()), ("b", IS_BOB), ("a", IS_ALICE)]


def test_other_fields_may_be_edited() -> None:
    assert headers_of([{"name": "a", "pathRegex": "/new"}], KEPT) == [("a", IS_ALICE)]


def test_a_match_may_go() -> None:
    assert headers_of(named("b", "c"), KEPT) == [("b", IS_BOB), ("c", ())]


def test_a_match_may_come() -> None:
    assert headers_of(named("a", "b", "c", "d"), KEPT) == [("a", IS_ALICE), ("b", IS_BOB), ("c", ()), ("d", ())]


def test_headers_that_a_match_has_itself_win() -> None:
    matches: list[Manifest] = [{"name": "a", "headers": BOB}, {"name": "b", "headers": {}}]
    assert headers_of(matches, KEPT) == [("a", IS_BOB), ("b", IS_BOB)]


def test_a_match_renamed_would_lose_its_headers_and_is_refused() -> None:
    assert problem(group(named("new", "b", "c"), KEPT)) == (
        "[convert.smi-mesh.io/headers]: has headers of the match `a`, which is not there; if that is `new` now, change "
        "its name here too, else take it out here"
    )


def test_a_match_without_headers_may_be_renamed() -> None:
    assert headers_of(named("a", "b", "new"), KEPT) == [("a", IS_ALICE), ("b", IS_BOB), ("new", ())]


TWINS: list[Manifest] = [
    {"name": "a", "pathRegex": "/one", "headers": ALICE},
    {"name": "a", "pathRegex": "/two", "headers": BOB},
]


def test_matches_of_one_name_are_told_apart_by_the_rest() -> None:
    one, two = {"name": "a", "pathRegex": "/one"}, {"name": "a", "pathRegex": "/two"}
    assert headers_of([one, two], TWINS) == [("a", IS_ALICE), ("a", IS_BOB)]
    assert headers_of([two, one], TWINS) == [("a", IS_BOB), ("a", IS_ALICE)]
    assert headers_of([two], TWINS) == [("a", IS_BOB)]


def test_matches_that_differ_in_headers_alone_keep_their_order() -> None:
    twins: list[Manifest] = [{"name": "a", "headers": ALICE}, {"name": "a", "headers": BOB}]
    assert headers_of(named("a", "a"), twins) == [("a", IS_ALICE), ("a", IS_BOB)]
    assert "not clear whose headers" in problem(group(named("a"), twins))


def test_matches_of_one_name_get_their_own_headers_in_their_own_order() -> None:
    one, other = {"user": "alice", "host": "w"}, {"host": "w", "user": "alice"}
    twins: list[Manifest] = [{"name": "a", "headers": one}, {"name": "a", "headers": other}]
    assert headers_of(named("a", "a"), twins) == [("a", tuple(one.items())), ("a", tuple(other.items()))]


def test_matches_of_one_name_that_can_no_longer_be_told_apart_are_refused() -> None:
    assert problem(group([{"name": "a", "pathRegex": "/three"}], TWINS)) == (
        "[convert.smi-mesh.io/headers]: several matches are named `a`: it is not clear whose headers hold where"
    )


def test_one_entry_is_for_all_matches_of_its_name() -> None:
    matches = [{"name": "a", "pathRegex": "/one"}, {"name": "a", "pathRegex": "/new"}]
    assert headers_of(matches, KEPT[:1]) == [("a", IS_ALICE), ("a", IS_ALICE)]


# --- what is wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not JSON: ``"),
        ("{", "is not JSON: `{`"),
        ("NaN", "is not JSON: `NaN`"),
        ('{"a": 1, "a": 2}', 'is not JSON: `{"a": 1, "a": 2}`'),
        ('"\\ud800"', 'is not JSON: `"\\ud800"`'),
        ("[" * 100_000, f"is not JSON: `{'[' * 59}…`"),
        ("0", "must be a port, 1 to 65535, is 0"),
        ("[1]", "must be a port, 1 to 65535, not `[1]`"),
        ("true", "must be a port, 1 to 65535, not `True`"),
    ],
)
def test_an_annotation_that_says_nothing_is_a_problem_there(text: str, reason: str) -> None:
    body = {"spec": {"destination": {"kind": "ServiceAccount", "name": "web"}}}
    thing = manifest("TrafficTarget", "access.smi-spec.io/v1alpha3", body, port=text)
    assert problem(thing) == f"[convert.smi-mesh.io/port]: {reason}"


def test_an_annotation_that_is_no_text() -> None:
    body = {"spec": {"destination": {"kind": "ServiceAccount", "name": "web"}}}
    thing = manifest("TrafficTarget", "access.smi-spec.io/v1alpha3", body, port="")
    thing["metadata"]["annotations"]["convert.smi-mesh.io/port"] = 8080
    assert problem(thing) == "[convert.smi-mesh.io/port]: must be text, not `8080`, put it in quotes"


@pytest.mark.parametrize("name", ["prot", "matches", "headers", ""])
def test_an_unknown_annotation_might_have_been_a_condition(name: str) -> None:
    body = {"spec": {"destination": {"kind": "ServiceAccount", "name": "web"}}}
    thing = manifest("TrafficTarget", "access.smi-spec.io/v1alpha3", body, **{name: 1})
    assert problem(thing) == (
        f"[convert.smi-mesh.io/{name}]: means nothing on this kind; known here: convert.smi-mesh.io/port"
    )


def test_kinds_of_one_version_keep_nothing() -> None:
    thing = manifest("UDPRoute", "specs.smi-spec.io/v1alpha4", {}, ports=[1])
    assert problem(thing).endswith("known here: none")


@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        ({"weights": 1}, "must be a list of weights"),
        ({"weights": ["many"]}, "`many` is not a quantity such as 900m, 0.5 or 1"),
        ({"weights": [-1]}, "must not be negative, is -1"),
        ({"matches": 1}, "must be a list, not `1`"),
        ({"matches": [{"kind": "Group", "name": "g"}]}, "`Group` is not known here; known: HTTPRouteGroup, "),
    ],
)
def test_what_is_kept_must_be_right_where_it_belongs(kept: Manifest, reason: str) -> None:
    body = {"spec": {"service": "web", "backends": [{"service": "a", "weight": 1}]}}
    (name,) = kept
    said = problem(manifest("TrafficSplit", "split.smi-spec.io/v1alpha2", body, **kept))
    assert said.startswith(f"[convert.smi-mesh.io/{name}]: {reason}")


@pytest.mark.parametrize("headers", [1, [1], [{"headers": {}}], [{"name": 1}]])
def test_kept_headers_must_be_of_named_matches(headers: Any) -> None:
    assert problem(group(named("a"), headers)) == (
        "[convert.smi-mesh.io/headers]: must be a list of matches, each with its name and its headers"
    )


def test_a_kept_header_is_checked_like_any_other() -> None:
    assert problem(group(named("a"), [{"name": "a", "headers": {"user": "("}}])) == (
        "[convert.smi-mesh.io/headers]: is not a regular expression of RE2: missing ): ("
    )
